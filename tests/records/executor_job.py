"""One dataset and one model, evaluated by each executor: the script that test_executors.py starts, as a user would."""

import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lossreg.records import run_dataset_evaluation

COUNT, BATCH, PART = 103, 4, 8  # 26 batches, 13 parts, and one example that two ranks are given
RANKED, EPOCHS = 500, 4  # examples and looks at each: 2,000 records


class Examples(Dataset):
    """Examples of three datasets of unequal length, by index."""

    def __init__(self, count=COUNT):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        return {"index": index, "dataset": "aab"[index % 3] + "c" * (index > 90), "caption": f"a photo of {index % 7}"}


class Model:
    """Rows of a batch; logs its calls, and can fail or wait."""

    def __init__(self, log, scale=1.0, pause=0.0, fails_at=None):
        self.log, self.scale, self.pause, self.fails_at = Path(log), scale, pause, fails_at
        self._write("made")

    def __call__(self, batch):
        index = torch.as_tensor(batch["index"])
        if self.fails_at in index.tolist():
            raise RuntimeError(f"no photo {self.fails_at}")
        time.sleep(self.pause)
        self._write(*index.tolist())
        dice = (index * 37 % 101).double() / 7 * self.scale
        loss = dice + 0.1
        loss[index == 50] = torch.nan
        return {
            "loss": loss,
            "loss_dice": dice,
            "sample_id": index,
            "dataset": list(batch["dataset"]),
            "caption": list(batch["caption"]),
            "weight": 1.0 + index % 2,
        }

    def _write(self, *words):
        with self.log.open("a") as file:  # one write appends complete lines, in any process
            file.write("".join(f"{os.getpid()} {word}\n" for word in words))


class Drawn(Model):
    """Rows of a batch in each draw: the mean square of its noise, a component and columns of the user's own.

    The last batches alone have the component, and values in the column `late`.
    """

    def __call__(self, batch, draw):
        index = torch.as_tensor(batch["index"])
        noise = draw.noise(index, like=torch.zeros(len(index), 3))
        late = [number / 2 if number > 90 else None for number in index.tolist()]
        return {
            "loss": noise.square().mean(1) * draw.condition,
            "sample_id": index,
            "dataset": list(batch["dataset"]),
            "control": index == 7,
            "camera": ["left" if number % 2 else None for number in index.tolist()],
            "size": index * 2**33,
            "late": late,
        } | ({"loss_late": late} if any(late) else {})


class Epochs(Model):
    """The losses of a training of four epochs: they fall, depend on a noise level, and every fiftieth is high."""

    def __call__(self, batch):
        index = torch.as_tensor(batch["index"]).repeat(EPOCHS)
        epoch = torch.arange(EPOCHS).repeat_interleave(len(index) // EPOCHS)
        noise, level = ((index * 2654435761 + epoch * prime) % 1009 / 1009 for prime in (40503, 92821))
        return {
            "loss": 0.7 ** epoch.double() * (1 + noise) * (2 - level) * (1 + 2 * (index % 50 == 0)),
            "condition": level,
            "epoch": epoch,
            "sample_id": index,
            "dataset": list(batch["dataset"]) * EPOCHS,
        }


def evaluate(out, name, executor, data, *, draws=None, **init):
    """Run one evaluation; return the text of its error, if there is one."""
    init = {"log": str(out / f"{name}.log")} | init
    options = {"job_name": name, "step": 7, "out_dir": out, "executor": executor, "init": init}
    try:
        if draws is None:
            run_dataset_evaluation(Epochs if name.startswith("ranked") else Model, data, **options)
        else:
            run_dataset_evaluation(Drawn, data, **options, draws=draws, conditions=(0, 1000))
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"
    return None


def on_torchrun(out):
    """As two ranks: over what other ranks left, with a rank that fails, and without ids."""
    distributed.init_process_group("gloo")
    rank, examples, ranked = distributed.get_rank(), Examples(), Examples(RANKED)
    loader = DataLoader(examples, BATCH, sampler=DistributedSampler(examples, shuffle=False))
    shuffled = DataLoader(ranked, BATCH + 1, sampler=DistributedSampler(ranked, shuffle=True))
    errors = {
        "first": evaluate(out, "torchrun", "torchrun", loader, scale=2.0),
        "again": evaluate(out, "torchrun", "torchrun", loader),
        "drawn": evaluate(out, "drawn", "torchrun", loader, draws=2),
        "ranked": evaluate(out, "ranked", "torchrun", shuffled),
        "fails": evaluate(out, "fails", "torchrun", loader, fails_at=51),  # an odd index: that of rank 1
    }
    (out / f"rank{rank}.json").write_text(json.dumps(errors))
    distributed.destroy_process_group()


def on_ray(out, killed):
    """On a local cluster: slowly, to be killed; or to the end, with all other cases."""
    import ray
    import ray.data

    from lossreg.records import RayExecutor

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    executor = RayExecutor(actors=1, part_size=PART, batch_size=BATCH, cpus=0.5)
    if killed:
        evaluate(out, "parts", executor, Examples(), pause=0.2)
        return
    loader = DataLoader(Examples(), BATCH)
    examples = Examples()
    streamed = ray.data.from_items([examples[index] | {"sample_id": index} for index in range(COUNT)])
    smaller = RayExecutor(part_size=BATCH, batch_size=BATCH)
    small = RayExecutor(part_size=1, batch_size=BATCH, cpus=0.5)
    whole = RayExecutor(part_size=1000, batch_size=BATCH, cpus=0.5)
    ranked = RayExecutor(actors=2, part_size=250, batch_size=7, cpus=0.5)
    errors = {
        "parts": evaluate(out, "parts", executor, loader),
        "finished": evaluate(out, "parts", executor, loader, fails_at=0),
        "other parts": evaluate(out, "parts", smaller, loader),
        "shuffled": evaluate(out, "shuffled", executor, DataLoader(Examples(), BATCH, shuffle=True)),
        "stream fails": evaluate(out, "stream", small, streamed, fails_at=70),
        "stream": evaluate(out, "stream", small, streamed),
        "drawn": evaluate(out, "drawn", executor, Examples(), draws=2),
        "more draws": evaluate(out, "drawn", executor, Examples(), draws=4),
        "drawn stream": evaluate(out, "drawn-stream", small, streamed, draws=2),
        "drawn in one file": evaluate(out, "drawn-file", whole, streamed, draws=2),
        "ranked": evaluate(out, "ranked", ranked, Examples(RANKED)),
    }
    (out / "ray.json").write_text(json.dumps(errors))
    ray.shutdown()


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    if sys.argv[1] == "torchrun":
        on_torchrun(folder)
    else:
        on_ray(folder.absolute(), killed=sys.argv[1] == "ray-killed")
