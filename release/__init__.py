"""Checks before a version is published: `python -m release.check`."""
