"""Gradients of confident pixels, right to the sixth digit: a network is trained by them until the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossreg_segmentation.statistics import implementation, mask_statistics

pytestmark = pytest.mark.usefixtures("compiled")

numba = pytest.param("numba", marks=pytest.mark.tools)  # it compiles kernels that no other quick test needs
LOGITS = np.linspace(-40, 40, 801, dtype=np.float32)
GAMMAS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]
TINY = 1e-30  # gradients below it come from parts that float32 does not hold
# Relative. The reference computes (1 - p_t)^gamma as e^(gamma log(1 - p_t)), whose exponent of up to 200 is rounded.
DIGITS = {"reference": 1e-5, "tiled": 1e-6, "numba": 1e-6}
FOCAL = ("focal_positive", "focal_negative")


def slope_of_focal(logits, t, gamma):
    """Return the derivative of (1 - p_t)^gamma cross-entropy at the logits, and of its parts the sum of the sizes."""
    x = logits.astype(np.float64)
    p, rest = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
    wrong = p * (1 - t) + rest * t
    loss = t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    parts = [
        wrong**gamma * p * (1 - t),
        -(wrong**gamma) * rest * t,
        gamma * wrong ** (gamma - 1) * p * rest * (1 - 2 * t) * loss,
    ]
    return sum(parts), sum(abs(part) for part in parts)


def gradient_of(name, x, t, activation, needs, gamma):
    x = torch.tensor(x).requires_grad_()
    with implementation(name):
        sums = mask_statistics(x, t, activation=activation, needs=needs, gamma=gamma)
    sum(getattr(sums, need).sum() for need in needs).backward()
    return x.grad.double().numpy()


def assert_digits(name, found, expected, sizes):
    counts = abs(expected) > TINY
    errors = (abs(found - expected) / sizes)[counts]
    assert errors.max() < DIGITS[name], f"at logit {LOGITS[counts][errors.argmax()]}"


@pytest.mark.parametrize("name", ["reference", "tiled", numba])
@pytest.mark.parametrize("soft", [False, True])
def test_the_focal_gradient_of_masks_is_right_at_every_logit(name, soft):
    """Soft targets of 0 and 1, too: p - t would round to 0 from logit 17, and lose 1 % at logit 12."""
    for gamma in GAMMAS:
        for label in (0, 1):
            t = torch.full((1, 1, LOGITS.size), label, dtype=torch.float32 if soft else torch.uint8)
            found = gradient_of(name, LOGITS.reshape(1, 1, -1), t, "sigmoid", FOCAL, gamma)[0, 0]
            expected, _ = slope_of_focal(LOGITS, label, gamma)
            assert_digits(name, found, expected, abs(expected))


@pytest.mark.parametrize("name", ["reference", "tiled", numba])
def test_the_focal_gradient_of_soft_targets_is_right_up_to_the_parts_that_cancel(name):
    """Between 0 and 1 the derivative changes its sign, and near there only its parts have seven digits."""
    for gamma in GAMMAS:
        for target in (0.1, 0.5, 0.95):
            t = torch.full((1, 1, LOGITS.size), target)
            found = gradient_of(name, LOGITS.reshape(1, 1, -1), t, "sigmoid", FOCAL, gamma)[0, 0]
            expected, sizes = slope_of_focal(LOGITS, np.float64(np.float32(target)), gamma)
            assert_digits(name, found, expected, sizes)


@pytest.mark.parametrize("name", ["tiled", numba])
@pytest.mark.parametrize("kind", ["index", "one-hot", "soft"])
def test_gradients_of_classes_are_right_at_every_logit(name, kind):
    """Two classes whose logits are x and 0 are a mask of logit x; a third of logit -1000 changes nothing."""
    x = np.stack([LOGITS, 0 * LOGITS, 0 * LOGITS - 1000])[None]
    t = torch.zeros(1, LOGITS.size, dtype=torch.int64)
    if kind != "index":
        t = torch.nn.functional.one_hot(t, 3).movedim(-1, 1).to(torch.float32 if kind == "soft" else torch.uint8)
    for need, gammas in {"cross_entropy_positive": [0.0], "focal_positive": GAMMAS}.items():
        for gamma in gammas:
            found = gradient_of(name, x, t, "softmax", (need,), gamma)[0]
            expected, _ = slope_of_focal(LOGITS, 1, gamma)
            assert_digits(name, found[0], expected, abs(expected))
            assert_digits(name, found[1], -expected, abs(expected))
            assert abs(found[2]).max() < TINY
