"""Integrations with other frameworks: one file for each, installed by the extra of the same name."""
