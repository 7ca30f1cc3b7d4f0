"""The losses as modules, compiled, and as entries of the registry."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import lossreg
from lossreg_segmentation.statistics import op

from .oracles import build, ragged, step, value_and_gradients

each_name = pytest.mark.parametrize("name", ["sam", "iou_prediction"])


@pytest.fixture
def no_graphs_of_other_tests():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def assert_compiled_agrees(loss, backend):
    inputs = ragged(dtype=torch.float32)
    found = value_and_gradients(torch.compile(loss, fullgraph=True, backend=backend), *inputs)
    for one, other in zip(found, value_and_gradients(loss, *inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)


@pytest.mark.tools
@pytest.mark.usefixtures("no_graphs_of_other_tests")
@each_name
def test_the_losses_compile_to_one_graph(name):
    """Under the debug switch too: its checks, which cannot be compiled, are left out of the graph."""
    with lossreg.debug_checks():
        assert_compiled_agrees(build(name, ignore_index=255), "aot_eager")


@pytest.mark.tools
@pytest.mark.usefixtures("no_graphs_of_other_tests")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, on its first use
def test_the_default_backend_agrees_with_eager():
    assert_compiled_agrees(build("sam", ignore_index=255), "inductor")


@each_name
def test_pickle_and_deepcopy_give_the_same_loss(name):
    loss, inputs = build(name, ignore_index=255), ragged()
    for twin in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        assert torch.equal(twin(*inputs), loss(*inputs))
        assert lossreg.config_of(twin) == lossreg.config_of(loss)


@each_name
def test_a_loss_keeps_nothing_and_changes_nothing(name):
    """No state, no parameters, and its inputs are left as they were."""
    loss, inputs = build(name, ignore_index=255), ragged()
    before, given = pickle.dumps(loss), [tensor.clone() for tensor in inputs]
    loss(*inputs)
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
    assert pickle.dumps(loss) == before
    assert all(torch.equal(one, other) for one, other in zip(inputs, given, strict=True))


@each_name
def test_components_are_detached_and_named(name):
    x, t, iou = step()
    total, components = lossreg.evaluate(build(name), x.requires_grad_(), t, iou.requires_grad_())
    assert set(components) == ({"focal", "dice", "iou"} if name == "sam" else {"iou"})
    assert not any(value.requires_grad for value in components.values())
    assert total.requires_grad


@each_name
def test_the_alias_leads_to_the_loss(name):
    assert lossreg.losses.entry(name).aliases == (f"{name}_loss",)
    assert lossreg.losses.get(f"{name}_loss") is lossreg.losses.get(name)
    assert type(lossreg.build(f"{name}_loss")) is type(build(name))


def test_the_package_registers_these_losses_and_no_others():
    entries = {name for name in lossreg.losses.list() if lossreg.losses.entry(name).provider == "sam"}
    assert entries == {"sam", "sam2", "iou_prediction", "text_region_contrast", "spatial_relevance"}


def test_they_are_found_by_their_tags():
    assert set(lossreg.losses.find("sam & calibration")) == {"sam", "sam2", "iou_prediction"}
    assert set(lossreg.losses.find("alignment")) == {"text_region_contrast", "spatial_relevance"}


@pytest.mark.parametrize(
    "config, passes",
    [
        ("sam", 1),
        ({"name": "weighted_sum", "params": {"terms": ["sam", {"weight": 3, "name": "iou_prediction"}]}}, 1),
        (
            {
                "name": "weighted_sum",
                "params": {"terms": ["sam", {"name": "iou_prediction", "params": {"threshold": 1.0}}]},
            },
            2,
        ),
    ],
    ids=["sam", "sam and the IoU again", "another threshold"],
)
def test_all_terms_of_a_step_take_one_pass(monkeypatch, config, passes):
    """Forward and backward; another threshold takes a second pass, which has no gradient."""
    calls, original = [], op._module

    class Counting:
        def __init__(self, name):
            self.module = original(name)

        def forward(self, *arguments):
            calls.append("forward")
            return self.module.forward(*arguments)

        def backward(self, *arguments):
            calls.append("backward")
            return self.module.backward(*arguments)

        def launch_for(self, *arguments):  # both passes of Numba's kernels
            launch = self.module.launch_for(*arguments)
            counted = type("Counted", (), {"__getattr__": lambda self, name: noted(launch, name)})
            return counted()

    def noted(launch, name):
        calls.extend({"sums": ["forward"], "parts": ["forward"], "gradient_by": ["backward"]}.get(name, []))
        return getattr(launch, name)

    monkeypatch.setattr(op, "_module", Counting)
    x, t, iou = step()
    lossreg.build(config)(x.requires_grad_(), t, iou.requires_grad_()).backward()
    assert calls == ["forward"] * passes + ["backward"]
