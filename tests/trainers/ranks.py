"""Functions of a file of tests, called in several processes: see `spawn`. As a script, this file is one of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]


def spawn(job: Callable[..., Any], *arguments: Any, processes: int = 2, seconds: float = 300) -> list[Any]:
    """Call a function in several processes with the variables of torchrun, and return each rank's result.

    The function lies at the top of a file of tests. Arguments and results pass as JSON, a Path as its text. It starts
    the group itself, unless its trainer does: `torch.distributed.init_process_group("gloo")`.

    Raises:
        AssertionError: with all output, if a rank failed or was not done in time.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder, port = Path(temporary), _free_port()
        ranks = [_start(job, arguments, rank, processes, port, folder) for rank in range(processes)]
        end = time.monotonic() + seconds
        # One that failed leaves the others in a collective: they are not waited for.
        while time.monotonic() < end and None in (codes := [rank.poll() for rank in ranks]) and not any(codes):
            time.sleep(0.05)
        codes = [rank.poll() for rank in ranks]
        for rank in ranks:
            _stop(rank)
        printed = "\n".join((folder / f"{rank}.txt").read_text()[-5000:] for rank in range(processes))
        assert codes == [0] * processes, f"exit codes {codes} in {seconds} s, None is unfinished\n{printed}"
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _start(
    job: Callable[..., Any], arguments: tuple[Any, ...], rank: int, processes: int, port: int, folder: Path
) -> subprocess.Popen[bytes]:
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "tests"}
    group |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    environ = os.environ | {name: str(value) for name, value in group.items()} | {"OMP_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH")]))
    result = folder / f"{rank}.json"
    job_file = sys.modules[job.__module__].__file__
    with (folder / f"{rank}.txt").open("wb") as printed:  # a pipe that nobody reads would block
        return subprocess.Popen(
            [sys.executable, __file__, job_file, job.__name__, result, json.dumps(arguments, default=str)],
            env=environ | {"PYTHONPATH": path},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(rank: subprocess.Popen[bytes]) -> None:
    """End a rank and the processes that it started."""
    if rank.poll() is None:
        os.killpg(rank.pid, signal.SIGKILL)
        rank.wait()


def main(file: str, name: str, output: str, arguments: str) -> None:
    """Call the function, and write its result."""
    sys.path[0] = str(ROOT)  # instead of this folder, whose files have the names of trainers
    tests = sys.modules["tests"] = ModuleType("tests")  # site-packages may hold another one
    tests.__path__ = [str(ROOT / "tests")]
    if find_spec("torchvision"):
        from tests.trainers.data import define_torchvision_operators

        define_torchvision_operators()
    spec = spec_from_file_location(".".join(Path(file).relative_to(ROOT).with_suffix("").parts), file)
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    result = getattr(module, name)(*json.loads(arguments))
    Path(output).write_text(json.dumps(result))
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
