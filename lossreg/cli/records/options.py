"""Arguments and options that several commands on records have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A directory of shards.", show_default=False)]
TopK = Annotated[int, typer.Option("--top-k", min=1, help="Number of examples in each list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Together = Annotated[bool, typer.Option("--together", help="Take all runs and splits as one.")]
Formulas = Annotated[
    bool,
    typer.Option("--formulas", help="CSV: leave text that a spreadsheet computes as it is, without a ' before it."),
]
MemoryLimit = Annotated[
    str, typer.Option("--memory-limit", metavar="SIZE", help="Memory of DuckDB; beyond it, DuckDB uses the disk.")
]


def _names(option: str, what: str) -> Any:
    return typer.Option(option, metavar="NAME", show_default=False, help=f"Only rows of this {what}; repeatable.")


def _range(option: str, what: str) -> Any:
    help_ = f"Only these {what}: 5, 3-10, 3: or :10, ends included."
    return typer.Option(option, metavar="RANGE", show_default=False, help=help_)


_WHERE = typer.Option(
    "--where",
    metavar="CONDITION",
    show_default=False,
    help="Only rows with COLUMN=VALUE, or !=, <, <=, > or >=; columns of your own included; repeatable.",
)
# Each argument of Filters as an option.
_FILTERS: dict[str, Any] = {
    "runs": Annotated[list[str] | None, _names("--run", "run")],
    "splits": Annotated[list[str] | None, _names("--split", "split")],
    "datasets": Annotated[list[str] | None, _names("--dataset", "data set")],
    "epochs": Annotated[str | None, _range("--epochs", "epochs")],
    "steps": Annotated[str | None, _range("--steps", "steps")],
    "where": Annotated[list[str] | None, _WHERE],
}


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of filters, in place of its argument `filters`, and check that the extra is there."""

    @wraps(command)
    def filtering(**arguments: Any) -> None:
        from lossreg.messages import require

        require("duckdb", "numpy", "PIL", extra="records", use="records")
        from lossreg.records.filters import Filters

        given = {name: arguments.pop(name) for name in _FILTERS}
        command(**arguments, filters=Filters(**{name: value for name, value in given.items() if value is not None}))

    hints = get_type_hints(command, localns={"Filters": object}, include_extras=True)  # its import is that of DuckDB
    del hints["filters"]
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "filters"]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [each.replace(annotation=hints[each.name], kind=kind) for each in own]
    parameters += [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in _FILTERS.items()]
    filtering.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    filtering.__annotations__ = {**hints, **_FILTERS}
    del filtering.__wrapped__
    return filtering
