"""The loss of a Keras model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch import Tensor, nn

from lossreg.config.factory import config_of
from lossreg.config.model import ConfigLike
from lossreg.errors import InputError, ShapeError
from lossreg.integrations.adapt import Activation, Adapt
from lossreg.integrations.keras.batches import FACTS
from lossreg.integrations.learnable import parameters_of
from lossreg.integrations.tracked import Tracked
from lossreg.loss import Loss, Term, per_example


@keras.saving.register_keras_serializable(package="lossreg")
class KerasLoss(keras.losses.Loss):
    """A loss for `model.compile`. It computes one output of a model, and is saved with the model.

        model.compile("adam", loss=KerasLoss("dice"))
        model.fit(images, masks, callbacks=[LossCallback()])

    Args:
        loss: a config, the name of a loss, a module, or a `Tracked` loss with a monitor or records.
        channels_last: outputs and masks are (N, *, C). None for `keras.config.image_data_format()`.
        activation: the function that ends the model, "sigmoid" or "softmax"; None for a model that ends in logits,
            which train better.
        name: of the loss among those of several outputs.
    Attributes:
        tracked: the Tracked loss.
    Raises:
        InputError: Keras runs on another backend than torch, or the loss has parameters, which Keras would not train.
        InvalidConfigError: as `build`.
    """

    def __init__(
        self,
        loss: ConfigLike | nn.Module,
        *,
        channels_last: bool | None = None,
        activation: Activation | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if (backend := keras.config.backend()) != "torch":
            raise InputError(f"Keras runs on {backend}: set KERAS_BACKEND=torch before the first import of keras")
        self.tracked = loss if isinstance(loss, Tracked) else Tracked(loss)
        if parameters_of(self.tracked):
            names = ", ".join(name for name, value in self.tracked.named_parameters() if value.requires_grad)
            raise InputError(
                f"the loss learns {names}, and Keras trains the weights of the model alone; take a loss with fixed"
                " weights, such as weighted_sum"
            )
        last = keras.config.image_data_format() == "channels_last" if channels_last is None else channels_last
        self.adapt = Adapt(target_first=True, channels_last=last, activation=activation)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Compute the loss of a batch, 0-dim. A weight for each example multiplies its loss, and the mean is over all.

        Raises:
            InputError: weights for a loss that has no values per example.
            ShapeError: other weights than one for each example.
        """
        if _is_building():
            return torch.zeros(())
        facts = getattr(y_true, FACTS, None)
        if facts is not None:
            self.tracked.context.begin(**facts)
        # Without a type, integers stay integers: they are class indices.
        inputs = self.adapt(keras.ops.convert_to_tensor(y_true), keras.ops.convert_to_tensor(y_pred))
        if sample_weight is None:
            return self.tracked(*inputs)
        return self._weighed(inputs, keras.ops.convert_to_tensor(sample_weight))

    def _weighed(self, inputs: tuple[Any, ...], weight: Tensor) -> Tensor:
        with _kept_terms(self.tracked.loss) as terms:
            self.tracked(*inputs)
        values = per_example(terms) if terms else None
        if values is None:
            raise InputError(
                "sample_weight and class_weight weigh examples, and this loss has no values per example; train without"
                " them, or choose a loss that splits over examples, such as dice without batch=True"
            )
        if weight.numel() != len(values):
            raise ShapeError(
                f"sample_weight must have one weight for each of {len(values)} examples, got {tuple(weight.shape)};"
                " weights of pixels are parameters of the loss, such as ignore_index"
            )
        weighed = values * weight.to(values.dtype).reshape(len(values))
        return weighed.sum() if getattr(self.tracked.loss, "reduction", "mean") == "sum" else weighed.mean()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, for saved models. A monitor and records belong to a training, and are left out."""
        shape = {"channels_last": self.adapt.channels_last, "activation": self.adapt.activation}
        return {"loss": config_of(self.tracked), **shape, "name": self.name}


def _is_building() -> bool:
    """Return True while Keras builds a model with stand-ins for its batches."""
    with keras.SymbolicScope() as scope:
        return scope.original_scope is not None


@contextmanager
def _kept_terms(loss: nn.Module) -> Iterator[Mapping[str, Term]]:
    """Keep the terms of the next call of a loss, with their graph."""
    kept: dict[str, Term] = {}
    if not isinstance(loss, Loss):
        yield kept
        return

    def terms(*inputs: Any, **options: Any) -> dict[str, Term]:
        kept.update(type(loss).terms(loss, *inputs, **options))
        return kept

    vars(loss)["terms"] = terms
    try:
        yield kept
    finally:
        del vars(loss)["terms"]
