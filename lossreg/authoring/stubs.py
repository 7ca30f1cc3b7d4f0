"""A type stub of `lossreg` for the losses of this environment: editors complete names, type checkers read parameters.

It checks configs in Python code, which JSON Schema cannot. Manifests are its source: no provider is imported. pyright
reads stubs in `typings`.
"""

from __future__ import annotations

import ast
import keyword
import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from lossreg.authoring.stub_names import camel, is_field, typed_dict
from lossreg.config.resolution import registry_of
from lossreg.config.spellings import Names
from lossreg.discovery.manifest import package_folder, source_file
from lossreg.errors import LossregError, ManifestError
from lossreg.parameters.kinds import record_of
from lossreg.parameters.record import Record
from lossreg.parameters.scalars import literal_type
from lossreg.parameters.slots import Slot
from lossreg.parameters.types import LOSS
from lossreg.records.atomic_write import write_text
from lossreg.registry.entry import Entry

_HEAD = """\
# Written by `lossreg stubs` for the losses that are installed here; run it again when they change.
# LossName and the names below it exist for type checkers alone: import them under `if TYPE_CHECKING`.
# pyright: reportPrivateImportUsage=false
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Never, Required, TypeAlias, TypedDict, Unpack, overload

from torch import nn
"""

_DYNAMIC = """\
class _Unknown:
    # Only Any is assignable to it: `dict[str, Any]` passes, a literal {"name": "dicee"} does not.
    def __new__(cls) -> Never: ...

Numbers: TypeAlias = float | Sequence["Numbers"]
"""

_BY_NAME = """\
@overload
def build(
    config: {names}, /, *, providers: Collection[str] | None = None, **parameters: {parameters}
) -> {result}: ..."""
_BY_MAPPING = """\
@overload
def build(config: {config}, /, *, providers: Collection[str] | None = None) -> {result}: ..."""

# Parameters are not checked here: a type checker would show every overload for each mistake.
_BY_KEYWORDS = """\
@overload
def build(
    config: LossName, /, *, params: Mapping[str, object], provider: str | None = None, version: str | None = None,
    providers: Collection[str] | None = None, **parameters: object
) -> nn.Module: ...
@overload
def build(
    config: LossName, /, *, provider: str, version: str | None = None,
    providers: Collection[str] | None = None, **parameters: object
) -> nn.Module: ...
@overload
def build(
    *, name: LossName, params: Mapping[str, object] | None = None, provider: str | None = None,
    version: str | None = None, providers: Collection[str] | None = None, **parameters: object
) -> nn.Module: ..."""
_KEYWORDS = {"params", "provider", "version", "providers"}  # of build


def write(directory: Path) -> Path:
    """Write the stub to `directory`/lossreg/__init__.pyi, and return where it is.

    Raises:
        LossregError: there is a package lossreg itself, or the file cannot be written.
    """
    path = directory / "lossreg" / "__init__.pyi"
    if os.path.exists(path.with_suffix(".py")):  # False also for a path that the system refuses
        raise LossregError(f"{path.parent} is the package itself; choose another folder, such as typings", path=path)
    text = stub()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise LossregError(f"{path} cannot be written: {error.strerror}; choose another folder", path=path) from error
    return path


def stub() -> str:
    """Return the text of the stub: the same for the same environment."""
    entries = [entry for entry in registry_of(LOSS).entries() if not entry.disabled_reason]
    public = [*_public()]
    writer = _Writer(name for name, _ in public)
    overloads = [overload for entry in entries for overload in writer.loss(entry)]
    roles = writer.roles()
    unknown = _BY_MAPPING.format(config="LossConfig | Mapping[str, _Unknown]", result="nn.Module")
    overloads += [_BY_KEYWORDS, unknown]
    imports = [*(line for _, line in public), *sorted(writer.imports)]
    blocks = [_HEAD + "\n".join(imports), "__version__: str", _DYNAMIC + "\n".join(roles)]
    return "\n\n".join([*blocks, *writer.classes, "\n".join(overloads)]) + "\n"


