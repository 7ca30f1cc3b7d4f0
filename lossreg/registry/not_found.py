"""The error for a name that nobody has: what is similar, what could not be read, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from lossreg.errors import NotFoundError
from lossreg.messages import printable
from lossreg.registry.entry import Failure

MAX_UNREAD = 20  # failures in the message


def not_found(
    name: str, registry: str, spellings: Iterable[str], failures: Sequence[Failure], advice: str = ""
) -> NotFoundError:
    """Near names among the spellings, of which provider/name only for a name with a slash; and what was not read."""
    from difflib import get_close_matches

    near = [known for known in spellings if "/" in name or "/" not in known]
    close = tuple(get_close_matches(name, near, n=3, cutoff=0.6))
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "list() shows every name"
    hint = f"{advice}; {hint}" if advice else hint
    unread = [f"\n  not read: {printable(f'{source}: {error!s:.500}')}" for source, _, error in failures]
    if len(unread) > MAX_UNREAD:
        unread[MAX_UNREAD:] = [f"\n  and {len(unread) - MAX_UNREAD} more; `lossreg doctor` shows all"]
    message = f"{name!r:.80} is not in {registry}; {hint}{_worker_advice()}{''.join(unread)}"
    return NotFoundError(message, name=name, suggestions=close)


def _worker_advice() -> str:
    """What to do where the name is known to the process that started this one."""
    multiprocessing = sys.modules.get("multiprocessing")  # not imported for this: nobody else is a worker of it
    if multiprocessing is None or multiprocessing.parent_process() is None:
        return ""
    return (
        "\n  this is a worker process, and the loss may have been registered in its parent process only:"
        " register it in a module that the worker imports too, or declare it as an entry point of a package"
    )
