"""The error for an unknown name: similar names, failures of providers, and the remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from lossreg.errors import NotFoundError
from lossreg.messages import printable, similar
from lossreg.registry.entry import Failure

MAX_UNREAD = 20  # failures in the message


def not_found(
    name: str, registry: str, kind: str, spellings: Iterable[str], failures: Sequence[Failure], advice: str = ""
) -> NotFoundError:
    """Build the error, with similar names and the failures of providers.

    Args:
        kind: "loss" in "unknown loss 'dicee'"; empty for a registry that is not lossreg's own.
        spellings: the known names. Names with a provider are suggested only for a name with a slash.
        advice: a hint that precedes the similar names.
    """
    close = similar(name, [known for known in spellings if "/" in name or "/" not in known], 3)
    listing = f"lossreg.{registry}.list() shows every {kind}" if kind else f"{registry}.list() shows every name"
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else listing
    hint = f"{advice}; {hint}" if advice else hint
    unread = [f"\n  not read: {printable(f'{source}: {error!s:.500}')}" for source, _, error in failures]
    if len(unread) > MAX_UNREAD:
        unread[MAX_UNREAD:] = [f"\n  and {len(unread) - MAX_UNREAD} more; `lossreg doctor` shows all"]
    unknown = f"unknown {kind} {name!r:.80}" if kind else f"unknown name {name!r:.80} in {registry}"
    message = f"{unknown}; {hint}{_worker_advice()}{''.join(unread)}"
    return NotFoundError(message, name=name, suggestions=close)


def _worker_advice() -> str:
    """Return the remedy for a name that only the parent process of a worker has registered."""
    multiprocessing = sys.modules.get("multiprocessing")  # a worker process has imported it
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return ""
    return (
        "\n  this is a worker process, and the loss may have been registered in its parent process only:"
        " register it in a module that the worker imports too, or declare it as an entry point of a package"
    )
