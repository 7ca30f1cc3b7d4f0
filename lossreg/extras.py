"""What comes with an extra alone, and the error where it is not there."""

from __future__ import annotations

from importlib.util import find_spec

from lossreg.errors import MissingLibraryError


def require(*packages: str, extra: str, use: str) -> None:
    """Check that the packages of an extra can be imported, without importing them.

    Args:
        packages: top-level modules, such as "duckdb".
        extra: what installs them, such as "records".
        use: what needs them: "records", "drawing".
    Raises:
        MissingLibraryError: one of them is not installed. Its message says which extra is.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingLibraryError(
                f"{use}: {package} is not installed; pip install 'lossreg[{extra}]'",
                name=package,
                distribution=f"lossreg[{extra}]",
            )
