"""Search: inputs for a target by one of two engines, and what each input did beyond the limits."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lossreg import LossregError

from .target import Target

MAX_SECONDS = 1.0  # of the processor, for one input
MAX_GROWTH = 300 * 2**20  # bytes, of one input
TOO_LONG, TOO_LARGE = f"took more than {MAX_SECONDS:g} s", f"took more than {MAX_GROWTH >> 20} MiB"
HANGS = 20.0  # seconds of the processor after which an input is interrupted
MAX_LENGTH = 4096
DIFFERENT = 20  # violations that are kept


class Violation(NamedTuple):
    """An input that broke a limit, in words, and where it is kept."""

    what: str
    path: Path


class Search:
    """The inputs of one target so far, and their violations, each kind once.

    Args:
        folder: the inputs that broke a limit are kept there.
        seconds, inputs: the search ends after either.
    """

    def __init__(self, name: str, target: Target, folder: Path, seconds: float, inputs: int | None = None) -> None:
        self.name, self.target, self.folder = name, target, folder
        self.inputs = 0
        self.violations: dict[str, Violation] = {}
        for seed in target.seeds:  # imports what the first input needs: its time does not count
            self._outcome(seed)
        self.began = time.monotonic()
        self._end = self.began + seconds
        self._most = inputs
        signal.signal(signal.SIGVTALRM, _interrupt)

    @property
    def is_over(self) -> bool:
        """Return whether the time or the inputs are used up."""
        used = self._most is not None and self.inputs >= self._most
        return used or time.monotonic() >= self._end or len(self.violations) >= DIFFERENT

    def try_one(self, data: bytes) -> None:
        """Give the target one input, and keep it if it breaks a limit."""
        self.inputs += 1
        what = self._tried(data)
        if what in (TOO_LONG, TOO_LARGE):
            what = self._tried(data)  # the first one may have imported a library
        if what and what not in self.violations:
            path = self.folder / f"{self.name}-{len(self.violations)}"
            path.write_bytes(data)
            self.violations[what] = Violation(what, path)

    def _tried(self, data: bytes) -> str:
        """Return the limit that an input broke; empty if there is none."""
        before, began = _memory(), time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, HANGS)
        try:
            what = self._outcome(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if not what and time.process_time() - began > MAX_SECONDS:
            what = TOO_LONG
        if not what and _memory() - before > MAX_GROWTH:
            what = TOO_LARGE
        return what

    def _outcome(self, data: bytes) -> str:
        """Return the exception of an input and its place; empty for a success or a LossregError."""
        try:
            self.target.run(data)
        except LossregError:
            pass
        except (Exception, SystemExit) as error:  # noqa: BLE001 - any of them is a finding
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            return f"{type(error).__name__} at {place}: {error!s:.200}".splitlines()[0]
        return ""


def by_mutation(search: Search, seed: int = 0) -> None:
    """Search by changes of the seeds, at random. Needs no package."""
    chance = random.Random(seed)
    corpus = [*search.target.seeds]
    while not search.is_over:
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 8)):
            _mutate(data, chance, search.target, corpus)
        search.try_one(bytes(data[:MAX_LENGTH]))


def _mutate(data: bytearray, chance: random.Random, target: Target, corpus: list[bytes]) -> None:
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.randint(1, 16))
    what = chance.randrange(5)
    if what == 0 and data:
        data[start % len(data)] = chance.randrange(256)
    elif what == 1:
        del data[start:end]
    elif what == 2:
        data[start:start] = data[start:end] * chance.randint(1, 8)
    elif what == 3 and target.words:
        data[start:start] = chance.choice(target.words)
    else:
        other = chance.choice(corpus)
        cut = chance.randint(0, len(other))
        data[start:end] = other[cut : cut + chance.randint(1, 64)]


def by_coverage(search: Search, done: Callable[[], None]) -> None:
    """Search with atheris, which keeps inputs that reach new code. Calls `done` at the end, and ends the process."""
    atheris: Any = sys.modules["atheris"]

    def one(data: bytes) -> None:
        if search.is_over:
            done()
            sys.stdout.flush()
            os._exit(0)
        search.try_one(data)

    corpus = search.folder / f"{search.name}-corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(search.target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = search.folder / f"{search.name}-words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in search.target.words))
    options = [f"-max_len={MAX_LENGTH}", "-rss_limit_mb=0", "-timeout=60", "-verbosity=0"]
    if search.target.words:  # an empty dictionary is an error
        options.append(f"-dict={words}")
    atheris.Setup([sys.argv[0], str(corpus), *options], one)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _memory() -> int:
    """Return the most memory that this process has used, in bytes; 0 where that is not known."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _interrupt(*_: object) -> None:
    raise TimeoutError(f"took more than {HANGS:g} s")
