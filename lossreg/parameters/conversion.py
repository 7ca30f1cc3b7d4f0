"""Conversion of the checked data of a config into the values that an annotation promises, and back."""

from __future__ import annotations

import json
from types import GenericAlias
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lossreg.parameters.hints import for_pydantic, holds_slot


class Conversion:
    """The way from plain data to the values of one annotation: members of an Enum, paths, sets, dataclasses."""

    def __init__(self, hint: Any) -> None:
        self._has_slots = holds_slot(hint)
        # A tuple around it: a class may have a configuration of its own, beside which pydantic takes none.
        around: Any = GenericAlias(tuple, (for_pydantic(hint),))
        arbitrary = ConfigDict(arbitrary_types_allowed=True)
        self._adapter: TypeAdapter[Any] = TypeAdapter(around, config=arbitrary)

    def __call__(self, data: Any) -> Any:
        """Convert data.

        Raises:
            ValidationError: a validator of the annotation refuses it. The location begins with 0.
        """
        if self._has_slots:  # modules and tensors have no text
            return self._adapter.validate_python((data,))[0]
        text = json.dumps([data])
        try:
            return self._adapter.validate_json(text, strict=True)[0]  # "1" stays text beside numbers
        except ValidationError:
            return self._adapter.validate_json(text)[0]

    def as_data(self, value: object) -> Any:
        """Return the data of a value."""
        return self._adapter.dump_python((value,), mode="json", by_alias=True, warnings="error")[0]
