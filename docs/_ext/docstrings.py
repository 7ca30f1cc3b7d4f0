"""Docstrings of lossreg as reStructuredText, by the parser of `lossreg show`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import indent
from typing import TYPE_CHECKING

from lossreg.parameters.docstring import arguments, mathematics, sections

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CODE = re.compile(r"(`{1,2})(.+?)\1", re.DOTALL)
GAPS = " (\n"  # characters before which and after which a mark may begin
HEADING = re.compile(r"[A-Z][a-z]+:(\s.*)?")
NAMED = re.compile(r"([\w.]+(?:, [\w.]+)*):\s+(.*)", re.DOTALL)


def rest(text: str) -> str:
    """Return a docstring without its indentation as reStructuredText: its prose, then each section in its order."""
    found = sections(text)
    tex = found.get("math")
    body = [prose(introduction(text), skip=found.get("formula", "") if tex else "")]
    if tex:
        body.append(formulas(tex))
    headings = {name: each for name, each in found.items() if name not in ("summary", "formula", "math")}
    for name, content in headings.items():
        body.append(SECTIONS.get(name, paragraph)(name, content, text))
    return "\n\n".join(part for part in body if part)


def formulas(tex: str) -> str:
    """Return the section "Math": each formula in a line of its own, and the sentence that names their letters."""
    found = mathematics(tex)
    letters = [
        escaped(part) if number % 2 == 0 else f"\\ :math:`{part}`\\ "
        for number, part in enumerate(found.where.split("$"))
    ]
    blocks = [*(directive("math", formula) for formula in found.formulas), "".join(letters)]
    return "\n\n".join(filter(None, blocks))


def introduction(text: str) -> str:
    """Return the part of a docstring before its first section."""
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if HEADING.fullmatch(line)), len(lines))
    return "\n".join(lines[:end])


def prose(text: str, skip: str = "") -> str:
    """Return text with its code marked, and its indented lines as blocks of code; without the block `skip`."""
    blocks = []
    for block in joined(re.split(r"\n\s*\n", text)):
        lines = block.splitlines()
        if block.startswith((" ", ">>>")):
            if inspect.cleandoc("\n" + block) != skip:
                blocks.append(code(block))
            continue
        first = next((number for number, line in enumerate(lines) if number and not_prose(line)), len(lines))
        blocks.append(escaped("\n".join(lines[:first])))
        if lines[first:]:
            blocks.append(code("\n".join(lines[first:])))
    return "\n\n".join(blocks)


def joined(blocks: list[str]) -> Iterator[str]:
    """Yield blocks of text; indented ones in a row are one."""
    kept = ""
    for block in filter(None, blocks):
        if block.startswith(" ") and kept:
            kept += "\n\n" + block
        elif block.startswith(" "):
            kept = block
        else:
            yield from filter(None, [kept])
            kept = ""
            yield block
    yield from filter(None, [kept])


def not_prose(line: str) -> bool:
    """Return True for a line of code below a paragraph: by four spaces further in, as items of lists are not."""
    return line.startswith(("    ", ">>>"))


def code(block: str) -> str:
    """Return lines as a block of code, in colours if they are Python."""
    text = inspect.cleandoc("\n" + block)
    if text.startswith(">>>"):
        return directive("code-block:: pycon", text)
    try:
        ast.parse(text)
    except SyntaxError:
        return directive("code-block:: text", text)
    return directive("code-block:: python", text)


def directive(name: str, body: str) -> str:
    """Return a directive with a body."""
    return f".. {name}{'' if '::' in name else '::'}\n\n{indent(body, '    ')}"


def escaped(text: str) -> str:
    """Return text in which only the code between backticks has a meaning for reStructuredText."""
    parts, end = [], 0
    for match in CODE.finditer(text):
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        parts.append(plain(text[end : match.start()]))
        parts.append(f"{'' if not before or before in GAPS else chr(92) + ' '}``{' '.join(match[2].split())}``")
        parts.append("\\ " if after and (after.isalnum() or after in "([{") else "")
        end = match.end()
    return "".join([*parts, plain(text[end:])])


def plain(text: str) -> str:
    """Return text without marks of reStructuredText; a star at its begin stays a star."""
    return re.sub(r"([\\*|`]|(?<=\w)_(?!\w))", r"\\\1", text)


def items(pairs: dict[str, str]) -> str:
    """Return names and their descriptions as a list; names of one description share an item."""
    rows: dict[str, list[str]] = {}
    for name, text in pairs.items():
        rows.setdefault(text, []).append(name)
    return "\n".join(f"- {', '.join(f'``{name}``' for name in names)}: {escaped(text)}" for text, names in rows.items())


def field(title: str, body: str) -> str:
    """Return a titled field."""
    return f":{title}:\n{indent(body, '    ')}"


def parameters(_: str, content: str, text: str) -> str:
    """Return the section "Args"."""
    return field("Parameters", items(arguments(text)) or prose(content))


def rows_of(content: str) -> list[str]:
    """Return the lines of a section, each with the indented ones that continue it."""
    rows: list[str] = []
    for line in content.splitlines():
        if rows and line.startswith(" "):
            rows[-1] += f" {line.strip()}"
        else:
            rows.append(line)
    return rows


def named(name: str, content: str, _: str) -> str:
    """Return a section of names and descriptions, such as "Raises"."""
    pairs = [NAMED.fullmatch(row) for row in rows_of(content)]
    if not all(pairs):
        return paragraph(name, content, "")
    return field(name.capitalize(), items({match[1]: match[2] for match in pairs if match}))


def lines(name: str, content: str, _: str) -> str:
    """Return a section in which each line stands by itself, such as "Shapes"."""
    return field(name.capitalize(), "\n".join(f"| {escaped(row)}" for row in rows_of(content)))


def paragraph(name: str, content: str, _: str) -> str:
    """Return a section of prose."""
    dedented = inspect.cleandoc("\n".join([content.partition("\n")[0].strip(), content.partition("\n")[2]]))
    return field(name.capitalize(), prose(dedented))


SECTIONS: dict[str, Callable[[str, str, str], str]] = {
    "args": parameters,
    "attributes": named,
    "raises": named,
    "shapes": lines,
}


def process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Replace the lines of a docstring, which autodoc hands over; those of other libraries are left out."""
    text = "\n".join(lines).strip()
    if foreign(obj) and text == inspect.cleandoc(obj.__doc__ or ""):
        text = ""
    lines[:] = [*rest(text).splitlines(), ""] if text else []


def foreign(obj: object) -> bool:
    """Return True for an object that another library defines, such as a dict or a method of one."""
    inner = getattr(obj, "fget", None) or getattr(obj, "func", None) or obj
    return not (getattr(inner, "__module__", None) or type(inner).__module__).startswith("lossreg")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the handler."""
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
