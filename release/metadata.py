"""Required METADATA of a built wheel, and the remedy in its pyproject.toml for each missing field."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.metadata import InvalidMetadata, Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from release.version import range_for

HOME = "https://github.com/lossreg/lossreg"
SITE = "https://lossreg.github.io/lossreg/"
URLS = {"Homepage": HOME, "Documentation": SITE, "Source": HOME, "Changelog": HOME, "Issues": HOME}
AUTHOR = "The lossreg authors"
LICENSE = "Apache-2.0"
PYTHONS = ">=3.11"
CLASSIFIERS = (
    "Development Status :: 3 - Alpha",
    "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "Programming Language :: Python :: 3",
    "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12",
    "Programming Language :: Python :: 3.13",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
)


def complaints(raw: bytes, name: str, version: str, project_file: str) -> list[str]:
    """List the problems, each as file, field, problem and remedy."""
    try:
        found = Metadata.from_email(raw)
    except ExceptionGroup as group:
        return [f"{project_file}: {_field_of(error)}: {error}" for error in group.exceptions]
    fields = [*_identity(found, name, version), *_texts(found), *_terms(found), *_index(found), *_needs(found, version)]
    return [f"{project_file}: {field}: {problem}" for field, problem in fields]


def _field_of(error: BaseException) -> str:
    return error.field if isinstance(error, InvalidMetadata) else "metadata"


def _identity(found: Metadata, name: str, version: str) -> Iterator[tuple[str, str]]:
    if found.name != name:
        yield "name", f'{found.name!r} is not the name of its folder; write name = "{name}"'
    if str(found.version) != version:
        yield (
            "version",
            f"{found.version} is not lossreg.__version__, which is {version};"
            ' write dynamic = ["version"], and under [tool.hatch.version] the path of lossreg/__init__.py',
        )


def _texts(found: Metadata) -> Iterator[tuple[str, str]]:
    if not found.summary:
        yield "description", 'missing; write description = "…" in one line'
    if not (found.description or "").strip() or found.description_content_type != "text/markdown":
        yield "readme", 'missing or not Markdown; write readme = "README.md"'


def _terms(found: Metadata) -> Iterator[tuple[str, str]]:
    if found.author != AUTHOR:
        yield "authors", f'{found.author!r}; write authors = [{{ name = "{AUTHOR}" }}]'
    if found.license_expression != LICENSE:
        yield "license", f'{found.license_expression!r}; write license = "{LICENSE}"'
    if "LICENSE" not in (found.license_files or ()):
        yield "license-files", 'LICENSE is not among them; write license-files = ["LICENSE"], and put a copy there'


def _index(found: Metadata) -> Iterator[tuple[str, str]]:
    """Check the fields that the package index shows and searches."""
    urls = found.project_urls or {}
    for label, start in URLS.items():
        if not urls.get(label, "").startswith(start):
            yield "urls", f'{label} is {urls.get(label)!r}; write {label} = "{start}…" under [project.urls]'
    for classifier in CLASSIFIERS:
        if classifier not in (found.classifiers or ()):
            yield "classifiers", f'missing; add "{classifier}"'


def _needs(found: Metadata, version: str) -> Iterator[tuple[str, str]]:
    if found.requires_python != SpecifierSet(PYTHONS):
        yield "requires-python", f'{str(found.requires_python or "")!r}; write requires-python = "{PYTHONS}"'
    for needed in found.requires_dist or ():
        if _is_ours(needed) and needed.name != found.name and needed.specifier != SpecifierSet(range_for(version)):
            yield "dependencies", f'"{needed}" does not match {version}; write "{needed.name}{range_for(version)}"'


def _is_ours(needed: Requirement) -> bool:
    return needed.name == "lossreg" or needed.name.startswith("lossreg-")
