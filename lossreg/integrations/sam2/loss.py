"""Any loss in the config of SAM 2's trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lossreg.config.factory import build, config_of
from lossreg.errors import InputError, ShapeError
from lossreg.integrations.learnable import parameters_of
from lossreg.integrations.meter import component_key
from lossreg.integrations.sam2.categories import IOUS, MASKS
from lossreg.integrations.tracked import Tracked
from lossreg.registries import losses

CORE_LOSS = "core_loss"  # the key of the total that SAM 2's trainer takes out of the dict


class Sam2Loss(Tracked):
    """A `Tracked` loss for the config of SAM 2's trainer, which logs each component as its own.

        loss:
          all:
            _target_: lossreg.integrations.sam2.Sam2Loss
            name: sam2

    A call returns the detached components as loss_<component>, and the total as core_loss. The loss `sam2` gets the
    outputs of the model, any other one those of `predicted_masks`. Without `Sam2Trainer`, which gives the step, the
    step is the number of earlier calls in training; a resumed training counts from 0.

    Args:
        name, params: the config of the loss.
        adapt: as for `Tracked`; None for the inputs above.
        monitor, records: as for `Tracked`.
        parameters: of the loss, as for `build`.
    Raises:
        InvalidConfigError: as `build`.
        InputError: by a call in training, if the optimiser does not have the parameters of the loss.
    """

    def __init__(
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        adapt: Any = None,
        monitor: Any = None,
        records: Any = None,
        **parameters: Any,
    ) -> None:
        module = build(name, params=params, **parameters)
        takes = _input(module)
        examples = "objects" if takes.startswith("outputs of SAM 2") else "frames of objects"
        if adapt is not None:
            examples = ""  # unknown
        elif examples == "frames of objects":
            adapt = predicted_masks if takes == "logits of M masks" else _without_ious
        super().__init__(module, adapt=adapt, monitor=monitor, records=records)
        self.examples = examples
        self._calls: int | None = None

    def forward(self, outs_batch: Sequence[Mapping[str, Any]], targets_batch: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        """Compute the dict that the trainer takes: components, and the total of its own under core_loss."""
        if torch.is_grad_enabled():
            self._check_trained()
            if self.context.step == self._calls:  # nobody else gives the step
                self._calls = 0 if self._calls is None else self._calls + 1
                self.context.begin(step=self._calls)
        kept = next(chain(self.parameters(), self.buffers()), None)
        if kept is not None and kept.device != targets_batch.device:
            self.to(targets_batch.device)  # the trainer moves the model alone
        output = self.evaluate(outs_batch, targets_batch)
        parts = {component_key(name): value for name, value in output.components.items()}
        return {**parts, CORE_LOSS: output.total.clone()}

    def _check_trained(self) -> None:
        """Check that the trainer, which clears the gradients before each step, cleared those of the loss."""
        if any(parameter.grad is not None for parameter in parameters_of(self)):
            raise InputError(
                "the loss learns parameters, and the optimiser of SAM 2's trainer has those of the model alone; write"
                " trainer._target_: lossreg.integrations.sam2.trainer.Sam2Trainer"
            )


def predicted_masks(outs_per_frame: Sequence[Mapping[str, Any]], masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mask that the model would show for each frame and object: of the last step, with the greatest IoU.

    A gradient reaches these masks alone. Frames come first: the examples are objects 0 to N - 1 of frame 0, and so on.

    Args:
        outs_per_frame: the T dicts of SAM 2's model.
        masks: targets, (T, N, H, W).
    Returns:
        logits (T N, 1, H, W), targets of the same shape and type, and the predicted IoU (T N, 1).
    Raises:
        InputError: a frame lacks the masks or the predicted IoUs.
        ShapeError: another number of frames than targets.
    """
    if len(outs_per_frame) != len(masks):
        raise ShapeError(f"the model returned {len(outs_per_frame)} frames for {len(masks)} targets (T, N, H, W)")
    chosen, ious = [], []
    for index, frame in enumerate(outs_per_frame):
        if missing := [key for key in (MASKS, IOUS) if key not in frame]:
            raise InputError(f"frame {index} lacks {', '.join(missing)}; give the list that SAM 2's model returns")
        iou, best = frame[IOUS][-1].max(1, keepdim=True)
        chosen.append(torch.take_along_dim(frame[MASKS][-1], best[:, :, None, None], 1))
        ious.append(iou)
    logits = torch.cat(chosen)
    return logits, masks.flatten(0, 1).unsqueeze(1).to(logits.dtype), torch.cat(ious)


def _without_ious(outs_per_frame: Sequence[Mapping[str, Any]], masks: Tensor) -> tuple[Tensor, Tensor]:
    return predicted_masks(outs_per_frame, masks)[:2]


def _input(loss: nn.Module) -> str:
    """Return the input of a loss by its contract; for a loss made of losses, that of its first one."""
    return next(_inputs(config_of(loss)), "")


def _inputs(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        name = f"{value.get('provider')}/{value.get('name')}"
        contract = losses.entry(name).metadata.get("contract") if name in losses else None
        taken = str(contract.get("input", "")) if isinstance(contract, Mapping) else ""
        if taken and not taken.startswith(("as ", "one ")):
            yield taken
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _inputs(part)
