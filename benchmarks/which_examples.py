"""Which statistic of the losses finds bad examples: planted in three small trainings, and looked for in each.

If k examples are planted, a figure is the share of them that stands among the first k after 1, 3 and 10 epochs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import torch
from which import diffusion, digits, segmentation
from which.orders import STATISTICS, SURE, ranked, ranked_shuffled
from which.training import EPOCHS, Training

import lossreg
from lossreg.records import Ranking

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "which_examples.md"
QUICK_PAGE = Path("runs/benchmarks/which_examples.md")
SEEDS = 5
TRAININGS = {"segmentation": segmentation.train, "digits": digits.train, "diffusion": diffusion.train}


class Named(NamedTuple):
    """What `rank_examples` is sure of."""

    reliability: float | None  # None where every example was seen once
    sure: int  # examples that it names
    planted: int  # of these
    shuffled: int  # examples that it names where no example differs
    examples: int


class Judged(NamedTuple):
    """The figures of one training: by statistic and epoch, and by epoch."""

    found: dict[tuple[str, int], float]
    named: dict[int, Named]


def main() -> None:
    """Train and judge with one seed after the other, and write the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of each training")
    parser.add_argument("--only", default="", metavar="NAME", help="the trainings whose name contains this")
    parser.add_argument("--out", type=Path, help=f"the page; with fewer seeds or --only, default {QUICK_PAGE}")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    torch.set_num_threads(1)
    chosen = [name for name in TRAININGS if options.only in name]
    judged: dict[str, list[Judged]] = {name: [] for name in chosen}
    for seed in range(options.seeds):
        for name in chosen:
            judged[name].append(judge(name, seed))
        complete = seed + 1 >= SEEDS and len(chosen) == len(TRAININGS)
        out = options.out or (PAGE if complete else QUICK_PAGE)  # after each seed, so that an end loses little
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(page(judged)) + "\n")
    print(out.read_text())


def judge(name: str, seed: int) -> Judged:
    """Train with one seed, and count what each statistic finds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        training = TRAININGS[name](seed, Path(folder))
        trained = time.perf_counter()
        found = {
            (statistic, epoch): precision(order, training)
            for statistic, make in STATISTICS.items()
            for epoch in EPOCHS
            if (order := make(training, epoch)) is not None
        }
        named = {epoch: name_examples(training, epoch, seed) for epoch in EPOCHS}
    print(
        f"{name}, seed {seed}: trained {trained - start:.0f} s, judged {time.perf_counter() - trained:.0f} s",
        flush=True,
    )
    return Judged(found, named)


def precision(order: Sequence[str], training: Training) -> float:
    """Return the share of the planted examples among as many first ones."""
    first = order[: len(training.planted)]
    return len(training.planted.intersection(first)) / len(training.planted)


def name_examples(training: Training, epoch: int, seed: int) -> Named:
    """Count the examples that the ranking is sure of, in this training and where no example differs."""
    found = ranked(training, epoch)
    sure = sure_names(found)
    shuffled = len(sure_names(ranked_shuffled(training, epoch, seed)))
    planted = len(training.planted.intersection(sure))
    return Named(found.reliability, len(sure), planted, shuffled, found.total)


def sure_names(found: Ranking) -> list[str]:
    """List the examples whose verdict is that they are surely among the hardest."""
    return [str(example.sample_id) for example in found.examples if example.verdict == SURE]


def page(judged: dict[str, list[Judged]]) -> list[str]:
    """Write the page: both tables, and the words for them."""
    seeds = max(len(each) for each in judged.values())
    return [
        *f"""# Which statistic finds the bad examples

`python benchmarks/which_examples.py` planted bad examples in three small trainings, {seeds} seeds of each, and looked
for them after 1, 3 and 10 epochs. If k are planted, a figure is the share of them, in %, that stands among the first k:
the mean over the seeds, and its standard error. A random order finds 6, 10 and 10 %.
torch {torch.__version__}, lossreg {lossreg.__version__}, one thread.
""".splitlines(),
        "",
        *found_table(judged),
        "",
        *_LEGEND.format(seeds=seeds).splitlines(),
        "",
        *named_table(judged),
    ]


_LEGEND = f"""\
- **segmentation**: 800 tiles of 24x24 pixels of four photographs, a U-Net of two levels, `bce_dice_focal`. Planted
  6 %: masks that are shifted, of another tile, emptied or inverted; images that are noise or black.
- **digits**: the 1,797 of scikit-learn, every second one noisy, and a network of three layers. Planted 10 %: wrong
  labels, shuffled pixels.
- **diffusion**: a network that denoises half of these digits, each with its class, and is fine-tuned on 900 others. It
  sees no class in a tenth of the steps. Planted 10 %: wrong classes, shuffled pixels. `condition` is the noise level.
- A **pass** is an evaluation by `run_dataset_evaluation` with the model of that epoch. That of diffusion has `draws=4`;
  in the row of a random timestep and noise, each of the four has its own.
- cleanlab's score is the probability of the given label, for digits, and so has the order of the loss. For
  segmentation it is its soft minimum over the pixels. Both are computed by their formulas, and by the model that was
  trained on these examples, where cleanlab recommends others.

## Named with confidence

`rank_examples` says "{SURE}" of some examples, and of none that it saw less than three
times. The table has how many these are of all in {{seeds}} seeds, and which share of them is planted. The last column
has how many it names where no example differs: there the same losses were dealt to other examples of their data set
in each epoch.
"""


def found_table(judged: dict[str, list[Judged]]) -> list[str]:
    """Write a row for each statistic, with three columns for each training."""
    head = " | ".join(f"{name} {epoch}" for name in judged for epoch in EPOCHS)
    rows = [f"| | {head} |", "|---|" + "--:|" * (len(judged) * len(EPOCHS))]
    for statistic in STATISTICS:
        cells = [
            percent([each.found[statistic, epoch] for each in training if (statistic, epoch) in each.found])
            for training in judged.values()
            for epoch in EPOCHS
        ]
        if any(cells):
            rows.append(f"| {statistic} | {' | '.join(cells)} |")
    return rows


def percent(values: list[float]) -> str:
    """Write the mean of shares in %, and its standard error where there are several."""
    if not values:
        return ""
    mean = f"{100 * statistics.mean(values):.0f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(values) / len(values) ** 0.5:.0f}"


def named_table(judged: dict[str, list[Judged]]) -> list[str]:
    """Write a row for each training and epoch, summed over the seeds."""
    rows = [
        "| | epochs | reliability | named | planted among them | named where none differs |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, training in judged.items():
        for epoch in EPOCHS:
            each = [judged.named[epoch] for judged in training]
            total, sure = sum(one.examples for one in each), sum(one.sure for one in each)
            planted, shuffled = sum(one.planted for one in each), sum(one.shuffled for one in each)
            known = [one.reliability for one in each if one.reliability is not None]
            reliability = f"{statistics.mean(known):.2f}" if known else ""
            share = f"{100 * planted / sure:.0f} %" if sure else ""
            named = f"{sure:,.0f} of {total:,.0f} ({100 * sure / total:.1f} %)"
            rows.append(f"| {name} | {epoch} | {reliability} | {named} | {share} | {shuffled} |")
    return rows


if __name__ == "__main__":
    main()
