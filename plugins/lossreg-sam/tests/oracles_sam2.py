"""Outputs of SAM 2, and independent losses: in numpy, one object at a time, and in plain torch for gradients."""

from __future__ import annotations

import numpy as np
import torch

MASKS = "multistep_pred_multimasks_high_res"
IOUS = "multistep_pred_ious"
SCORES = "multistep_object_score_logits"
NAMES = ("loss_mask", "loss_dice", "loss_iou", "loss_class")
RELEASED = {
    "weight_dict": {"loss_mask": 20.0, "loss_dice": 1.0, "loss_iou": 1.0, "loss_class": 1.0},
    "focal_alpha": 0.25,
    "focal_gamma": 2.0,
    "supervise_all_iou": True,
    "iou_use_l1_loss": True,
    "pred_obj_scores": True,
    "focal_gamma_obj_score": 0.0,
    "focal_alpha_obj_score": -1.0,
}
OWN = {
    "weight_dict": {"loss_mask": 3.0, "loss_dice": 2.0, "loss_iou": 0.5, "loss_class": 0.7},
    "focal_alpha": 0.6,
    "focal_gamma": 1.5,
    "focal_gamma_obj_score": 2.0,
    "focal_alpha_obj_score": 0.3,
}


def video(frames=2, masks=(3, 1), objects=3, size=(4, 5), dtype=torch.float64, seed=0):
    """Return outputs per frame, one step for each number in `masks`, and targets (T, N, H, W) of 0 and 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype).requires_grad_()

    outs = [
        {
            MASKS: [normal(objects, m, *size, scale=2.0) for m in masks],
            IOUS: [normal(objects, m) for m in masks],
            SCORES: [normal(objects, 1) for _ in masks],
        }
        for _ in range(frames)
    ]
    return outs, torch.randint(0, 2, (frames, objects, *size), generator=generator)


def with_absent(frames=2, masks=(3, 1), **options):
    """Return a video whose object 1 is absent from frame 0, and whose object 2 has two equally good masks there."""
    outs, targets = video(frames, masks, **options)
    targets[0, 1] = 0
    with torch.no_grad():
        if masks[0] > 1:
            outs[0][MASKS][0][2, 1] = outs[0][MASKS][0][2, 2] = (targets[0, 2] - 0.5) * 2
    return outs, targets


def leaves(outs):
    """Return all tensors that a model would have predicted."""
    return [x for frame in outs for key in (MASKS, IOUS, SCORES) for x in frame[key]]


def gradients(value, outs):
    """Compute the gradients to all of them, 0 for a tensor without one."""
    return torch.autograd.grad(value, leaves(outs), materialize_grads=True)


def changed(outs, function):
    """Apply a function to every tensor of the outputs."""
    return [{key: [function(x) for x in steps] for key, steps in frame.items()} for frame in outs]


def focal(x, t, alpha, gamma):
    p = 1 / (1 + np.exp(-x))
    p_t = p * t + (1 - p) * (1 - t)
    alpha_t = alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else 1.0
    return np.mean(-alpha_t * (1 - p_t) ** gamma * np.log(p_t))


def dice(x, t):
    p = 1 / (1 + np.exp(-x))
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def iou_loss(x, t, predicted, absolute):
    hit, mask = x > 0, t > 0
    error = predicted - (hit & mask).sum() / max((hit | mask).sum(), 1)
    return abs(error) if absolute else error**2


def object_parts(masks, t, ious, score, settings):
    """Compute the four components of one object in one step, and the index of its chosen mask."""
    weights = settings["weight_dict"]
    rows = [
        (
            focal(x, t, settings["focal_alpha"], settings["focal_gamma"]),
            dice(x, t),
            iou_loss(x, t, iou, settings["iou_use_l1_loss"]),
        )
        for x, iou in zip(masks, ious, strict=True)
    ]
    costs = [weights["loss_mask"] * row[0] + weights["loss_dice"] * row[1] for row in rows]
    best = costs.index(min(costs))
    parts = [*rows[best], 0.0]
    if settings["supervise_all_iou"]:
        parts[2] = np.mean([row[2] for row in rows])
    if settings["pred_obj_scores"]:
        present = float(t.any())
        parts = [part * present for part in parts]
        alpha, gamma = settings["focal_alpha_obj_score"], settings["focal_gamma_obj_score"]
        parts[3] = focal(score, np.full_like(score, present), alpha, gamma)
    return parts, best


def per_object(outs, targets, settings):
    """Compute components (N, 4) of each object, summed over frames and steps, and chosen masks (T, steps, N)."""
    found, chosen = np.zeros((targets.shape[1], 4)), []
    for frame, target in zip(changed(outs, lambda x: x.detach().double().numpy()), targets.numpy(), strict=True):
        chosen.append([])
        for masks, ious, scores in zip(frame[MASKS], frame[IOUS], frame[SCORES], strict=True):
            of_objects = [object_parts(*row, settings) for row in zip(masks, target, ious, scores, strict=True)]
            found += np.array([parts for parts, _ in of_objects]).reshape(-1, 4)
            chosen[-1].append([best for _, best in of_objects])
    return found, chosen


def total(outs, targets, settings, chosen):
    """Compute the weighted loss in plain torch, for given chosen masks, so that autograd differentiates it."""
    weights, objects, whole = settings["weight_dict"], targets.shape[1], 0.0
    for frame, target, of_frame in zip(outs, targets.double(), chosen, strict=True):
        for step, best in enumerate(of_frame):
            for n in range(objects):
                x, t, ious = frame[MASKS][step][n], target[n], frame[IOUS][step][n]
                p, m = x[best[n]].sigmoid(), best[n]
                loss = weights["loss_mask"] * _focal(x[m], t, settings["focal_alpha"], settings["focal_gamma"])
                loss = loss + weights["loss_dice"] * (1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
                actual = ((x > 0) & (t > 0)).sum((1, 2)).double() / ((x > 0) | (t > 0)).sum((1, 2)).clamp(min=1)
                error = (ious - actual).abs() if settings["iou_use_l1_loss"] else (ious - actual) ** 2
                iou = error.mean() if settings["supervise_all_iou"] else error[m]
                loss = loss + weights["loss_iou"] * iou
                if settings["pred_obj_scores"]:
                    present = (t > 0).any().double()
                    alpha, gamma = settings["focal_alpha_obj_score"], settings["focal_gamma_obj_score"]
                    score = _focal(frame[SCORES][step][n], present, alpha, gamma)
                    loss = loss * present + weights["loss_class"] * score
                whole = whole + loss
    return whole / max(objects, 1)


def _focal(x, t, alpha, gamma):
    p_t = x.sigmoid() * t + (1 - x.sigmoid()) * (1 - t)
    alpha_t = alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else 1.0
    return (-alpha_t * (1 - p_t) ** gamma * p_t.log()).mean()
