"""The time of listing and looking up, next to bare Python and the imports that lossreg avoids.

Every figure is the median of whole processes, run in turn so that a drift of the machine affects all of them equally.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

ROUNDS = 15
SYNTHETIC = 1000

LIST = "import lossreg; lossreg.losses.list()"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        write_distributions(Path(folder), SYNTHETIC)
        command_line = [str(Path(sys.executable).with_name("lossreg")), "list"]
        many = os.environ | {"PYTHONPATH": folder}
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "bare python": (python("pass"), dict(os.environ)),
            "import lossreg; losses.list()": (python(LIST), dict(os.environ)),
            f"  with {SYNTHETIC} distributions more": (python(LIST), many),
            "lossreg list": (command_line, dict(os.environ)),
            f"  the same, {SYNTHETIC} distributions more": (command_line, many),
            "lossreg.validate of a mixture": (python(VALIDATE), dict(os.environ)),
        }
        slow = {"import torch": "import torch", "import monai.losses": "import monai.losses"}
        times = measure(commands, ROUNDS)
        times |= measure({name: (python(code), dict(os.environ)) for name, code in slow.items()}, 3)
    bare = times["bare python"]
    print(f"{'whole process, median':<44}{'ms':>8}{'over bare':>11}")
    for name, milliseconds in times.items():
        print(f"{name:<44}{milliseconds:8.0f}{milliseconds - bare:11.0f}")
    print(f"\nlosses.get('dice') of a loaded entry: {lookup_nanoseconds():.0f} ns")
    each = validate_each(command_line[0])
    slowest = max(each, key=each.__getitem__)
    print(
        f"lossreg validate of each of {len(each)} losses, as a process:"
        f" median {statistics.median(each.values()):.0f} ms,"
        f" slowest {each[slowest]:.0f} ms ({slowest})"
    )
    for name in ("dice", "bce_dice_focal", "torch/cross_entropy"):
        print(f"lossreg.build({name!r}) over calling its class: {build_microseconds(name):.0f} us")


VALIDATE = (
    "import lossreg; lossreg.validate({'name': 'weighted_sum', 'params': {'terms':"
    " [{'weight': 1, 'name': 'dice'}, {'weight': 2, 'name': 'bce'}]}})"
)


def python(code: str) -> list[str]:
    """Return the command of a process that runs this code."""
    return [sys.executable, "-c", code]


def measure(commands: dict[str, tuple[list[str], dict[str, str]]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each command, all of them in turn, after one uncounted round."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for counted in range(-1, rounds):
        for name, (command, environment) in commands.items():
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            elapsed = time.perf_counter() - start
            if done.returncode:
                # A package that is not installed must not appear as a fast one.
                times[name].append(float("nan"))
            elif counted >= 0:
                times[name].append(elapsed * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def write_distributions(folder: Path, count: int) -> None:
    """Write installed distributions with one loss each, half by an entry point and half by a manifest."""
    for index in range(count):
        package = f"synthetic_{index}"
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise RuntimeError('listing must not import')\n")
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: synthetic-{index}\nVersion: 1.0\n")
        if index % 2:
            points = f"[lossreg.losses]\nloss_{index} = {package}:Loss\n"
        else:
            points = f"[lossreg.manifests]\nsynthetic{index} = {package}:lossreg.json\n"
            parameters = '{"type": "object", "properties": {}, "required": [], "additionalProperties": false}'
            (folder / package / "lossreg.json").write_text(
                f'{{"schema": 1, "losses": {{"loss_{index}": {{"target": "{package}:Loss", "tags": ["binary"],'
                f' "parameters": {parameters}}}}}}}'
            )
        (info / "entry_points.txt").write_text(points)


def validate_each(command: str, rounds: int = 3) -> dict[str, float]:
    """Return the milliseconds of `lossreg validate` for each loss's minimal config, the median of a few processes."""
    from lossreg import losses

    with tempfile.TemporaryDirectory() as folder:
        commands = {}
        for number, entry in enumerate(losses.entries()):
            file = Path(folder) / f"{number}.json"
            config = {"name": entry.full_name, "params": entry.metadata.get("example", {})}
            file.write_text(json.dumps({"loss": config}))
            commands[entry.full_name] = ([command, "validate", str(file), "--at", "loss"], dict(os.environ))
        return measure(commands, rounds)


def build_microseconds(name: str) -> float:
    """Return the time of `build` of a loaded loss minus its constructor's, each the minimum of several averages."""
    import lossreg

    module = lossreg.build(name)
    arguments = lossreg.config_of(module)["params"]
    cls: Callable[..., object] = type(module)
    number = 500
    built, called = (
        min(timeit.repeat(call, number=number, repeat=7)) / number * 1e6
        for call in (lambda: lossreg.build(name), lambda: cls(**arguments))
    )
    return built - called


def lookup_nanoseconds() -> float:
    """Return the minimum of several averages: the cost of a lookup that nothing interrupts."""
    from lossreg import losses

    losses.get("dice")
    number = 200_000
    return min(timeit.repeat(lambda: losses.get("dice"), number=number, repeat=7)) / number * 1e9


if __name__ == "__main__":
    main()
