"""Hooks: what a package may do that data cannot say."""
