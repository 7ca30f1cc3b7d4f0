"""The name of a run that was given none, and the number of this process in its job."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lossreg.messages import warn_once

_made: Counter[str] = Counter()  # names by the directory of their records, in this process


class DefaultRun:
    """A name that no other run has, such as "2026-11-29-010208-3fa2": a time and a random part.

    All ranks of a job that torch.distributed has initialised take the same one: that of the first rank to need it.

    Args:
        directory: of the records. The n-th default run of a directory is the same run on every rank.
    """

    def __init__(self, directory: Path) -> None:
        self._name = f"{time.strftime('%Y-%m-%d-%H%M%S')}-{secrets.token_hex(2)}"
        self._key = f"lossreg/run/{directory}/{_made[str(directory)]}"
        _made[str(directory)] += 1
        self._process = os.getpid()  # a forked worker must not use its parent's connection to the other ranks
        self._is_agreed = False

    @property
    def name(self) -> str:
        """Return the name, once it was agreed upon the same for ever."""
        distributed: Any = _distributed()
        if self._is_agreed or self._process != os.getpid():
            return self._name
        if distributed is not None and distributed.get_world_size() > 1:
            store = distributed.distributed_c10d._get_default_store()
            if store.add(f"{self._key}/asked", 1) == 1:
                store.set(self._key, self._name)
            self._name = store.get(self._key).decode()
            self._is_agreed = True
        elif distributed is None and os.environ.get("WORLD_SIZE", "1") != "1":
            warn_once(
                "a run on several ranks without a name",
                f"this process is one of {os.environ['WORLD_SIZE']}, and its records have no name of a run, so that"
                f" each process has a run of its own; give run=, the same in all of them",
            )
        return self._name


def rank_of_process() -> int:
    """Return the rank of torch.distributed or of RANK; 0 without both."""
    distributed: Any = _distributed()
    return int(os.environ.get("RANK", "0")) if distributed is None else int(distributed.get_rank())


def _distributed() -> Any:
    """Return torch.distributed if it is initialised. torch is not imported for this."""
    distributed: Any = sys.modules.get("torch.distributed")
    is_ready = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return distributed if is_ready else None
