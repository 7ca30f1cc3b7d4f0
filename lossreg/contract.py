"""Contracts: the inputs and properties of a loss as plain data, for listings, `find` and fit checks without import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class Implementation(TypedDict):
    """An implementation of a loss: its device ("" for any), and the package it needs besides torch ("" for none)."""

    device: str
    package: str


class Contract(TypedDict):
    """Contract of a loss, declared with `@losses.register(..., contract=contract(...))` and kept in the manifest."""

    input: str
    target: str
    tasks: list[str]
    needs_labels: bool
    differentiable: bool
    has_parameters: bool
    per_example: bool
    half_precision: bool
    # Present only if they differ from the defaults: positional False, the others True.
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
    """Build a contract; the defaults fit most losses.

    Args:
        input: kind of the first tensor, such as "logits".
        target: kind of the target, such as "mask" or "class index".
        tasks: of "binary", "multilabel", "multiclass" and others.
        needs_labels: whether it compares the input with a target.
        differentiable: whether a gradient reaches the input.
        has_parameters: whether it has parameters to learn, which the optimiser needs.
        per_example: whether its value is the mean of one value per example.
        half_precision: whether float16 and bfloat16 inputs are safe.
        positional: whether the positions of pixels matter, and not only their values.
        deterministic: False if it draws random numbers.
        compiles: whether torch.compile(fullgraph=True) works.
        implementations: implementations of the same result by name, the preferred one first.
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
