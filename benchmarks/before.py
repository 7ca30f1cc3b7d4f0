"""Ours of an earlier version, in a process of its own that takes a step on request.

The process sleeps between requests, so that the two versions never run at once. It takes one step before the timed one,
because its caches have gone cold meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Self

import torch
from rows import Row
from work import Work, make_work, run

from lossreg.errors import LossregError

PROBLEMS = (ImportError, AttributeError, RuntimeError, TypeError, ValueError, LossregError)
PACKAGES = (".", "plugins/lossreg-segmentation", "plugins/lossreg-sam")


class Before:
    """The process of an earlier version.

    Args:
        folder: its sources, such as `git archive COMMIT | tar -x -C FOLDER` leaves them.
    Raises:
        SystemExit: the process did not import lossreg from the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.problem = ""
        paths = os.pathsep.join(str((folder / package).resolve()) for package in PACKAGES)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = self.ask("where")
        if not found or not Path(found).is_relative_to(folder.resolve()):
            self.__exit__()
            sys.exit(f"--before {folder}: the process imported {found}; give the root of an extracted tree")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.communicate()  # it ends when there are no more requests

    def choose(self, row: Row) -> bool:
        """Return True if the earlier version can take a step of the row."""
        plain = row._replace(peers=None, dtype=str(row.dtype).removeprefix("torch."))  # type: ignore[arg-type]
        self.problem = self.ask(plain._asdict())
        return not self.problem

    def step(self) -> float:
        """Take a step, and return its milliseconds."""
        return float(self.ask("step"))

    def ask(self, request: object) -> Any:
        """Send a request and return the answer."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline() or "null")
        except BrokenPipeError:
            return None


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer requests: the file of the package, a row to choose, a step of the chosen row."""
    import lossreg_segmentation

    chosen: tuple[Any, Work] | None = None
    for line in requests:
        request = json.loads(line)
        if request == "where":
            answer: object = lossreg_segmentation.__file__
        elif request == "step":
            assert chosen
            answer = timed(*chosen)
        else:
            chosen, answer = prepared(request)
        print(json.dumps(answer), file=answers, flush=True)


def prepared(plain: dict[str, Any]) -> tuple[tuple[Any, Work] | None, str]:
    """Build the loss and the tensors of a row, and take steps that compile; or return the problem."""
    row = Row(**plain | {"dtype": getattr(torch, plain["dtype"]), "shape": tuple(plain["shape"])})
    work = make_work(row, torch.device("cpu"))
    try:
        loss = row.ours()
        for _ in range(3):
            run(loss, work)
    except PROBLEMS as error:
        return None, f"{type(error).__name__}: {error}"
    return (loss, work), ""


def timed(loss: Any, work: Work) -> float:
    """Return the milliseconds of the second of two steps."""
    run(loss, work)
    start = time.perf_counter()
    run(loss, work)
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that no print is taken for an answer
    serve(sys.stdin, answers)
