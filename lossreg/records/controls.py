"""Planted controls: copies of examples that are known to be bad, and show how many bad ones a ranking finds."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lossreg.errors import InputError
from lossreg.records.column_values import column, is_tensor, shown

Key = str | int  # of a part of an example: the name in a mapping, or the place in a tuple
_LEAST = 0.5  # of the pixels that are not background in the mask or the shifted one, this share must differ


class _Control(NamedTuple):
    """A bad copy of one example: where its parts are from, and how they are changed."""

    source: int
    other: int | None  # the example with the swapped part; None for a shift
    seed: int
    sample_id: str | int


@dataclass(frozen=True, eq=False)
class ControlledData:
    """A data set with bad copies of some of its examples behind them; made by `plant_controls`.

    Args:
        control_ids: the sample_ids of the copies, as records have them.
    """

    data: Any
    control_ids: frozenset[str]
    _controls: tuple[_Control, ...]
    _shift: Key | None
    _swap: Key | None
    _id: Key | None

    def __len__(self) -> int:
        return len(self.data) + len(self._controls)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} examples")
        index %= len(self)
        if index < len(self.data):
            return self.data[index]
        control = self._controls[index - len(self.data)]
        example = self.data[control.source]
        if control.other is None:
            changed = {self._shift: shifted(example[self._shift], control.seed)}
        else:
            changed = {self._swap: self.data[control.other][self._swap]}
        if self._id is not None:
            changed[self._id] = _like(example[self._id], control.sample_id)
        return _replaced(example, changed)

    def is_control(self, ids: Any) -> list[bool]:
        """Tell for each sample_id of a batch if it is that of a control: the column `control` of records.

        Args:
            ids: texts or integers, also as an array or a tensor.
        """
        return [name in self.control_ids for name in column("sample_id", ids)]


def plant_controls(
    data: Any,
    *,
    shift: Key | None = None,
    swap: Key | None = None,
    id: Key | None = None,
    count: int = 20,
    seed: int = 0,
) -> ControlledData:
    """Add copies of examples that are known to be bad: the share that a ranking finds is what it finds of such defects.

    ```python
    from lossreg.records import plant_controls

    masks = [[[row == column for column in range(8)] for row in range(8)] for _ in range(50)]
    examples = [{"name": f"photo-{number}", "mask": mask} for number, mask in enumerate(masks)]
    data = plant_controls(examples, shift="mask", id="name", count=5)
    print(len(data), data.is_control(["photo-0", data[54]["name"]]))
    ```

    Train with the copies, or evaluate them with the others, and give `control=data.is_control(ids)` to the records.
    Examples are loaded when they are read, so that augmentations stay random. Five controls give an idea, 20 a figure.

    Args:
        data: a map-style dataset or a list, whose examples are mappings, tuples or lists.
        shift: which part is a mask (..., H, W), to be shifted by a third to two thirds of each side: a tensor, an
            array, nested lists or a PIL image. Masks that a shift hardly changes are not chosen.
        swap: which part is swapped for that of another example, which differs: a caption or a label.
            With both, every second control is of either kind.
        id: which part is the sample_id, text or an integer; None if the index is it.
        count: number of controls, >= 1.
        seed: another seed chooses other examples and shifts.
    Raises:
        InputError: an invalid argument, or too few examples that can be made bad.
    """
    _check(data, shift, swap, count, seed)
    kinds = [kind for kind, key in (("shift", shift), ("swap", swap)) if key is not None]
    chosen: list[_Control] = []
    drawn = random.Random(f"{seed}")
    candidates = iter(drawn.sample(range(len(data)), len(data)))
    while len(chosen) < count:
        number, kind = len(chosen), kinds[len(chosen) % len(kinds)]
        found = _next(data, candidates, drawn, shift if kind == "shift" else None, swap)
        if found is None:
            fewer = f"count={number}, or another part" if number else "another part, or more examples"
            raise InputError(
                f"of {len(data)} examples, {number} can be made bad by {' and '.join(kinds)}, and count is {count};"
                f" give {fewer}"
            )
        source, other, shifting = found
        chosen.append(_Control(source, other, shifting, _name(data, source, id, number)))
    ids = frozenset(str(control.sample_id) for control in chosen)
    return ControlledData(data, ids, tuple(chosen), shift, swap, id)


def shifted(mask: Any, seed: int) -> Any:
    """Return a mask that is shifted by a third to two thirds of each side; what leaves on one side enters on the other.

    Args:
        mask: a tensor or an array (..., H, W), nested lists of it, or a PIL image.
        seed: decides how far.
    """
    if image := _pil_image(mask):
        from PIL import ImageChops

        down, right = _shifts(image.size[::-1], seed)
        return ImageChops.offset(image, right, down)
    if is_tensor(mask):
        return mask.roll(_shifts(mask.shape[-2:], seed), (-2, -1))
    array = np.asarray(mask)
    moved = np.roll(array, _shifts(array.shape[-2:], seed), (-2, -1))
    return moved if isinstance(mask, np.ndarray) else moved.tolist()


def _next(
    data: Any, candidates: Iterable[int], drawn: random.Random, shift: Key | None, swap: Key | None
) -> tuple[int, int | None, int] | None:
    """Find the next example that can be made bad: its index, that of the other, and the seed of the shift."""
    for source in candidates:
        seed = drawn.randrange(2**32)
        if shift is not None:
            mask = _part(data[source], shift)
            if _differs(mask, shifted(mask, seed)):
                return source, None, seed
            continue
        assert swap is not None
        own = _part(data[source], swap)
        for _ in range(20):
            other = drawn.randrange(len(data))
            if not _equal(own, _part(data[other], swap)):
                return source, other, seed
    return None


def _shifts(sides: Sequence[int], seed: int) -> tuple[int, int]:
    drawn = random.Random(seed)
    down, right = (drawn.randint(-(-side // 3), max(-(-side // 3), 2 * side // 3)) for side in sides)
    return down, right


def _differs(mask: Any, moved: Any) -> bool:
    one, other = _array(mask), _array(moved)
    values, counts = np.unique(one, return_counts=True)
    objects = (one != values[counts.argmax()]) | (other != values[counts.argmax()])
    return bool((one != other).sum() >= _LEAST * max(1, objects.sum()))


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(_array(one), _array(other)))


def _array(part: Any) -> np.ndarray[Any, Any]:
    return np.asarray(part.detach().cpu() if is_tensor(part) else part)


def _part(example: Any, key: Key) -> Any:
    try:
        return example[key]
    except (KeyError, IndexError, TypeError):
        parts = ", ".join(map(repr, example)) if isinstance(example, Mapping) else shown(example)
        raise InputError(f"an example has no part {key!r}; it has {parts}") from None


def _name(data: Any, source: int, id: Key | None, number: int) -> str | int:
    if id is None:
        return len(data) + number
    name = _part(data[source], id)
    plain = name.item() if getattr(name, "ndim", None) == 0 else name
    if isinstance(plain, str):
        return f"control {number} of {plain}"
    if type(plain) is int:
        return -1 - number
    raise InputError(f"id={id!r}: a sample_id must be text or an integer, got {shown(name)}")


def _like(name: Any, own: str | int) -> Any:
    """Return the name of a control as its data set has names: integers may be tensors or of NumPy."""
    if is_tensor(name):
        return name.new_tensor(own)
    return type(name)(own)


def _replaced(example: Any, changed: Mapping[Any, Any]) -> Any:
    if isinstance(example, Mapping):
        return {**example, **changed}
    parts = [changed.get(place, changed.get(place - len(example), part)) for place, part in enumerate(example)]
    if hasattr(example, "_fields"):  # a named tuple
        return type(example)(*parts)
    return tuple(parts) if isinstance(example, tuple) else parts


def _pil_image(mask: Any) -> Any:
    module = sys.modules.get("PIL.Image")
    return mask if module is not None and isinstance(mask, module.Image) else None


def _check(data: Any, shift: Key | None, swap: Key | None, count: int, seed: int) -> None:
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, Mapping | str | bytes):
        raise InputError(f"data must be a list or a dataset with len() and an index, got {shown(data)}")
    if shift is None and swap is None:
        raise InputError("there is nothing to make examples bad: give shift= the mask, or swap= the caption or label")
    if type(count) is not int or count < 1:
        raise InputError(f"count must be a number of controls >= 1, got {shown(count)}")
    if type(seed) is not int:
        raise InputError(f"seed must be an integer, got {shown(seed)}")
