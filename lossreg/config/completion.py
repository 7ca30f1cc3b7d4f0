"""Completion, the last pass over a config: from the tree of nodes back to plain data, with every default."""

from __future__ import annotations

from typing import Any

from lossreg.config.resolution import Node, Values


def completed(node: Node) -> dict[str, Any]:
    """Write a validated node as plain data: the keys of its slot, name, params, provider and version."""
    if node.entry is None or node.params is None:
        raise TypeError("only a node without problems is completed")
    source = {"provider": node.entry.provider, "version": node.entry.version}
    return {
        **(_all_values(node, node.beside) if node.beside else {}),
        "name": node.entry.name,
        "params": _all_values(node, node.params),
        **{key: value for key, value in source.items() if value is not None},
    }


def _all_values(node: Node, values: Values) -> dict[str, Any]:
    filled = values.defaults | values.given
    return {name: _without_nodes(value) for name, value in filled.items()} if node.children else filled


def _without_nodes(value: Any) -> Any:
    if isinstance(value, Node):
        return completed(value)
    if isinstance(value, list):
        return [_without_nodes(item) for item in value]
    return {key: _without_nodes(item) for key, item in value.items()} if isinstance(value, dict) else value
