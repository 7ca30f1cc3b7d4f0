"""Every parameter changes the result, and the table of them is complete."""

from __future__ import annotations

import pytest
import torch.distributed as dist

import lossreg

from .oracles import build, step

# Parameter -> two values with different results.
TABLE = {
    "iou_prediction": {"threshold": (0.0, 1.0), "ignore_index": (None, 1), "reduction": ("mean", "sum")},
    "sam": {
        "focal_weight": (20.0, 10.0),
        "dice_weight": (1.0, 2.0),
        "iou_weight": (1.0, 2.0),
        "alpha": (0.25, 0.75),
        "gamma": (2.0, 1.0),
        "smooth": (1.0, 0.0),
        "ignore_index": (None, 1),
        "absent": ("score", "zero"),
        "reduction": ("mean", "sum"),
    },
}
ROWS = [pytest.param(name, key, id=f"{name}-{key}") for name, row in TABLE.items() for key in row]


def result(name, params):
    """Compute the value; the first example has no target pixel."""
    x, t, iou = step()
    t[0] = 0
    return build(name, **params)(x, t, iou).item()


@pytest.mark.parametrize("name", TABLE)
def test_the_table_has_exactly_the_parameters_of_the_manifest(name):
    """A new parameter without a row fails here. `distributed` needs several ranks: see below."""
    assert set(TABLE[name]) | {"distributed"} == set(lossreg.losses.entry(name).metadata["parameters"]["properties"])


@pytest.mark.parametrize("name, key", ROWS)
def test_changing_a_parameter_changes_the_result(name, key):
    """No parameter is accepted and ignored."""
    one, other = (result(name, {key: value}) for value in TABLE[name][key])
    assert abs(one - other) > 1e-6


def test_each_policy_for_absent_masks_is_another_value():
    assert len({result("sam", {"absent": a}) for a in ("score", "ignore", "zero", "false_positives")}) == 4 - 1
    # For one example without target pixels, leaving its masks out equals counting them as 0.
    assert result("sam", {"absent": "ignore"}) == result("sam", {"absent": "zero"})


def test_weights_are_factors_of_their_components_and_zero_only_logs():
    x, t, iou = step()
    components = build("sam").evaluate(x, t, iou).components
    for name in ("focal", "dice", "iou"):
        weights = {f"{other}_weight": 7.0 if other == name else 0.0 for other in components}
        output = build("sam", **weights).evaluate(x, t, iou)
        assert output.total.item() == pytest.approx(7 * components[name].item(), rel=1e-12)
        found = {key: value.item() for key, value in output.components.items()}
        assert found == pytest.approx({key: value.item() for key, value in components.items()}, rel=1e-12)


@pytest.mark.parametrize("name", TABLE)
def test_ranks_that_share_have_the_loss_of_the_whole_batch_as_their_mean(name, monkeypatch):
    """Three ranks: one example, the others, none."""
    x, t, iou = step()
    assert len(x) > 2
    shares = [slice(0, 1), slice(1, None), slice(0, 0)]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: len(shares))
    monkeypatch.setattr(dist, "all_reduce", lambda examples: examples.fill_(len(x)))
    found = [build(name, distributed="global")(x[s], t[s], iou[s]).item() for s in shares]
    assert found[2] == 0
    assert sum(found) / 3 == pytest.approx(build(name)(x, t, iou).item(), rel=1e-12)
    local = [build(name)(x[s], t[s], iou[s]).item() for s in shares[:2]]
    assert abs(sum(local) / 2 - sum(found) / 3) > 1e-4
