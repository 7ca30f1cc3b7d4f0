"""Dispatch: from the JSON Schema of a parameter to its kind, and from that of all parameters to a record."""

from __future__ import annotations

from lossreg.parameters.containers import Dict, List, Tuple
from lossreg.parameters.fields import Fields
from lossreg.parameters.kind import Kind, Schema
from lossreg.parameters.record import Record, unreadable
from lossreg.parameters.scalars import Anything, Boolean, Integer, Literal, Null, Number, Text
from lossreg.parameters.slots import FunctionName, Slot, Tensor
from lossreg.parameters.types import FUNCTIONS, TENSOR, role_of
from lossreg.parameters.union import Union

# The first keyword in a schema decides, in this order; without any of them, its type.
_BY_KEYWORD: dict[str, type[Kind]] = {
    "$ref": Slot,
    FUNCTIONS: FunctionName,
    "anyOf": Union,
    "enum": Literal,
    "const": Literal,
    "prefixItems": Tuple,
    "properties": Fields,
}
_BY_TYPE: dict[str, type[Kind]] = {
    "number": Number,
    "integer": Integer,
    "string": Text,
    "boolean": Boolean,
    "null": Null,
    "array": List,
    "object": Dict,
}
_BY_ROLE: dict[str | None, type[Kind]] = {TENSOR: Tensor}

_records: dict[int, Record] = {}  # by id of the schema, which the record keeps alive


def kind_of(schema: Schema) -> Kind:
    """Return the kind that a schema describes."""
    by_keyword = next((kind for keyword, kind in _BY_KEYWORD.items() if keyword in schema), None)
    kind = _BY_ROLE.get(role_of(schema)) or by_keyword or _BY_TYPE.get(schema.get("type", ""), Anything)
    return kind(schema, kind_of)


def record_of(schema: Schema) -> Record:
    """Return the record that the schema of all parameters describes.

    Cached while the process lives, as manifests are.

    Raises:
        ManifestError: the schema is malformed.
    """
    cached = _records.get(id(schema))
    if cached is None:
        try:
            cached = Record(schema, kind_of)
        except Exception as error:
            raise unreadable(error) from error
        _records[id(schema)] = cached
    return cached
