"""The loss of a fastai learner that shows predictions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lossreg.errors import InputError
from lossreg.integrations.adapt import Activation
from lossreg.integrations.tracked import Tracked


class FastaiLoss(Tracked):
    """A `Tracked` loss for `Learner(loss_func=)`, whose predictions fastai can show.

        learn = Learner(dls, model, loss_func=FastaiLoss("dice", ends="sigmoid"), cbs=LossCallback())

    Args:
        loss: a config, the name of a loss, or a module.
        ends: "sigmoid" or "softmax" turns the model's output into the probabilities of `get_preds`, and these into the
            masks or classes of `predict` and `show_results`. None leaves the output as it is.
        tracked: arguments of `Tracked`, such as monitor and records.
    Raises:
        InputError: ends has another value; as `Tracked`.
    """

    def __init__(self, loss: Any, *, ends: Activation | None = None, **tracked: Any) -> None:
        super().__init__(loss, **tracked)
        if ends not in ("sigmoid", "softmax", None):
            raise InputError(f"ends must be 'sigmoid', 'softmax' or None, got {ends!r:.80}")
        self.ends = ends
        self.reduction = "mean"  # fastai sets "none" for the losses of get_preds(with_loss=True)

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Compute the training scalar, 0-dim; the values per example, (B,), while the reduction is "none"."""
        total = super().forward(*inputs, **options)
        if self.reduction != "none":
            return total
        if self.last is None or self.last.per_example is None:
            raise InputError("with_loss=True needs the loss of each example, which this loss has not; leave it out")
        return self.last.per_example

    def activation(self, output: Tensor) -> Tensor:
        """Return the probabilities of an output of the model."""
        if self.ends is None:
            return output
        return output.sigmoid() if self.ends == "sigmoid" else output.softmax(1)

    def decodes(self, probabilities: Tensor) -> Tensor:
        """Return the masks or class indices of probabilities."""
        if self.ends is None:
            return probabilities
        return probabilities > 0.5 if self.ends == "sigmoid" else probabilities.argmax(1)
