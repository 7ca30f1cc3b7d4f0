"""MONAI: ignite's handler for MONAI's engines and bundles, and an adapter of its labels."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import IterationEvents, Trainer, default_metric_cmp_fn
from monai.utils import CommonKeys, ImageMetaKey, PostFix
from torch import Tensor

from lossreg.errors import InputError, ShapeError
from lossreg.integrations import ignite
from lossreg.integrations.meter import TOTAL
from lossreg.messages import did_you_mean


def pair_of(output: Any) -> tuple[Any, Any]:
    """Return prediction and label from the output of an evaluator."""
    keys = (CommonKeys.PRED, CommonKeys.LABEL)
    if isinstance(output, Mapping) and set(keys) <= set(output):
        return output[CommonKeys.PRED], output[CommonKeys.LABEL]
    raise InputError(
        f"the output of the evaluator has no {' and '.join(keys)}; choose prediction and label by a function, as in"
        " LossHandler(..., output_transform=lambda output: (output['pred_0'], output['label']))"
    )


def class_indices(prediction: Any, target: Tensor) -> tuple[Any, Tensor]:
    """Return labels of MONAI, (N, 1, *) with numbers of classes, as class indices (N, *).

    `Tracked("dice", adapt=class_indices)` takes the labels that a loss of MONAI takes with `to_onehot_y=True`.
    """
    if target.ndim < 2 or target.shape[1] != 1:
        raise ShapeError(f"class_indices takes labels (N, 1, *), got {tuple(target.shape)}; leave out adapt=")
    return prediction, target[:, 0].long()


class LossHandler(ignite.LossHandler):
    """A handler for the engines of MONAI, with the arguments of ignite's.

        loss = Tracked("dice", monitor="stop", records="runs/7/records")
        handler = LossHandler(loss)
        evaluator = SupervisedEvaluator(..., key_val_metric={"val/total_loss": handler})
        trainer = SupervisedTrainer(..., loss_function=loss, train_handlers=[handler, ...])

    As the key metric of an evaluator, it makes the least loss the best. The loss of an evaluator is computed before the
    batch is decollated. The files of the examples, from the metadata of their images, are their paths, and their ids
    where the batch has no others.
    """

    computed = IterationEvents.FORWARD_COMPLETED
    pair_of = staticmethod(pair_of)

    def attach(self, engine: Engine, evaluator: Engine | str | None = None) -> None:
        """Attach to a trainer or an evaluator, as MONAI does with handlers and metrics.

        Args:
            engine: a trainer or an evaluator.
            evaluator: of the trainer; or the name of the metric, if MONAI attaches the handler as one.
        """
        if isinstance(engine, Trainer):
            super().attach(engine, None if isinstance(evaluator, str) else evaluator)
        else:
            self.attach_evaluator(engine)
        if isinstance(evaluator, str):
            engine.add_event_handler(ignite.ENDS, self._rename, name=evaluator)
            if engine.state.key_metric_name == evaluator and engine.metric_cmp_fn is default_metric_cmp_fn:
                engine.metric_cmp_fn = operator.lt

    def _rename(self, engine: Engine, *_: Any, name: str, **__: Any) -> None:
        """Set the metric of another name, which is the total."""
        split = "train" if isinstance(engine, Trainer) else "val"
        known = self.tracked.latest(split)
        if name.startswith(f"{split}/") and name not in known:
            raise InputError(f"the loss has no {name}; {did_you_mean(name, known, otherwise=', '.join(known))}")
        if name not in known:
            engine.state.metrics[name] = engine.state.metrics[f"{split}/{TOTAL}"]

    def _facts(self, batch: Any) -> dict[str, Any]:
        facts = super()._facts(batch)
        if "path" not in facts and (paths := _paths(batch)):
            facts["path"] = paths
        if "path" in facts:
            facts.setdefault("sample_ids", facts["path"])
        return facts


def _paths(batch: Any) -> list[str] | None:
    """Return the files of the images of a batch, from their metadata."""
    if isinstance(batch, Mapping):
        image, meta = batch.get(CommonKeys.IMAGE), batch.get(PostFix.meta(CommonKeys.IMAGE))
    else:
        image, meta = batch[0] if isinstance(batch, list | tuple) and batch else None, None
    meta = image.meta if isinstance(image, MetaTensor) else meta
    names = meta.get(ImageMetaKey.FILENAME_OR_OBJ) if isinstance(meta, Mapping) else None
    return [str(name) for name in names] if isinstance(names, list) else None
