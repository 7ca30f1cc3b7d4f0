"""The inputs of the losses in one sum: it cannot give logits to one and probabilities to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lossreg.config.resolution import Node, Problems
from lossreg.messages import join, warn_once
from lossreg.registries import losses

_KINDS = ("logits", "probabilities", "log-probabilities")  # each excludes the others; other inputs exclude none
_OF_PARTS = ("as the terms", "as the loss", "one or several inputs of the loss")  # in contracts of composites
_ACTIVATIONS = ("sigmoid", "softmax")  # parameters by which a loss of probabilities takes logits
_WORDS = ("sigmoid", "softmax", "logits", "activation", "other_act")  # in names of parameters that decide the kind


class Taken(NamedTuple):
    """The kind of input that a loss takes; None if its contract is missing."""

    kind: str | None
    loss: Node

    def __str__(self) -> str:
        entry = self.loss.entry
        return f"{entry.full_name if entry is not None else ''} in {self.loss.path or 'the config'}"


def compare_inputs(node: Node, problems: Problems) -> Taken | None:
    """Compare the losses that receive the same input, at any depth.

    Returns:
        The input that the node takes, as one of its losses does; None if it may be of any kind.
    """
    found = [each for each in (compare_inputs(child, problems) for child in node.children) if each is not None]
    if node.entry is None or not _declared(node).startswith(_OF_PARTS):
        return None if node.entry is None else _taken(node)
    known = [each for each in found if each.kind is not None]
    if not known:
        return next(iter(found), None)
    others = [each for each in known if each.kind != known[0].kind]
    for each in others:
        problems.add(each.loss, each.loss.path, _conflict(each, known[0]))
    for each in found:
        if each.kind is None:
            _warn(each, known[0])
    return None if others else known[0]


def _declared(node: Node) -> str:
    """Return the input in the contract of a node's entry; empty if there is none."""
    if node.entry is None:
        return ""
    contract = node.entry.metadata.get("contract")
    if contract is None and node.entry.full_name in losses:  # resolution may have imported its class and its decorator
        contract = losses.entry(node.entry.full_name).metadata.get("contract")
    declared = contract.get("input") if isinstance(contract, Mapping) else None
    return declared if isinstance(declared, str) else ""


def _taken(node: Node) -> Taken | None:
    """Return the input that a loss takes under its parameters; None if it may be of any kind."""
    declared = _declared(node)
    if not declared:
        return Taken(None, node)
    kind = declared.split()[0].rstrip(",")
    if kind not in _KINDS or node.params is None:
        return None
    defaults, params = node.params.defaults, node.params.defaults | node.params.given
    if isinstance(params.get("from_logits"), bool):
        return Taken("logits" if params["from_logits"] else "probabilities", node)
    changed = {name for name, value in params.items() if value != defaults.get(name) and _decides(name)}
    if not changed <= {*_ACTIVATIONS}:
        return None
    return Taken("logits" if changed and kind == "probabilities" else kind, node)


def _decides(parameter: str) -> bool:
    return any(word in parameter for word in _WORDS)


def _conflict(one: Taken, other: Taken) -> str:
    advice = _switch(one, other) or _switch(other, one) or f"replace one of them by a loss that takes {other.kind}"
    entry = one.loss.entry
    name = entry.full_name if entry is not None else ""
    return f"{name} takes {one.kind} and {other} takes {other.kind}, but both receive one input; {advice}"


def _switch(one: Taken, other: Taken) -> str:
    """Return the parameters by which a loss takes the input of another; empty if there are none."""
    fields = one.loss.params.record.fields if one.loss.params is not None else {}
    where = join(one.loss.path, "params")
    if "from_logits" in fields and other.kind in ("logits", "probabilities"):
        return f"write from_logits: {str(other.kind == 'logits').lower()} in {where}"
    names = [name for name in _ACTIVATIONS if name in fields]
    if names and (one.kind, other.kind) == ("probabilities", "logits"):
        return f"write {' or '.join(f'{name}: true' for name in names)} in {where}"
    return ""


def _warn(unknown: Taken, known: Taken) -> None:
    entry = unknown.loss.entry
    name = entry.full_name if entry is not None else ""
    warn_once(
        ("input kind", name),
        f"{unknown} receives the same input as {known}, which takes {known.kind}. Check that {name} takes {known.kind}"
        " too: it has no contract. Its author can declare one:"
        f" contract=lossreg.authoring.contract(input={known.kind!r}, ...)",
    )
