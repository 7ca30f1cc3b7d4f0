"""Contents of the archives: a wheel must contain exactly the committed package, an sdist all files to build it."""

from __future__ import annotations

from collections.abc import Set

IN_EVERY_PACKAGE = ("__init__.py", "py.typed", "lossreg.json")
IN_EVERY_SDIST = ("pyproject.toml", "README.md", "LICENSE", "PKG-INFO")


def wheel_complaints(names: Set[str], package: str, committed: Set[str], project_file: str) -> list[str]:
    """List the problems of a wheel.

    Args:
        names: the names in the wheel.
        committed: the package's files that Git tracks, as paths from its folder.
    """
    info = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    found = [
        f"{project_file}: {package}/{name} is not in the wheel; commit it, and let the wheel include it"
        for name in IN_EVERY_PACKAGE
        if f"{package}/{name}" not in names
    ]
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in info):
        found.append(f'{project_file}: LICENSE is not in the wheel; write license-files = ["LICENSE"]')
    found += [
        f"{project_file}: {name} is in the wheel and is not committed; commit it, or remove it"
        for name in sorted(names - info - committed)
    ]
    found += [
        f"{project_file}: {name} is committed and is not in the wheel; let [tool.hatch.build.targets.wheel] include it"
        for name in sorted(committed - names)
        if name not in {f"{package}/{known}" for known in IN_EVERY_PACKAGE}
    ]
    found += [
        f"{project_file}: {name} is in the wheel; move tests beside the package, into tests/"
        for name in sorted(names - info)
        if _is_test(name)
    ]
    return found


def sdist_complaints(names: Set[str], committed: Set[str], project_file: str) -> list[str]:
    """List the problems of an sdist. names: the names in the sdist, from its top folder."""
    return [
        f"{project_file}: {name} is not in the sdist, which must build the wheel; let [tool.hatch.build.targets.sdist]"
        " include it"
        for name in [*IN_EVERY_SDIST, *sorted(committed)]
        if name not in names
    ]


def _is_test(name: str) -> bool:
    *folders, file = name.split("/")
    return file.endswith(".py") and ("tests" in folders or file == "conftest.py" or file.startswith("test_"))
