"""The speed of writing records, and the cost of recording in a training step.

The rows are from a captioned data set, in batches of 256. The step is a U-Net on 8 x 1 x 512 x 512 with bce_dice_focal:
alternately with and without recording, so that a drift of the machine affects both equally. Writing shards counts.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossreg.records import RecordWriter

ROWS = 10_000_000
BATCH = 256
STEPS = 30  # of each kind
FLUSH_STEPS = 10  # between shards: far fewer than in training, where a shard is written every minute

Watch = Callable[[object], None]


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="number of rows to write")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each kind")
    parser.add_argument("--keep", type=Path, help="write the records to this folder, and keep them")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_writing(chosen.keep or Path(folder) / "rows", chosen.rows)
        print_overhead(Path(folder), chosen.steps)


def print_writing(directory: Path, rows: int) -> None:
    """Print the rows per second, from `add` to the renamed shard, and the peak memory."""
    before = peak_mebibytes()
    start = time.process_time()
    seconds = write(directory, rows)
    computed = time.process_time() - start
    size = sum(path.stat().st_size for path in directory.glob("*.parquet"))
    print(f"{rows:,} rows by one process: {rows / seconds:,.0f} rows/s ({seconds:.1f} s)")
    print(f"  {rows / computed:,.0f} rows per second of processor time, including the time to make the names")
    print(f"  peak memory {peak_mebibytes():,.0f} MiB, of which {before:,.0f} before; {size / rows:.1f} bytes a row")


def write(directory: Path, rows: int) -> float:
    """Return the seconds of writing, without making the names, which is not part of recording."""
    import torch

    from lossreg.records import RecordWriter

    losses = torch.rand(BATCH)
    seconds = 0.0
    writer = RecordWriter(directory, run="benchmark")
    for step in range(rows // BATCH):
        names = [f"{number:012d}" for number in range(step * BATCH, (step + 1) * BATCH)]
        paths = [f"/data/train2017/{name}.jpg" for name in names]
        captions = [f"a photograph of a street, no. {name}" for name in names]
        start = time.perf_counter()
        writer.add(losses, sample_ids=names, path=paths, caption=captions, dataset="coco", split="train", step=step)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    writer.close()
    return seconds + time.perf_counter() - start


def print_overhead(folder: Path, steps: int) -> None:
    """Print the extra cost of a step for each watcher."""
    for name, watch in watchers(folder):
        share, ratio, milliseconds = overhead(watch, steps)
        print(
            f"training step with {name}: {share:.2%} of its time is spent there;"
            f" median with over median without {ratio:.4f} ({milliseconds:.0f} ms without)"
        )


def watchers(folder: Path) -> Iterator[tuple[str, Watch]]:
    """Yield the watchers of a step's output, by name."""
    from lossreg.records import RecordConfig, RecordWriter

    with RecordWriter(folder / "steps", config=RecordConfig(flush_rows=8 * FLUSH_STEPS)) as writer:
        yield "records of every step", recording(writer)


def recording(writer: RecordWriter) -> Watch:
    """Return a watcher that records every step, with all columns."""
    count = itertools.count()

    def record(output: Any) -> None:
        step = next(count)
        names = [f"{step}-{number}" for number in range(8)]
        writer.add(output, sample_ids=names, path=names, caption=names, dataset="a", step=step)

    return record


def training_step() -> Callable[[], object]:
    """Return a function that runs a step of the U-Net on one batch and returns the loss's output."""
    import torch

    import lossreg

    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    from unet import UNet

    torch.manual_seed(0)
    model, loss = UNet(), lossreg.build("bce_dice_focal")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    image = torch.randn(8, 1, 512, 512)
    mask = (torch.rand(8, 1, 512, 512) > 0.5).float()

    def step() -> object:
        output = lossreg.evaluate(loss, model(image), mask)
        optimiser.zero_grad()
        output.total.backward()
        optimiser.step()
        return output

    return step


def overhead(watch: Watch, steps: int) -> tuple[float, float, float]:
    """Alternate steps with and without; return the watcher's share of the time, the ratio and the milliseconds."""
    step = training_step()
    watch(step())
    times: dict[bool, list[float]] = {True: [], False: []}
    watching = 0.0
    for turn in range(steps):
        for watched in (turn % 2 == 0, turn % 2 == 1):
            start = time.perf_counter()
            output = step()
            trained = time.perf_counter()
            if watched:
                watch(output)
                watching += time.perf_counter() - trained
            times[watched].append(time.perf_counter() - start)
    plain, with_watch = (statistics.median(times[kind]) for kind in (False, True))
    return watching / sum(times[False]), with_watch / plain, plain * 1e3


def peak_mebibytes() -> float:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main()
