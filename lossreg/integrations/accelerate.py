"""Accelerate: batches without its padding, and the loss in its trackers, the same on one process and on several."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard, DataLoaderDispatcher, IterableDatasetShard
from torch import Tensor, nn

from lossreg.errors import InputError
from lossreg.integrations.context import BatchKeys, facts_of
from lossreg.integrations.learnable import check_trained, keep_equal, parameters_of
from lossreg.integrations.tracked import Tracked
from lossreg.loss.wrappers import wrapped
from lossreg.messages import warn_once

_checked: WeakKeyDictionary[Tracked, list[int]] = WeakKeyDictionary()  # with which optimisers


def begin(
    accelerator: Accelerator,
    loss: nn.Module,
    batch: Any,
    *,
    batch_keys: BatchKeys | None = None,
    loader: Any = None,
    **facts: Any,
) -> None:
    """Begin a batch of a prepared loader: the loss gets its step and ids, and ignores examples that pad the last batch.

        model, loss, optimizer, loader = accelerator.prepare(model, Tracked("dice"), optimizer, loader)
        for step, batch in enumerate(loader):
            begin(accelerator, loss, batch, step=step, epoch=0)
            accelerator.backward(loss(model(batch["image"]), batch["mask"]))

    Several processes keep the parameters of a loss that learns equal, also where its wrapper is not called. Ids that
    are tensors on a device are copied, which waits for it. Ids as text stay on the host.

    Args:
        accelerator: which prepared the loader of the batch.
        loss: the `Tracked` loss, or what `prepare` returned for it.
        batch: of the loader.
        batch_keys: where the batch has sample_ids, dataset, path and caption, such as {"sample_ids": "id"}. None for
            the keys of these names.
        loader: of the batch, where several are read at once; None for the one that was begun last.
        facts: step, epoch and other fields of `Context`.
    Raises:
        InputError: a loss that is not Tracked, or learns parameters that no prepared optimiser has; a wrong key.
    """
    tracked = tracked_of(loss)
    optimizers = [id(optimizer) for optimizer in accelerator._optimizers]
    if _checked.get(tracked) != optimizers:
        _check(accelerator, tracked)
        _checked[tracked] = optimizers
    found = facts_of(batch, batch_keys)
    found |= {name: value.tolist() for name, value in found.items() if isinstance(value, Tensor)}
    tracked.context.begin(**{"size": genuine(accelerator, loader), **found, **facts})


def log(accelerator: Accelerator, loss: nn.Module, split: str = "train", step: int | None = None) -> dict[str, float]:
    """Log the means since the last call to the trackers, as `train/total_loss`, and return them. All processes call it.

    A finding of the monitor is the scalar `health/<rule>`: how often the main process had it since the last call.

    Args:
        accelerator: whose trackers log.
        loss: the `Tracked` loss, or what `prepare` returned for it.
        split: "train", "val" or another of the context.
        step: of the training.
    """
    tracked = tracked_of(loss)
    values = tracked.read(split)
    for event in tracked.events():
        values[f"health/{event.rule}"] = values.get(f"health/{event.rule}", 0.0) + 1.0
    accelerator.log(values, step=step)
    return values


def tracked_of(loss: nn.Module) -> Tracked:
    """Return the Tracked loss within what `prepare` returned for it: several processes wrap a loss that learns."""
    module: nn.Module | None = loss
    while module is not None and not isinstance(module, Tracked):
        module = wrapped(module)
    if module is None:
        raise InputError(f"a {type(loss).__name__} keeps no means: prepare Tracked(loss), and give this one here")
    return module


def _check(accelerator: Accelerator, tracked: Tracked) -> None:
    """Bring a loss to the device, and see that what it learns is trained, and equal in all processes."""
    tracked.to(accelerator.device)
    kind = accelerator.distributed_type.value
    if not parameters_of(tracked) or not (kind == "NO" or kind.startswith("MULTI_")):  # others divide the parameters
        return
    if accelerator._optimizers:  # there is no other way to them
        check_trained(
            tracked, accelerator._optimizers, "build the optimiser of [*model.parameters(), *loss.parameters()]"
        )
    keep_equal(tracked)


def genuine(accelerator: Accelerator, loader: Any = None) -> int | None:
    """Return how many examples of the current batch of a loader are this process's own; None for all.

    Accelerate fills up the last batches with the first examples. `gradient_state.remainder` knows the length of the
    data, and not that of a sampler, nor anything after `skip_first_batches`: so the batch sampler is read.
    """
    loader = accelerator.gradient_state.active_dataloader if loader is None else loader
    if not getattr(loader, "end_of_dataloader", False):
        return None
    if isinstance(loader, DataLoaderDispatcher):
        share = -(-loader.remainder // accelerator.num_processes)
        return _own(loader.remainder, share, accelerator.process_index)
    shard = _shard(loader)
    if shard is None or shard.drop_last or not getattr(shard, "even_batches", True) or not shard.batch_size:
        return None
    processes = shard.num_processes
    share = shard.batch_size // processes if shard.split_batches else shard.batch_size
    last = _length(loader, shard) % (share * processes)
    return _own(last, share, shard.process_index) if last else None


def _own(examples: int, share: int, process: int) -> int:
    """Return how many of the examples of all processes are those of one: each has its share, in order."""
    return min(max(examples - process * share, 0), share)


def _shard(loader: Any) -> BatchSamplerShard | IterableDatasetShard | None:
    """Return the part of a loader that chooses the examples of a process; None where there is one process."""
    sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while sampler is not None and not isinstance(sampler, BatchSamplerShard):
        sampler = getattr(sampler, "batch_sampler", None)  # of skip_first_batches
    if sampler is None and isinstance(loader.dataset, IterableDatasetShard):
        return loader.dataset
    return sampler


def _length(loader: Any, shard: BatchSamplerShard | IterableDatasetShard) -> int:
    """Return the number of examples of an epoch, of all processes; 0 if it is not known."""
    is_iterable = isinstance(shard, IterableDatasetShard)
    source = shard.dataset if is_iterable else getattr(shard.batch_sampler, "sampler", loader.dataset)
    try:
        return len(source)
    except TypeError:
        warn_once(
            "a loader without length",
            "the data of this loader have no length, so the examples that fill up its last batch count twice; give"
            " Accelerator(dataloader_config=DataLoaderConfiguration(dispatch_batches=True)), or the data a __len__",
        )
        return 0
