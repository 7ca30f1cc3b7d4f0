"""Checks of the built site: `make docs-check`."""
