"""`lossreg plot`: a picture of the value and the gradient of a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lossreg.errors import LossregError
from lossreg.messages import printable
from lossreg.registries import losses
from lossreg.registry.entry import Entry

PLOTTABLE = "logits & (binary | multilabel | multiclass) & !sam & !instances"
AS_TERMS = "as the terms"  # the inputs of a sum, which its terms check


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("plot")(plot)


def plot(
    name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUES", help="One curve for each value: gamma=0,1,2."),
    ] = None,
    params: Annotated[str, typer.Option("--params", metavar="JSON", help="The other parameters.")] = "{}",
    out: Annotated[
        Path | None, typer.Option("--out", help="A file ending in .png or .svg; NAME.png by default.")
    ] = None,
) -> None:
    """Draw the value and the gradient of a loss of logits and masks, over the logit and on an empty mask."""
    from lossreg.authoring.package_modules import need_torch

    need_torch("drawing")
    from lossreg.authoring.plot import check_drawable, curves, draw
    from lossreg.config.factory import build

    path = out or Path(f"{name.replace('/', '_')}.png")
    check_drawable(path)
    given = _given(params)
    varied = _varied(param or [], given)
    entry = _with_contract(losses.entry(name))
    classes = _classes(entry)
    modules = {label: build({"name": name, "params": given | more}) for label, more in varied.items()}
    drawn = {label: curves(module, classes=classes) for label, module in modules.items()}
    draw(drawn, _title(entry, given, varied), path)
    print(path)


def _title(entry: Entry, given: Mapping[str, Any], varied: Mapping[str, object]) -> str:
    """Return name and parameters, without the one in the legend, and below them the summary."""
    shown = [f"{name} = {_text(value)}" for name, value in given.items()] + list(varied) * (len(varied) == 1)
    lines = ["   ".join([entry.full_name, ", ".join(filter(None, shown))]).rstrip(), entry.metadata.get("summary", "")]
    return "\n".join(printable(line) for line in lines if line)


def _given(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LossregError(f"--params is not valid JSON: {error}; write --params '{{\"gamma\": 2.0}}'") from error
    if not isinstance(found, dict):
        raise LossregError(f"--params must be a JSON object of parameters by name, got {text!r:.80}")
    return found


def _varied(texts: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameter that differs between the curves, by the label of the curve."""
    if not texts:
        return {"": {}}
    text, *more = texts
    if more:
        raise LossregError(f"--param may be given once, got {', '.join(texts):.80}; put the others into --params")
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values):
        raise LossregError(f"--param must be a name and values, such as gamma=0,1,2, got {text!r:.80}")
    if name in given:
        raise LossregError(f"{name} is in both --param and --params; remove one of them")
    return {f"{name} = {_text(value)}": {name: value} for value in _values(values)}


def _values(text: str) -> list[Any]:
    """Return values from JSON such as `0,1,2`, `[1,2],[3,4]` or `"a","b"`, else from text such as `mean,sum`."""
    try:
        found: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        return [_value(part.strip()) for part in text.split(",")]
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _with_contract(entry: Entry) -> Entry:
    """Return the entry, loaded if only its class declares the contract."""
    if "contract" in entry.metadata:
        return entry
    losses.get(entry.full_name)
    return losses.entry(entry.full_name)


def _classes(entry: Entry) -> int:
    """Return the number of classes to draw: 1 for a loss of masks, 2 for a loss of class indices only.

    Raises:
        LossregError: the contract names other inputs.
    """
    contract = entry.metadata.get("contract")
    if contract is None:
        note = f"{entry.full_name} declares no contract; it is called with logits and a mask of shape (1, 1, H, W)"
        typer.echo(printable(note), err=True)
        return 1
    input, target = (contract.get(key, "undeclared") for key in ("input", "target"))
    tasks = contract.get("tasks", ())
    binary = not {"binary", "multilabel"}.isdisjoint(tasks) and target in ("mask", "mask or class index", AS_TERMS)
    multiclass = "multiclass" in tasks and target in ("class index", "mask or class index")
    if input not in ("logits", AS_TERMS) or not (binary or multiclass):
        raise LossregError(
            f"{entry.full_name} cannot be drawn: its input is {input!r} and its target {target!r}, not logits and"
            f" a mask or class index; losses that can be drawn: lossreg list --tag '{PLOTTABLE}'"
        )
    if contract.get("positional"):
        note = f"{entry.full_name} depends on the positions of pixels, which constant images do not show"
        typer.echo(printable(note), err=True)
    return 1 if binary else 2
