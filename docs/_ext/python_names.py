"""References to Python objects: the modules that define them become the public ones that document them."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from docutils import nodes
from python_reference import MODULES
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


@cache
def public_names() -> dict[str, str]:
    """Return the documented name of each public class or function by the name that its module gives it."""
    found = {}
    for place in map(import_module, reversed([*MODULES.values()])):  # the first module wins
        for name in place.__all__:
            value = getattr(place, name)
            if hasattr(value, "__qualname__"):
                found[f"{value.__module__}.{value.__qualname__}"] = f"{place.__name__}.{name}"
    return found


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Resolve a reference to an object by its public name.

    Types in a signature that no page documents, such as those of torch, stay plain text. Any other reference that
    leads nowhere is left to Sphinx, which warns.
    """
    if node.get("refdomain") != "py":
        return None
    known = public_names().get(node["reftarget"])
    if known is not None:
        domain = env.get_domain("py")
        place = node.get("refdoc", env.docname)
        return domain.resolve_xref(env, place, app.builder, "obj", known, node, text)
    return text if in_signature(node) else None


def in_signature(node: nodes.Node) -> bool:
    """Return True for a reference within the signature of an object."""
    parent = node.parent
    while parent is not None and not isinstance(parent, (addnodes.desc_signature, addnodes.desc_content)):
        parent = parent.parent
    return isinstance(parent, addnodes.desc_signature)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
