"""A type stub of `lossreg` for the losses of this environment: editors complete names, type checkers read parameters.

It checks configs in Python code, which JSON Schema cannot. Manifests are its source: no provider is imported. pyright
reads stubs in `typings`.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    if path.with_suffix(".py").exists():
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
    writer = _Writer()
    overloads = [overload for entry in entries for overload in writer.loss(entry)]
    roles = writer.roles()
    unknown = _BY_MAPPING.format(config="LossConfig | Mapping[str, _Unknown]", result="nn.Module")
    overloads += [_BY_KEYWORDS, unknown]
    imports = [*_public(), *sorted(writer.imports)]
    blocks = [_HEAD + "\n".join(imports), "__version__: str", _DYNAMIC + "\n".join(roles)]
    return "\n\n".join([*blocks, *writer.classes, "\n".join(overloads)]) + "\n"


def _public() -> Iterator[str]:
    """Write the imports of the public names, except build, from the modules that define them."""
    tree = ast.parse((Path(__file__).parents[1] / "__init__.py").read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    public = {*ast.literal_eval(assigned["__all__"])} - {"build"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lossreg."):
            for alias in node.names:
                if alias.name in public:
                    yield f"from {node.module} import {alias.name} as {alias.name}"


class _Writer:
    """Overloads of build, and the classes and imports that they refer to."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.classes: list[str] = []
        self.used = {LOSS: "Loss"}  # roles
        self.taken: set[str] = set()
        self.names = Names(LOSS)

    def loss(self, entry: Entry) -> list[str]:
        """Write the overloads of a loss: by its name with parameters as keywords, and by a mapping."""
        name = self.unique(camel(entry.full_name))
        names = literal_type(self.names.of(entry).free)
        schema = entry.metadata.get("parameters")
        record = record_of(schema) if schema else None
        params, keywords = "Mapping[str, object]", "object"
        if record is not None:
            params = f"{name}Params | Mapping[str, _Unknown]"
            keywords = "object" if _KEYWORDS & record.fields.keys() else f"Unpack[{name}Params]"
            self.classes.append(self.record(f"{name}Params", record, str(entry.metadata.get("summary", ""))))
        fields = {
            "name": f"Required[{names}]",
            "params": f"Required[{params}]" if record and record.required else f"{params} | None",
            "provider": literal_type([entry.provider]),
            "version": "str",
        }
        self.classes.append(_class(f"{name}Config", fields))
        result = self.result(entry, f"_{name}")
        return [
            _BY_NAME.format(names=names, parameters=keywords, result=result),
            _BY_MAPPING.format(config=f"{name}Config", result=result),
        ]

    def result(self, entry: Entry, alias: str) -> str:
        """Return the class, where a type checker can read it; else nn.Module."""
        module, _, qualname = entry.target.partition(":")
        outer, dot, inner = qualname.partition(".")
        if "<locals>" in qualname or entry.state == "missing" or not _typed(entry.target):
            return "nn.Module"
        self.imports.add(f"from {module} import {outer} as {alias}")
        return f"{alias}{dot}{inner}"

    def record(self, name: str, record: Record, summary: str = "", base: str = "TypedDict") -> str:
        """Write a TypedDict of named parameters."""
        fields = {}
        for key, kind in record.fields.items():
            written = kind.python_type(self.nested, f"{name}{camel(key)}")
            fields[key] = f"Required[{written}]" if key in record.required else written
        return _class(name, fields, summary, base)

    def nested(self, slot: Slot, name: str) -> str:
        """Write the type of a slot: a name, or a mapping. Name and keys are checked, parameters are not."""
        prefix = self.used.setdefault(slot.role, self.unique(camel(slot.role)))
        mapping = f"{prefix}Dict"
        if slot.siblings.fields:
            mapping = self.unique(f"{name}Dict")
            self.classes.append(self.record(mapping, slot.siblings, base=f"{prefix}Dict"))
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
            params = "Mapping[str, object] | None"
            fields = {"name": f"Required[{prefix}Name]", "params": params, "provider": "str", "version": "str"}
            yield f"\n{prefix}Name: TypeAlias = {names}\n\n" + _class(f"{prefix}Dict", fields)

    def unique(self, name: str) -> str:
        """Return the name, with a number if it is taken."""
        names = (name if number == 1 else f"{name}{number}" for number in range(1, len(self.taken) + 2))
        free = next(each for each in names if each not in self.taken)
        self.taken.add(free)
        return free


def camel(name: str) -> str:
    """Write `segmentation/log_cosh_dice` as `SegmentationLogCoshDice`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", name))


def _class(name: str, fields: Mapping[str, str], summary: str = "", base: str = "TypedDict") -> str:
    """Write a TypedDict: as a class, or as a call if a key is no identifier."""
    if base == "TypedDict" and not all(key.isidentifier() and not keyword.iskeyword(key) for key in fields):
        inner = "".join(f"    {key!r}: {written},\n" for key, written in fields.items())
        return f"{name} = TypedDict({name!r}, {{\n{inner}}}, total=False)"
    lines = [f"    {summary!r}"] * bool(summary) + [f"    {key}: {written}" for key, written in fields.items()]
    return f"class {name}({base}, total=False):\n" + "\n".join(lines or ["    ..."])


def _typed(target: str) -> bool:
    try:
        folder = package_folder(target.partition(":")[0].partition(".")[0])
    except ManifestError:
        return False
    return (folder / "py.typed").is_file() and source_file(target) is not None
