"""Recorded bits of the sums and gradients; `python -m tests.golden`, from the package's folder, records them again."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import torch

from lossreg_segmentation.statistics import implementation, mask_statistics

FILE = Path(__file__).with_name("golden.json")

OVERLAP = ("intersection", "predicted", "actual", "valid")
COUNTS = ("hard_intersection", "hard_union", "predicted_squared", "actual_squared")
MASKS = (*OVERLAP, "cross_entropy_positive", "cross_entropy_negative", "focal_positive", "focal_negative", *COUNTS)
CLASSES = (*OVERLAP, "cross_entropy_positive", "focal_positive", *COUNTS, "cross_entropy_uniform")
# Activation, target, ignored value, type of the logits, gamma.
CASES = {
    "masks": ("sigmoid", "hard", None, torch.float32, 2.0),
    "masks, ignored": ("sigmoid", "hard", 255, torch.float32, 2.0),
    "masks, soft": ("sigmoid", "soft", None, torch.float32, 1.5),
    "masks, soft, ignored": ("sigmoid", "soft", -1, torch.bfloat16, 2.0),
    "masks, float64": ("sigmoid", "hard", None, torch.float64, 2.0),
    "masks, float16": ("sigmoid", "hard", None, torch.float16, 1.0),
    "classes": ("softmax", "index", None, torch.float32, 2.0),
    "classes, ignored": ("softmax", "index", 255, torch.bfloat16, 2.0),
    "classes, one-hot": ("softmax", "hard", 255, torch.float32, 2.0),
    "classes, soft": ("softmax", "soft", None, torch.float64, 1.5),
}


def machine(name: str) -> str:
    """Return everything beside our code that decides on the bits: vectors of another width add in another order."""
    if name == "tiled":
        return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"
    from llvmlite import binding

    return f"numba {version('numba')}, llvmlite {version('llvmlite')}, {binding.get_host_cpu_name()}"


def numbers(shape: tuple[int, ...], factor: int, modulus: int) -> torch.Tensor:
    """Return integers that are the same everywhere, which those of a random generator are not."""
    row = (torch.arange(torch.Size(shape).numel()) * factor + 12345) % modulus % 2003 % 1001
    return row.view(shape)


def bits(name: str, case: str) -> str:
    """Return a hash of the sums and of a gradient."""
    activation, kind, ignored, dtype, gamma = CASES[case]
    batch, classes, length = shape = (2, 3, 5003)
    x = ((numbers(shape, 7919, 104729) - 500) / 60).to(dtype).requires_grad_()
    if kind == "index":
        t = numbers((batch, length), 6007, 7001) % classes
    else:
        t = numbers(shape, 6007, 7001) % 2 if kind == "hard" else numbers(shape, 6007, 7001) / 1000
    if ignored is not None:
        t = torch.where(numbers(tuple(t.shape), 3001, 4001) % 5 == 0, ignored, t)
    t = t.float() if kind == "soft" else t.to(torch.uint8)
    needs = CLASSES if activation == "softmax" else MASKS
    with implementation(name):
        found = mask_statistics(x, t, activation=activation, needs=needs, gamma=gamma, ignore_index=ignored)
        sums = torch.stack([getattr(found, field) for field in needs])
        factors = (numbers(tuple(sums.shape), 17, 101) / 100).to(sums.dtype)
        (gradient,) = torch.autograd.grad((sums * factors).sum(), x)
    digest = hashlib.sha256(sums.detach().numpy().tobytes())
    digest.update(gradient.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def record(name: str) -> dict[str, object]:
    """Return the bits of all cases, with the machine that they belong to."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {"machine": machine(name), "bits": {case: bits(name, case) for case in CASES}}
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: record(name) for name in ("tiled", "numba")}, indent=2) + "\n")
