"""The page of a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from gallery.cache import Drawn
from gallery.markdown import chips, fenced, number, parameters, problem_chips, problems_of, prose
from lossreg import losses
from lossreg.parameters.docstring import mathematics, sections
from lossreg.registry.entry import Entry

PICTURES = "../_build/pictures/losses"
SCENE = f"{PICTURES}/scene"
REPOSITORY = Path(__file__).parents[3]

EMPTY = ("empty", "empty_gradient", "absent")
SHAPES = ("shift", "dilation", "gap", "size")


def page(entry: Entry, drawn: Drawn) -> str:
    """Return the page of a loss as Markdown."""
    about = entry.metadata
    blocks = [
        f"# {entry.name}",
        prose(about["summary"]),
        *([problem_chips(entry)] if problems_of(entry) else []),
        _use(entry),
        *_section("Formula", _formula(about)),
        *_curves(entry, drawn),
        *_section("Where it pushes", _push(entry, drawn)),
        *_section("Parameters", parameters(about["parameters"])),
        *_section("Shapes", fenced(about.get("shapes", ""))),
        *_section("About", _about(entry)),
    ]
    return "\n\n".join(blocks) + "\n"


def _section(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _use(entry: Entry) -> str:
    """Return the smallest config, in YAML and in Python."""
    config = {"name": entry.name} | (
        {"params": _plain(entry.metadata["example"])} if "example" in entry.metadata else {}
    )
    text = yaml.safe_dump({"loss": config}, sort_keys=False, default_flow_style=None, width=100).strip()
    argument = json.dumps(config if "params" in config else entry.name)
    code = f"import lossreg\n\nloss = lossreg.build({_python(argument)})"
    tabs = {"YAML": fenced(text, "yaml"), "Python": fenced(code, "python")}
    items = "\n\n".join(f":::{{tab-item}} {name}\n{block}\n:::" for name, block in tabs.items())
    beside = " lossreg-segmentation" if entry.distribution == "lossreg" else ""  # whose losses the examples combine
    installed = f"Install it by `pip install {entry.distribution}{beside}`.\n\n"
    return f"{installed}::::{{tab-set}}\n{items}\n::::"


def _python(text: str) -> str:
    return text.replace(": true", ": True").replace(": false", ": False").replace(": null", ": None")


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _formula(about: Mapping[str, Any]) -> str:
    """Return the formulas and the sentence that names their letters, or the plain formula where there is no TeX."""
    if "tex" not in about:
        return fenced(about["formula"]) if "formula" in about else ""
    found = mathematics(about["tex"])
    letters = "".join(f"${part}$" if number % 2 else prose(part) for number, part in enumerate(found.where.split("$")))
    return "\n\n".join([*(f"$$\n{formula}\n$$" for formula in found.formulas), letters])


def _curves(entry: Entry, drawn: Drawn) -> list[str]:
    if "reason" in drawn:
        return _section("Curves", f"This loss has none: {prose(drawn['reason'].partition('; losses')[0])}.")
    values = drawn["values"]
    plain = [key for key in drawn["panels"] if key not in (*EMPTY, *SHAPES)]
    empty = [key for key in drawn["panels"] if key in EMPTY]
    words = (
        f"On a mask without foreground, a sure prediction of nothing costs {number(values['nothing'])}, and one of a"
        f" small blob {number(values['empty'])}."
    )
    shapes = [key for key in drawn["panels"] if key in SHAPES]
    return [
        *_section("Value and gradient", _figures(entry, plain)),
        *_section("An empty mask", "\n\n".join(filter(None, [words, _figures(entry, empty)]))),
        *_section("A shape that is wrong", _figures(entry, shapes)),
    ]


def _figures(entry: Entry, keys: Sequence[str]) -> str:
    """Return panels side by side, on a phone one below the other."""
    files = [f"{PICTURES}/{entry.full_name}/{key}.svg" for key in keys]
    parts = "\n\n".join(f"```{{raw}} html\n:file: {file}\n```" for file in files)
    return f"::::{{div}} curves\n\n{parts}\n\n::::" if parts else ""


def _push(entry: Entry, drawn: Drawn) -> str:
    if "reason" in drawn:
        return ""
    pictures = {
        "photograph of a retina": f"{SCENE}/photograph.png",
        "prediction": f"{SCENE}/prediction.png",
        "its mistakes": f"{SCENE}/mistakes.png",
        f"push of {entry.name}": f"{PICTURES}/{entry.full_name}/push-{entry.name}.png",
    }
    cells = "\n\n".join(
        f"```{{figure}} {path}\n:alt: {escape(title)}\n\n{title}\n```" for title, path in pictures.items()
    )
    return (
        "The prediction misses the blue pixels and has the orange ones too many. The push is the opposite of the"
        f" gradient: blue raises the logit, orange lowers it. The loss is {number(drawn['values']['mistaken'])}."
        f" [Compare the losses](compare.md).\n\n::::{{div}} scenes\n\n{cells}\n\n::::"
    )


def _about(entry: Entry) -> str:
    about = entry.metadata
    contract = about["contract"]
    rows = {
        "Input": prose(contract["input"]),
        "Target": prose(contract["target"]),
        "Also called": ", ".join(f"`{alias}`" for alias in entry.aliases),
        "Numerics": prose(_numerics(entry)),
        "Computed by": ", ".join(f"`{name}`" for name in contract.get("implementations", ())),
        "Source": prose(" ".join(about.get("source", "").split())),
        "Code": _code(entry),
    }
    return "\n\n".join([*(f"{name}\n: {text}" for name, text in rows.items() if text), chips(entry)])


def _numerics(entry: Entry) -> str:
    """Return the section of the docstring that the manifest does not hold."""
    return " ".join(sections(losses.get(entry.full_name).__doc__).get("numerics", "").split())


def _code(entry: Entry) -> str:
    """Return the class, linked to its file in the repository."""
    found = find_spec(entry.target.partition(":")[0])
    file = Path(found.origin) if found and found.origin else REPOSITORY.parent
    inside = file.is_relative_to(REPOSITORY)
    return f"[`{entry.target}`](../../{file.relative_to(REPOSITORY)})" if inside else f"`{entry.target}`"
