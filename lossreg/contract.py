"""What a loss takes and gives, as plain data: what listings, `find` and fit checks know of it without importing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class Implementation(TypedDict):
    """A way to compute a loss: for tensors of a device ("" for any), by a package besides torch ("" for none)."""

    device: str
    package: str


class Contract(TypedDict):
    """Declared with `@losses.register(..., contract=contract(...))`, kept in the manifest."""

    input: str
    target: str
    tasks: list[str]
    needs_labels: bool
    differentiable: bool
    has_parameters: bool
    per_example: bool
    half_precision: bool
    # Stated where they are not what they mostly are: positional False, the others True.
    positional: NotRequired[bool]
    deterministic: NotRequired[bool]
    compiles: NotRequired[bool]
    implementations: NotRequired[dict[str, Implementation]]


def contract(
    *,
    input: str,
    target: str,
    tasks: Sequence[str],
    needs_labels: bool = True,
    differentiable: bool = True,
    has_parameters: bool = False,
    per_example: bool = True,
    half_precision: bool = True,
    positional: bool = False,
    deterministic: bool = True,
    compiles: bool = True,
    implementations: Mapping[str, Implementation] | None = None,
) -> Contract:
    """A contract; the defaults are what most losses are.

    Args:
        input: kind of the first tensor, such as "logits".
        target: kind of the target, such as "mask" or "class index".
        tasks: of "binary", "multilabel", "multiclass" and others.
        needs_labels: whether it compares with a target at all.
        differentiable: whether a gradient reaches the input.
        has_parameters: whether it learns, so that the optimiser must be given its parameters.
        per_example: whether it splits over examples.
        half_precision: whether float16 and bfloat16 inputs are safe.
        positional: whether it matters where pixels lie, and not only what they hold.
        deterministic: False if it draws random numbers.
        compiles: whether torch.compile(fullgraph=True) takes it.
        implementations: several ways to the same result by name, the preferred one first.
    """
    made: Contract = {
        "input": input,
        "target": target,
        "tasks": list(tasks),
        "needs_labels": needs_labels,
        "differentiable": differentiable,
        "has_parameters": has_parameters,
        "per_example": per_example,
        "half_precision": half_precision,
    }
    if positional:
        made["positional"] = positional
    if not deterministic:
        made["deterministic"] = deterministic
    if not compiles:
        made["compiles"] = compiles
    if implementations is not None:
        made["implementations"] = dict(implementations)
    return made
