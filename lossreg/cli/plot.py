"""`lossreg plot`: the value and the gradient of a loss as a picture."""

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

PLOTTABLE = "logits & (binary | multilabel | multiclass) & !sam"
AS_TERMS = "as the terms"  # what a sum takes: its terms refuse what they cannot take


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("plot")(plot)


def plot(
    name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUES", help="Once: a curve for each of these values, gamma=0,1,2."),
    ] = None,
    params: Annotated[str, typer.Option("--params", metavar="JSON", help="All other parameters.")] = "{}",
    out: Annotated[
        Path | None, typer.Option("--out", help="A file ending in .png or .svg; NAME.png by default.")
    ] = None,
) -> None:
    """Draw a loss of logits and mask: value and gradient over the logit, and on an empty mask."""
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
    """Name and parameters, but those that the legend tells apart; below it the summary."""
    shown = [f"{name} = {_text(value)}" for name, value in given.items()] + list(varied) * (len(varied) == 1)
    lines = ["   ".join([entry.full_name, ", ".join(filter(None, shown))]).rstrip(), entry.metadata.get("summary", "")]
    return "\n".join(printable(line) for line in lines if line)


def _given(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LossregError(f"--params is no valid JSON: {error}; write --params '{{\"gamma\": 2.0}}'") from error
    if not isinstance(found, dict):
        raise LossregError(f"--params is a JSON object of parameters by name, got {text!r:.80}")
    return found


def _varied(texts: Sequence[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameter that differs between the curves, by the curve's label."""
    if not texts:
        return {"": {}}
    text, *more = texts
    if more:
        raise LossregError(f"--param is given once, got {', '.join(texts):.80}; write the others in --params")
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values):
        raise LossregError(f"--param is a name and its values, such as gamma=0,1,2, got {text!r:.80}")
    if name in given:
        raise LossregError(f"{name} is in --param and in --params; write it in one of them")
    return {f"{name} = {_text(value)}": {name: value} for value in _values(values)}


def _values(text: str) -> list[Any]:
    """`0,1,2`, `[1,2],[3,4]` and `"a","b"` as JSON; `mean,sum` as text."""
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
    """The entry; loaded if nothing else tells its contract."""
    if "contract" in entry.metadata:
        return entry
    losses.get(entry.full_name)
    return losses.entry(entry.full_name)


def _classes(entry: Entry) -> int:
    """1 for a loss of masks, 2 for one of class indices alone.

    Raises:
        LossregError: by its contract it takes something else.
    """
    contract = entry.metadata.get("contract")
    if contract is None:
        note = f"{entry.full_name} declares no contract: it is given logits and a mask, (1, 1, H, W) each"
        typer.echo(printable(note), err=True)
        return 1
    input, target = (contract.get(key, "something that its contract does not say") for key in ("input", "target"))
    tasks = contract.get("tasks", ())
    binary = not {"binary", "multilabel"}.isdisjoint(tasks) and target in ("mask", "mask or class index", AS_TERMS)
    multiclass = "multiclass" in tasks and target in ("class index", "mask or class index")
    if input not in ("logits", AS_TERMS) or not (binary or multiclass):
        raise LossregError(
            f"{entry.full_name} cannot be drawn: it takes {input!r} and {target!r}; what can be drawn takes logits and"
            f" a mask or class index: lossreg list --tag '{PLOTTABLE}'"
        )
    if contract.get("positional"):
        note = f"{entry.full_name} depends on where pixels lie, of which constant images show nothing"
        typer.echo(printable(note), err=True)
    return 1 if binary else 2
