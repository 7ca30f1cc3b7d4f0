"""A data collator whose batches carry the facts of their examples: for records, and unseen by the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import Trainer

from lossreg.errors import InputError
from lossreg.integrations.context import BatchKeys, facts_of

FACTS = "lossreg"  # the key of the facts in a batch


def carry(trainer: Trainer, keys: BatchKeys) -> None:
    """Let the batches of a Trainer carry facts, also where it removes the columns that the model does not take."""
    dispatches = trainer.accelerator.dispatch_batches
    if dispatches is None:
        dispatches = any(isinstance(data, IterableDataset) for data in (trainer.train_dataset, trainer.eval_dataset))
    if dispatches and trainer.accelerator.num_processes > 1:
        raise InputError(
            "the batches of an IterableDataset are dispatched, which brings tensors alone, and no facts by batch_keys;"
            " write TrainingArguments(..., accelerator_config={'dispatch_batches': False})"
        )
    trainer._set_signature_columns_if_needed()  # there is no public way past remove_unused_columns
    hidden = [key for key in keys.values() if key not in trainer._signature_columns]
    trainer._signature_columns += hidden
    trainer.data_collator = Collator(trainer.data_collator, keys, hidden, trainer.args.remove_unused_columns)


class Collator:
    """A data collator whose batches carry the facts of their examples.

    Args:
        inner: the collator.
        keys: as `batch_keys`.
        hidden: the columns of these that are no inputs of the model.
        drops: True if the collator does not see them either.
    """

    def __init__(self, inner: Callable[..., Any], keys: BatchKeys, hidden: Sequence[Any], drops: bool) -> None:
        self.inner = inner
        self.keys = keys
        self.hidden = hidden
        self.drops = drops

    def __call__(self, examples: Sequence[Any]) -> Any:
        facts_of(examples[0], self.keys)  # refuses wrong keys
        facts = {name: [_value(example[key]) for example in examples] for name, key in self.keys.items()}
        if self.drops and isinstance(examples[0], dict):  # as the Trainer does
            examples = [{key: example[key] for key in example if key not in self.hidden} for example in examples]
        batch = self.inner(examples)
        for key in self.hidden:
            batch.pop(key, None)
        batch[FACTS] = facts
        return batch


def _value(fact: Any) -> Any:
    return fact.item() if isinstance(fact, Tensor) else fact
