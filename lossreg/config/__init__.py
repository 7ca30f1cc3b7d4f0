"""Configs: from plain data to a module."""
