"""What comes with an extra alone, and the error where it is not there."""

from __future__ import annotations

from importlib.util import find_spec

from lossreg.errors import MissingLibraryError


def is_installed(package: str) -> bool:
    """Whether a top-level module can be found, without importing it.

    A folder of that name beside a script is no module: Python finds it as a package without code.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # as of __main__, and of a module that was made by hand
        return False
    return spec is not None and spec.has_location


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
        if not is_installed(package):
            raise MissingLibraryError(
                f"{use}: {package} is not installed; pip install 'lossreg[{extra}]'",
                name=package,
                distribution=f"lossreg[{extra}]",
            )
