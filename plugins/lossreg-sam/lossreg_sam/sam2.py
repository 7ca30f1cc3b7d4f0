"""The training loss of SAM 2, over frames, correction steps and several masks for each object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lossreg import Loss, Term, losses
from lossreg.authoring import PerPixel, contract
from lossreg.errors import InputError
from lossreg_sam.masks import IOU_SUMS, iou_error
from lossreg_sam.sam import DICE_SUMS, FOCAL_SUMS
from lossreg_sam.sam2_outputs import Step, alike, read_steps
from lossreg_sam.sam2_settings import COMPONENTS, PRESETS, Alpha, Gamma, Preset, weights_of
from lossreg_segmentation.distributed import means_over_ranks
from lossreg_segmentation.mask_pass import MaskPass
from lossreg_segmentation.pixelwise import Weight
from lossreg_segmentation.ratios import dice_loss, focal_loss, linear
from lossreg_segmentation.segmentation_loss import required
from lossreg_segmentation.statistics import MaskStatistics, mask_statistics
from lossreg_segmentation.statistics.choice import IMPLEMENTATIONS

CONTRACT = contract(
    input="outputs of SAM 2, per frame and step",
    target="masks (T, N, H, W), shared by the steps and the M predictions",
    tasks=["binary"],
    implementations=IMPLEMENTATIONS,
)


@losses.register(
    "sam2",
    aliases=("sam2_loss",),
    tags=("segmentation", "sam", "pixelwise", "overlap", "calibration", "mixture", "binary", "logits", "imbalance"),
    contract=CONTRACT,
)
class SAM2(Loss):
    r"""Loss of SAM 2 over frames and steps, with one chosen mask per object.

        loss = 1/num_objects sum_frames,steps,objects w_class focal(score, present)
               + present (w_mask focal + w_dice dice + w_iou |predicted_iou - IoU|^k),  k = 1 or 2
        of the mask with the least w_mask focal + w_dice dice

    Math:
        L = \frac{1}{N} \sum_{f, o} \left( w_c\, L_c + y_o \left( w_f\, L_f + w_d\, L_d + w_u\, |u - I|^k \right)
            \right)
        where the sum is over the steps of all frames $f$ and over the objects $o$ of $N$, $y_o$ is 1 for an object that
        is there, $L_c$ `focal` of its score, $L_f$ `focal` and $L_d$ `dice` of the mask with the least $w_f L_f + w_d
        L_d$, $u$ its predicted IoU and $I$ the actual one. The weights are 20, 1 and 1 for masks, Dice and IoU, and
        $w_c = 1$; $k$ is 1. With `supervise_all_iou` the error of the IoU is the mean over all masks.
    Args:
        preset: source of the parameters that are left out. "sam2.1": the released training config, 20:1:1:1, all IoUs
            by their absolute error, object scores. "constructor": the defaults of SAM 2's own class, for its other
            configs: the squared error of the chosen mask's IoU, no object scores, and required weights.
        weight_dict: factors >= 0 of loss_mask, loss_dice, loss_iou and loss_class; the last is 0 by default.
        focal_alpha: weight of positive pixels up to 1, negative ones weigh 1 - focal_alpha; below 0 weighs neither.
        focal_gamma: focal exponent, >= 0, dimensionless.
        supervise_all_iou: use the mean IoU loss over all M masks, in place of that of the chosen mask.
        iou_use_l1_loss: use the absolute error of the predicted IoU, in place of the squared one.
        pred_obj_scores: train the score of presence, and skip masks of objects whose target is empty.
        focal_gamma_obj_score: focal exponent of the score, >= 0, dimensionless.
        focal_alpha_obj_score: weight of present objects up to 1, absent ones weigh 1 - it; below 0 weighs neither.
    Shapes:
        outs_per_frame: T dicts of lists over steps, multistep_pred_multimasks_high_res (N, M, H, W) logits,
        multistep_pred_ious (N, M), multistep_object_score_logits (N, 1); target_masks (T, N, H, W); weight of each
        pixel (T, N, H, W) or None. An object whose pixels all weigh 0 is absent.
        terms: {"loss_mask", "loss_dice", "loss_iou", "loss_class"}: (N,) each, sums over frames and steps.
        Targets are hard masks, of any type. For soft ones the IoU uses t > 1/2 as the mask and Dice min(p, t) as the
        overlap; SAM 2 uses t > 0 and p t.
    Raises:
        ShapeError: frames, steps or sizes differ; nothing is broadcast but the target over steps and masks.
        InputError: a missing key, or an unknown weight.
    Numerics: float32 or wider; finite for any finite logit; the actual IoU has no gradient, and its union is at least
        1. num_objects is the mean of N over the ranks, at least 1, by one collective; a rank may have no objects. With
        gradients off, as in validation, it is the rank's own N, so that a rank may call the loss alone; SAM 2 takes
        the mean there, too.
    Source: Ravi et al. 2024, appendix, "Losses and optimization"; MultiStepMultiMasksAndIous of the training code.
    """

    per_pixel: ClassVar[Mapping[str, PerPixel]] = {"weight": "weight"}
    needs = frozenset({*FOCAL_SUMS, *DICE_SUMS, *IOU_SUMS})

    def __init__(
        self,
        *,
        preset: Preset = "sam2.1",
        weight_dict: Mapping[str, Weight] | None = None,
        focal_alpha: Alpha | None = None,
        focal_gamma: Gamma | None = None,
        supervise_all_iou: bool | None = None,
        iou_use_l1_loss: bool | None = None,
        pred_obj_scores: bool | None = None,
        focal_gamma_obj_score: Gamma | None = None,
        focal_alpha_obj_score: Alpha | None = None,
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise InputError(f"preset must be {' or '.join(map(repr, PRESETS))}, got {preset!r}")
        given = {
            "weight_dict": weight_dict,
            "focal_alpha": focal_alpha,
            "focal_gamma": focal_gamma,
            "supervise_all_iou": supervise_all_iou,
            "iou_use_l1_loss": iou_use_l1_loss,
            "pred_obj_scores": pred_obj_scores,
            "focal_gamma_obj_score": focal_gamma_obj_score,
            "focal_alpha_obj_score": focal_alpha_obj_score,
        }
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.settings = replace(PRESETS[preset], **chosen)
        self.weights = weights_of(self.settings.weight_dict)

    def warm_up_inputs(self, input: Tensor, target: Tensor) -> tuple[Any, ...]:
        """Return inputs for `lossreg warm-up`, one frame of one step, from logits and target."""
        step = {
            "multistep_pred_multimasks_high_res": [input],
            "multistep_pred_ious": [input.new_zeros(input.shape[:2])],
            "multistep_object_score_logits": [input.new_zeros(len(input), 1)],
        }
        return [step], target.reshape(1, len(input), *input.shape[2:])

    def passes(
        self, outs_per_frame: Sequence[Mapping[str, Any]], target_masks: Tensor, *, weight: Tensor | None = None
    ) -> list[MaskPass]:
        """Return one pass for each frame and step: the sums over its masks."""
        gamma = self.settings.focal_gamma
        steps = self._steps(outs_per_frame, target_masks, weight)
        return [MaskPass(step.masks, step.target, "sigmoid", self.needs, gamma, weight=step.weight) for step in steps]

    def terms_from(
        self,
        results: Iterator[MaskStatistics],
        outs_per_frame: Sequence[Mapping[str, Any]],
        target_masks: Tensor,
        *,
        weight: Tensor | None = None,
    ) -> dict[str, Term]:
        """Compute the four terms of each object: sums over frames and steps."""
        steps = self._steps(outs_per_frame, target_masks)
        found = [next(results) for _ in steps]
        values, there, scores = [], [], []
        for members in alike(steps):
            # One formula for all steps with as many masks: step by step it would be hundreds of small operations.
            statistics = MaskStatistics(*(_joined(field) for field in zip(*(found[i] for i in members), strict=True)))
            actual = required(statistics, "actual")[0]
            ious = torch.cat([steps[i].ious.to(actual.dtype) for i in members])
            values.append(self._chosen(statistics, ious).unflatten(0, (len(members), -1)))  # (steps, N, 3)
            there.append((actual[:, 0] > 0).unflatten(0, (len(members), -1)))
            scores += [steps[i].score for i in members]
        value, present = torch.cat(values), torch.cat(there)
        if self.settings.pred_obj_scores:
            value = value * present.unsqueeze(2)  # as SAM 2 does: a NaN shows even if the object is absent
            score = self._presence([score for score in scores if score is not None], present.T)
        else:
            score = value.new_zeros(value.shape[1])
        summed = zip(COMPONENTS, (*value.sum(0).unbind(1), score), strict=True)
        terms = {name: Term(value, "example", self.weights[name]) for name, value in summed}
        return {name: _at_least_one(term) for name, term in means_over_ranks(terms, steps[0].masks).items()}

    def as_dict(
        self,
        outs_per_frame: Sequence[Mapping[str, Any]],
        target_masks: Tensor,
        *,
        weight: Tensor | None = None,
        total_key: str = "core_loss",
    ) -> dict[str, Tensor]:
        """Return the dict of SAM 2's trainer: detached components, and the differentiable total under `total_key`."""
        if total_key in COMPONENTS:
            raise InputError(f"total_key={total_key!r} is the name of a component; choose another, such as 'core_loss'")
        output = self.evaluate(outs_per_frame, target_masks, weight=weight)
        return {**output.components, total_key: output.total}

    def _steps(
        self, outs_per_frame: Sequence[Mapping[str, Any]], target_masks: Tensor, weight: Tensor | None = None
    ) -> list[Step]:
        return read_steps(outs_per_frame, target_masks, weight, scores=self.settings.pred_obj_scores)

    def _chosen(self, statistics: MaskStatistics, ious: Tensor) -> Tensor:
        """Compute focal, Dice and IoU loss of the chosen mask of each object and step, (N, 3)."""
        settings = self.settings
        focal = focal_loss(_alpha(settings.focal_alpha)).of_masks().values(statistics)
        overlap = dice_loss(1.0).values(statistics)
        error = iou_error(power=1 if settings.iou_use_l1_loss else 2).values(statistics, ious)
        cost = self.weights["loss_mask"] * focal + self.weights["loss_dice"] * overlap
        best = cost.detach().argmin(1, keepdim=True)  # the first of equals
        # Masks that are not gathered have a gradient of 0, and the pass does not read them again.
        iou = error.mean(1, keepdim=True) if settings.supervise_all_iou else error.gather(1, best)
        return torch.cat([focal.gather(1, best), overlap.gather(1, best), iou], 1)

    def _presence(self, scores: list[Tensor], present: Tensor) -> Tensor:
        """Compute the focal loss of the presence logits, (N,), summed over the steps."""
        needs = ("focal_positive", "focal_negative")
        gamma = self.settings.focal_gamma_obj_score
        with torch.autocast(present.device.type, enabled=False):  # autocast makes torch.cat reject some dtypes
            logits = torch.cat(scores, 1)
        # Each step is a mask of one pixel.
        found = mask_statistics(logits, present, activation="sigmoid", needs=needs, gamma=gamma)
        return linear(focal_loss(_alpha(self.settings.focal_alpha_obj_score)).summed, found).sum(1)


def _joined(fields: Sequence[Tensor | None]) -> Tensor | None:
    """Join one sum of several steps over their examples; None if it was not requested."""
    given = [field for field in fields if field is not None]
    return torch.cat(given) if given else None


def _at_least_one(term: Term) -> Term:
    """Divide by at least 1, as SAM 2 does: without any object the loss is 0."""
    return term if term.examples is None else replace(term, examples=term.examples.clamp_min(1))


def _alpha(alpha: float) -> float | None:
    """Convert SAM 2's negative number for "no weighting" to None."""
    return alpha if alpha >= 0 else None
