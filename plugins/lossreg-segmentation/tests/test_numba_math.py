"""Half precision in the CPU kernels, which Numba does not support: read and written by bits, equal to torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba", reason="Numba is not installed, and there are no kernels without it")

# Ties between two neighbours, subnormal and largest numbers of both types, and what lies beyond them.
EDGES = [0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11, 2**-24, 2**-25, 3 * 2**-26, 2**-149]
EDGES += [65504.0, 65519.0, 65520.0, 3.3895e38, 3.4e38, np.inf, -np.inf, np.nan]


def test_halves_are_rounded_to_the_nearest_and_read_exactly():
    """Truncation would shrink every gradient a little; all 65,536 bit patterns are read."""
    from lossreg_segmentation.statistics.numba_halves import narrow, widen

    @numba.njit
    def written(values, bits):
        for i in range(values.size):
            bits[i] = narrow(values[i], bits[i])

    @numba.njit
    def read(bits, values):
        for i in range(values.size):
            values[i] = widen(bits[i])

    random = np.random.default_rng(0)
    values = np.concatenate([random.standard_normal(5000) * 10.0 ** random.uniform(-9, 6, 5000), EDGES])
    values = values.astype(np.float32)
    for dtype, bits in ((torch.bfloat16, np.uint16), (torch.float16, np.int16)):
        found = np.empty(values.shape, bits)
        written(values, found)
        same(torch.from_numpy(found).view(dtype), torch.from_numpy(values).to(dtype))
        patterns, wide = np.arange(2**16, dtype=np.uint16).view(bits), np.empty(2**16, np.float32)
        read(patterns, wide)
        same(torch.from_numpy(wide), torch.from_numpy(patterns).view(dtype).float())


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
