"""The picture of the how-to on empty masks shows numbers that were worked by hand."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "docs" / "images" / "empty_masks.py"

pytestmark = [
    pytest.mark.tools,  # draws, and compiles kernels where none are kept
    pytest.mark.skipif(
        not SCRIPT.exists(), reason="the documentation lies in the checkout, and only the tests are here"
    ),
]


@pytest.mark.parametrize(
    "label, loss, push",
    [
        ("dice", 1 - 1 / 2049, 4096 * 0.25 / 2049**2),  # 1 - 1 / (P + 1), P = 2048
        ("dice, absent: ignore", 0, 1e-9),  # the floor of the logarithmic axis
        ("dice, absent: false_positives", 0.5, 0.25),  # the mean of p
        ("bce", 0.693147, 0.5),
    ],
)
def test_loss_and_push_at_a_probability_of_one_half(label, loss, push):
    """On 64x64 pixels without an object. The push is the sum of the gradients."""
    pytest.importorskip("matplotlib", reason="the script draws with matplotlib")
    spec = importlib.util.spec_from_file_location("empty_masks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    losses, pushes = module.values(module.LOSSES[label][0], [0.5])
    assert losses == pytest.approx([loss], rel=1e-5)
    assert pushes == pytest.approx([push], rel=1e-4)
