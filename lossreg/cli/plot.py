"""`lossreg plot`: a picture of the value and the gradient of a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lossreg.errors import LossregError
from lossreg.messages import did_you_mean, printable
from lossreg.registries import losses
from lossreg.registry.entry import Entry


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("plot")(plot)


def plot(
    name: Annotated[str, typer.Argument(help="A name, an alias or provider/name.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUES", help="One line for each value: gamma=0,1,2."),
    ] = None,
    params: Annotated[str, typer.Option("--params", metavar="JSON", help="The other parameters.")] = "{}",
    panel: Annotated[
        list[str] | None,
        typer.Option("--panel", metavar="NAME", help="Only this panel, such as gradient or shift; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A file ending in .png or .svg; NAME.png by default.")
    ] = None,
) -> None:
    """Draw what a loss of masks costs: over the logit, on an empty mask, and for a shape that is predicted wrongly."""
    from lossreg.authoring.package_modules import need_torch

    need_torch("drawing")
    from lossreg.authoring.plot import PANELS, check_drawable, constant, draw, panels
    from lossreg.authoring.plot.calls import contract_of

    path = out or Path(f"{name.replace('/', '_')}.png")
    check_drawable(path)
    given = _given(params)
    vary = _varied(param or [], given)
    chosen = _chosen(panel or [], PANELS)
    entry = losses.entry(name)
    found = panels(name, given, vary=vary)
    drawn = {key: found[key] for key in chosen if key in found}
    draw(drawn, _title(entry, given, vary), path)
    if contract_of(entry) is None:
        _echo(f"{entry.full_name} declares no contract; it is called with logits and a mask of shape (1, 1, H, W)")
    for key, each in drawn.items():
        if each.constant:
            _echo(f"{key}, not drawn: {constant(each)}")
    print(path)


def _chosen(names: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, otherwise=f"choose from {', '.join(known)}")
            raise LossregError(f"--panel {name!r:.80}: there is no such panel; {hint}")
    return [name for name in known if name in names] if names else known


def _echo(note: str) -> None:
    typer.echo(printable(note), err=True)


def _title(entry: Entry, given: Mapping[str, Any], vary: tuple[str, Sequence[Any]] | None) -> str:
    """Return name and parameters, without the one in the legend, and below them the summary."""
    only = {vary[0]: vary[1][0]} if vary and len(vary[1]) == 1 else {}
    from lossreg.authoring.plot.variants import label

    shown = [label(name, value) for name, value in {**given, **only}.items()]
    lines = ["   ".join([entry.full_name, ", ".join(shown)]).rstrip(), entry.metadata.get("summary", "")]
    return "\n".join(printable(line) for line in lines if line)


def _given(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise LossregError(f"--params is not valid JSON: {error}; write --params '{{\"gamma\": 2.0}}'") from error
    if not isinstance(found, dict):
        raise LossregError(f"--params must be a JSON object of parameters by name, got {text!r:.80}")
    return found


def _varied(texts: Sequence[str], given: Mapping[str, Any]) -> tuple[str, list[Any]] | None:
    """Return the parameter that differs between the lines, and its values."""
    if not texts:
        return None
    text, *more = texts
    if more:
        raise LossregError(f"--param may be given once, got {', '.join(texts):.80}; put the others into --params")
    name, equals, values = (part.strip() for part in text.partition("="))
    if not (name and equals and values):
        raise LossregError(f"--param must be a name and values, such as gamma=0,1,2, got {text!r:.80}")
    if name in given:
        raise LossregError(f"{name} is in both --param and --params; remove one of them")
    return name, _values(values)


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