def _public() -> Iterator[tuple[str, str]]:
    """Yield the public names except build, each with its import from the module that defines it."""
    tree = ast.parse((Path(__file__).parents[1] / "__init__.py").read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    public = {*ast.literal_eval(assigned["__all__"])} - {"build"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lossreg."):
            for alias in node.names:
                if alias.name in public:
                    yield alias.name, f"from {node.module} import {alias.name} as {alias.name}"


class _Writer:
    """Overloads of build, and the classes and imports that they refer to."""

    def __init__(self, public: Iterable[str]) -> None:
        self.imports: set[str] = set()
        self.classes: list[str] = []
        self.used = {LOSS: "Loss"}  # roles
        self.taken = {"LossName", "LossDict", "build", *public, *_names(_HEAD), *_names(_DYNAMIC)}
        self.names = Names(LOSS)

    def loss(self, entry: Entry) -> list[str]:
        """Write the overloads of a loss: by its name with parameters as keywords, and by a mapping.

        Without its parameters and its class if these are no Python, as a manifest may hold any text.
        """
        kept, self.classes = self.classes, []
        taken, used = {*self.taken}, {**self.used}
        try:
            overloads = self._overloads(entry, _record(entry), self.result(entry))
            ast.parse("\n".join([*self.classes, *overloads]))
        except (LossregError, SyntaxError, ValueError):
            self.classes, self.taken, self.used = [], taken, used
            overloads = self._overloads(entry, None, "nn.Module")
        self.classes = kept + self.classes
        return overloads

    def _overloads(self, entry: Entry, record: Record | None, result: str) -> list[str]:
        name = self.unique(camel(entry.full_name), "Params", "Config")
        names = literal_type(self.names.of(entry).free)
        params, keywords = "Mapping[str, object]", "object"
        if record is not None:
            params = f"{name}Params | Mapping[str, _Unknown]"
            keywords = "object" if _KEYWORDS & record.fields.keys() else f"Unpack[{name}Params]"
            fields = self.fields(f"{name}Params", record)
            self.classes.append(typed_dict(f"{name}Params", fields, str(entry.metadata.get("summary", ""))))
        fields = {
            "name": f"Required[{names}]",
            "params": f"Required[{params}]" if record and record.required else f"{params} | None",
            "provider": literal_type([entry.provider]),
            "version": "str",
        }
        self.classes.append(typed_dict(f"{name}Config", fields))
        return [
            _BY_NAME.format(names=names, parameters=keywords, result=result),
            _BY_MAPPING.format(config=f"{name}Config", result=result),
        ]

    def result(self, entry: Entry) -> str:
        """Return the class, where a type checker can read it; else nn.Module."""
        module, _, qualname = entry.target.partition(":")
        parts = [*module.split("."), *qualname.split(".")]
        readable = all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
        if not readable or entry.state == "missing" or not _typed(entry.target):
            return "nn.Module"
        outer, dot, inner = qualname.partition(".")
        alias = "_" + self.unique(camel(entry.full_name), prefix="_")
        self.imports.add(f"from {module} import {outer} as {alias}")
        return f"{alias}{dot}{inner}"

    def fields(self, name: str, record: Record) -> dict[str, str]:
        """Write the types of named parameters."""
        found = {}
        for key, kind in record.fields.items():
            written = kind.python_type(self.nested, f"{name}{camel(key)}") or "Never"
            found[key] = f"Required[{written}]" if key in record.required else written
        return found

    def nested(self, slot: Slot, name: str) -> str:
        """Write the type of a slot: a name, or a mapping. Name and keys are checked, parameters are not."""
        if slot.role not in self.used:
            self.used[slot.role] = self.unique(camel(slot.role), "Name", "Dict")
        prefix = self.used[slot.role]
        mapping = f"{prefix}Dict"
        own = _role_fields(prefix)
        more = {key: text for key, text in self.fields(name, slot.siblings).items() if key not in own}
        if more:
            mapping = self.unique(f"{name}Dict")
            is_class = all(map(is_field, more))
            written = typed_dict(mapping, more, base=f"{prefix}Dict") if is_class else typed_dict(mapping, own | more)
            self.classes.append(written)
        bare = "" if slot.siblings.required else f"{prefix}Name | "
        return f"{bare}{mapping} | Mapping[str, _Unknown]"

    def roles(self) -> Iterator[str]:
        """Write the names of each role in use, and a mapping with one of them."""
        for role, prefix in sorted(self.used.items()):
            entries = [entry for entry in registry_of(role).entries() if role == LOSS or role in (entry.tags or ())]
            known = Names(role)
            names = literal_type(
                name for entry in entries if not entry.disabled_reason for name in known.of(entry).free
            )
            yield f"\n{prefix}Name: TypeAlias = {names}\n\n" + typed_dict(f"{prefix}Dict", _role_fields(prefix))

    def unique(self, name: str, *suffixes: str, prefix: str = "") -> str:
        """Return the name, with a number if it is taken, or if it is with one of the suffixes."""
        for number in count(1):
            free = name if number == 1 else f"{name}{number}"
            made = {f"{prefix}{free}{suffix}" for suffix in suffixes or ("",)}
            if self.taken.isdisjoint(made):
                self.taken |= made
                return free
        raise AssertionError  # numbers do not end


def _names(text: str) -> Iterator[str]:
    """Yield the names that a part of the stub defines or imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.alias | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)


def _record(entry: Entry) -> Record | None:
    schema = entry.metadata.get("parameters")
    return record_of(schema) if schema else None


def _role_fields(prefix: str) -> dict[str, str]:
    params = "Mapping[str, object] | None"
    return {"name": f"Required[{prefix}Name]", "params": params, "provider": "str", "version": "str"}


def _typed(target: str) -> bool:
    try:
        folder = package_folder(target.partition(":")[0].partition(".")[0])
    except ManifestError:
        return False
    return (folder / "py.typed").is_file() and source_file(target) is not None
