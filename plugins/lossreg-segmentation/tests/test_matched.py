"""The loss of sets of masks: matching, pairs, levels, and inputs and terms that are refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import lossreg
from lossreg import DTypeError, ImplementationError, InputError, InvalidConfigError, ShapeError
from lossreg_segmentation.matched import assignment
from lossreg_segmentation.matched.assignment import assign
from lossreg_segmentation.matched.points import RandomPoints

from .oracles_sets import TERMS, SetCase, set_loss

pytestmark = pytest.mark.usefixtures("on_reference")

MASK2FORMER = [
    {"of": "class", "weight": 2.0, "name": "cross_entropy"},
    {"of": "mask", "weight": 5.0, "name": "bce"},
    {"of": "mask", "weight": 5.0, "name": "dice", "params": {"overlap": "product"}},
]


def build(terms=TERMS, *, classes=2, points=0, **params):
    return lossreg.build({"name": "matched", "params": {"classes": classes, "terms": terms, "points": points} | params})


def batch(counts=(2, 3), *, queries=5, size=(6, 8), canvas=(12, 16), dtype=torch.float64, seed=1):
    """Predictions with a gradient and bool targets, of two classes."""
    generator = torch.Generator().manual_seed(seed)
    input = {
        "masks": (3 * torch.randn(len(counts), queries, *size, generator=generator)).to(dtype).requires_grad_(),
        "classes": torch.randn(len(counts), queries, 3, generator=generator).to(dtype).requires_grad_(),
    }
    target = [
        {
            "masks": torch.rand(m, *canvas, generator=generator) > 0.6,
            "labels": torch.randint(2, (m,), generator=generator),
        }
        for m in counts
    ]
    return input, target


def gradients(value, input):
    return torch.autograd.grad(value, [input["masks"], input["classes"]])


def test_two_queries_by_hand():
    """The first query fits the second target, the second the first: only the pairs' losses count."""
    masks = torch.tensor([[[[2.0, -2.0]], [[-2.0, 2.0]], [[0.0, 0.0]]]], dtype=torch.float64)
    classes = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    target = [{"masks": torch.tensor([[[0, 1]], [[1, 0]]]), "labels": torch.tensor([0, 0])}]
    terms = [{"of": "mask", "name": "bce"}, {"of": "class", "name": "cross_entropy"}]
    output = build(terms, classes=1).evaluate({"masks": masks, "classes": classes}, target)
    assert output.components["bce"].item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-12)
    assert output.components["cross_entropy"].item() == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("counts", [(2, 3), (0, 1), (6, 2), (0, 0)], ids=str)
def test_all_pixels_equal_loops_over_every_assignment(counts):
    """In value and gradient, in float64; with more targets than queries, and with none."""
    input, target = batch(counts, queries=4, size=(3, 5), canvas=(3, 5))
    value, expected = build()(input, target), set_loss(input, target)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    wanted = torch.autograd.grad(expected, [*input.values()], allow_unused=True)
    for one, other in zip(gradients(value, input), wanted, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-10, atol=1e-14)


def by_mask2former(input, target, points):
    """The formulas of Mask2Former by grid_sample, with the same points as `matched` after the same seed."""
    images, queries = input["masks"].shape[:2]
    places = torch.rand(images, points, 2).double()
    rows, hard, wanted = [], [], torch.full((images, queries), 2)
    for b, objects in enumerate(target):
        grid = 2 * places[b].view(1, 1, -1, 2) - 1
        x = F.grid_sample(input["masks"][b][None], grid, align_corners=False)[0, :, 0].detach()
        t = F.grid_sample(objects["masks"][None].double(), grid, align_corners=False)[0, :, 0]
        cost = torch.stack([torch.stack([_cost(x[q], t[m]) for m in range(len(t))]) for q in range(queries)])
        cost = cost - 2 * input["classes"][b].softmax(-1)[:, objects["labels"]]
        for q, m in zip(*assignment._scipy_optimize().linear_sum_assignment(cost.detach()), strict=True):
            rows.append(input["masks"][b, q])
            hard.append(objects["masks"][m].double())
            wanted[b, q] = objects["labels"][m]
    rows, hard = torch.stack(rows)[:, None], torch.stack(hard)[:, None]
    candidates = torch.rand(len(rows), 3 * points, 2).double()
    uncertain = (3 * points) // 4
    order = F.grid_sample(rows, 2 * candidates[:, None] - 1, align_corners=False)[:, 0, 0].abs().argsort(1)
    chosen = candidates.gather(1, order[:, :uncertain, None].expand(-1, -1, 2))
    chosen = torch.cat([chosen, torch.rand(len(rows), points - uncertain, 2).double()], 1)
    x, t = (F.grid_sample(each, 2 * chosen[:, None] - 1, align_corners=False)[:, 0, 0] for each in (rows, hard))
    weights = torch.tensor([1.0, 1.0, 0.1], dtype=torch.float64)
    found = F.cross_entropy(input["classes"].flatten(0, 1), wanted.flatten(), weights) * 2
    return found + sum(_cost(*pair) for pair in zip(x, t, strict=True)) / len(rows)


def _cost(x, t):
    p = x.sigmoid()
    dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    return 5 * F.binary_cross_entropy_with_logits(x, t) + 5 * dice


@pytest.mark.parametrize("counts", [(2, 3), (1, 4)], ids=str)
def test_random_points_are_those_of_mask2former(counts):
    """In value and gradient to 1e-12, from soft points of masks of four times the size."""
    input, target = batch(counts)
    torch.manual_seed(5)
    value = build(MASK2FORMER, points=40)(input, target)
    torch.manual_seed(5)
    expected = by_mask2former(input, target, 40)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    for one, other in zip(gradients(value, input), gradients(expected, input), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("points", [0, 30])
def test_smaller_images_lie_in_the_corner_of_the_largest(points):
    """As if they were padded with zeros, for costs and losses."""
    input, target = batch()
    target[1]["masks"] = target[1]["masks"][:, :7, :9]
    padded = [target[0], target[1] | {"masks": F.pad(target[1]["masks"], (0, 7, 0, 5))}]
    torch.manual_seed(0)
    value = build(points=points)(input, target)
    torch.manual_seed(0)
    torch.testing.assert_close(value, build(points=points)(input, padded), rtol=1e-12, atol=0)


def test_all_pixels_are_those_of_the_targets():
    """Predictions are enlarged to them, as MaskFormer does."""
    input, target = batch(queries=3)
    wide = {**input, "masks": F.interpolate(input["masks"], (12, 16), mode="bilinear", align_corners=False)}
    cost = {"class": 1.0}  # the same pairs at both sizes
    value, expected = (build(cost=cost)(each, target) for each in (input, wide))
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float16, torch.float64])
def test_masks_of_every_type_cost_the_same(dtype):
    input, target = batch()
    torch.manual_seed(0)
    expected = build(points=20)(input, target)
    torch.manual_seed(0)
    given = [objects | {"masks": objects["masks"].to(dtype), "labels": objects["labels"].int()} for objects in target]
    assert torch.equal(build(points=20)(input, given), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    input, target = batch(dtype=dtype)
    wide = {name: x.detach().float().requires_grad_() for name, x in input.items()}
    loss = build(MASK2FORMER, points=20)
    torch.manual_seed(0)
    expected = loss(wide, target)
    torch.manual_seed(0)
    value = loss(input, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    assert gradients(value, input)[0].dtype == dtype
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(wide, target), expected)


def test_costs_follow_the_parameters_of_the_terms():
    """With smooth=1e6 every Dice is 0, so that only classes decide; with smooth=1 the masks do."""
    masks = torch.tensor([[[[5.0, -5.0]], [[-5.0, 5.0]]]])
    classes = torch.tensor([[[0.0, 0.1, 0.0], [0.1, 0.0, 0.0]]])
    target = [{"masks": torch.tensor([[[1, 0]]]), "labels": torch.tensor([0])}]
    for smooth, dice in ((1.0, 0.0), (1e6, 1.0)):
        terms = [{"of": "mask", "name": "dice", "params": {"smooth": smooth}}, {"of": "class", "name": "cross_entropy"}]
        loss = build(terms)
        seen = []
        loss.parts[0].per_example = lambda x, t, seen=seen: seen.append(x) or x.flatten(1).sum(1)
        loss({"masks": masks, "classes": classes}, target)
        assert (seen[0][0, 0, 0] > 0).item() == (dice == 0.0)  # the first query has its mask, the second its class


def test_a_term_of_weight_0_is_logged_and_can_be_a_cost():
    """For matching by a loss that trains nothing."""
    input, target = batch()
    terms = [*MASK2FORMER, {"of": "mask", "weight": 0.0, "name": "focal"}]
    loss = build(terms, cost={"focal": 20.0, "class": 1.0})
    assert loss.cost == {"focal": 20.0, "class": 1.0}
    output = loss.evaluate(input, target)
    assert output.components["focal"] > 0
    weighed = sum(output.components[name] * weight for name, weight in (("cross_entropy", 2), ("bce", 5), ("dice", 5)))
    torch.testing.assert_close(output.total, weighed, rtol=1e-12, atol=0)


def test_levels_add_up_and_share_one_matching_call(monkeypatch):
    """The final one is named as it would be alone; one call of the operator is one copy to the host."""
    (first, target), (last, _) = batch(), batch(seed=2)
    calls, solve = [], torch.ops.lossreg.assign
    loss = build()
    from lossreg_segmentation.matched import pairs

    monkeypatch.setattr(pairs, "assign", lambda costs, sizes: calls.append(costs.shape) or solve(costs, sizes))
    output = loss.evaluate([first, last], target)
    assert calls == [(2, 2, 5, 3)]
    torch.testing.assert_close(output.total, loss(first, target) + loss(last, target), rtol=1e-12, atol=0)
    alone = loss.evaluate(last, target).components
    assert list(output.components) == [f"{level}{name}" for name in alone for level in ("0.", "")]
    assert all(torch.allclose(output.components[name], value) for name, value in alone.items())


def test_nothing_but_the_assignment_reads_values():
    """Fake tensors have none: every shape is known on the host, so that a device is waited for once."""

    class Counts(TorchDispatchMode):
        assigned = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Counts.assigned += function is torch.ops.lossreg.assign.default
            return function(*args, **(kwargs or {}))

    input, target = batch((7,))
    loss = build(MASK2FORMER, points=20)
    with FakeTensorMode() as mode:
        fake = [{name: mode.from_tensor(x) for name, x in each.items()} for each in (input, *target)]
        with Counts():
            value = loss([fake[0], fake[0]], fake[1:])
    assert value.shape == ()
    assert Counts.assigned == 1


def test_one_copy_to_the_host_for_all_levels_and_images(monkeypatch):
    copies, copy = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(self.shape) or copy(self))
    found = assign(torch.rand(3, 2, 5, 4), [4, 2])
    assert copies == [(3, 2, 5, 4)]
    assert found.shape == (3, 6, 3)


def test_values_per_image_average_to_the_total():
    """Each has its own masks and queries; an image without objects has its queries alone."""
    input, target = batch((2, 0, 3))
    output = build().evaluate(input, target)
    torch.testing.assert_close(output.per_example.mean(), output.total.detach(), rtol=1e-12, atol=0)
    assert output.per_example_components["dice"][1] == 0
    order = [2, 0, 1]
    turned = build().evaluate({name: x[order] for name, x in input.items()}, [target[k] for k in order])
    torch.testing.assert_close(turned.per_example, output.per_example[order], rtol=1e-12, atol=0)


def test_the_order_of_queries_and_targets_changes_nothing():
    input, target = batch()
    turned = {name: x.flip(1) for name, x in input.items()}
    backward = [{name: x.flip(0) for name, x in objects.items()} for objects in target]
    torch.testing.assert_close(build()(turned, backward), build()(input, target), rtol=1e-12, atol=0)


def test_a_query_of_nan_is_matched_last():
    """Its mask gets a gradient of exactly 0 while there are others; with too few it is matched, and the loss is NaN."""
    input, target = batch((2, 2))
    input["masks"].data[:, 1] = torch.nan
    value = build()(input, target)
    gradient, _ = gradients(value, input)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert (gradient[:, 1] == 0).all()
    input, target = batch((5, 5))
    input["masks"].data[:, 1] = torch.nan
    assert build()(input, target).isnan()


def test_costs_beside_an_infinite_one_keep_their_digits():
    """Two of three queries are usable: they take the targets that they fit, the unusable one the rest."""
    cost = torch.tensor([[[[1.0, 0.0, 2.0], [torch.nan] * 3, [0.0, 1.0, 2.0]]]])
    assert assign(cost, [3])[0, :, 1:].tolist() == [[0, 1], [1, 2], [2, 0]]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch's own, on first use of forward mode
@pytest.mark.parametrize("points", [0, 16])
def test_transforms_of_torch_func(points):
    """The gradient of torch.func.grad, and the slope of forward mode, are those of backward.

    torch samples points in no forward mode.
    """
    input, target = batch()
    given = {name: x.detach() for name, x in input.items()}

    def value(masks):
        torch.manual_seed(0)
        return build(points=points)({**given, "masks": masks}, target)

    torch.manual_seed(0)
    gradient, _ = gradients(build(points=points)(input, target), input)
    torch.testing.assert_close(torch.func.grad(value)(given["masks"]), gradient)
    if not points:
        slope = torch.func.jvp(value, (given["masks"],), (gradient,))[1]
        torch.testing.assert_close(slope, gradient.square().sum())


def test_no_object_weighs_the_queries_without_a_target():
    """With 0 they cost nothing, and neither does a batch without objects; it stays connected to the graph."""
    input, target = batch((0, 0))
    value = build(no_object=0.0)(input, target)
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients(value, input))
    heavy, light = (build(no_object=weight)(*batch((1, 0))) for weight in (1.0, 0.01))
    assert heavy != light


def test_a_soft_point_is_right_at_the_border_and_within():
    """Zeros around the masks, and exact ones within: weights that add up to 1 + 1e-7 would leave [0, 1]."""
    ones = torch.ones(1, 1, 4, 4)
    sampled = RandomPoints(4000, 3.0, 0.75)
    torch.manual_seed(0)
    _, t = sampled.of_costs(ones, [lossreg_objects(torch.ones(1, 9, 7, dtype=torch.uint8))])
    assert t.max() == 1.0
    assert 0 < t.min() < 0.7


def lossreg_objects(masks):
    from lossreg_segmentation.matched.inputs import Objects

    return Objects(masks, torch.zeros(len(masks), dtype=torch.long))


def test_gradients_at_points_equal_finite_differences():
    """The places have no gradient; the kit does the same at all pixels."""
    input, target = batch((1,), queries=2, size=(2, 3), canvas=(4, 6))
    loss = build(points=7)

    def value(masks, classes):
        torch.manual_seed(0)
        return loss({"masks": masks, "classes": classes}, target)

    assert torch.autograd.gradcheck(value, [input["masks"], input["classes"]], fast_mode=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, on its first use
def test_a_derivative_in_forward_mode_is_refused_at_random_points():
    """In our words, not in those of grid_sample, and the advice works."""
    input, target = batch((1,), queries=2, size=(2, 3), canvas=(4, 6))
    masks, classes = input["masks"].detach(), input["classes"].detach()

    def value(loss):
        return lambda masks: loss({"masks": masks, "classes": classes}, target)

    with pytest.raises(InputError, match=r"no derivative in forward mode at random points, .* or set points=0"):
        torch.func.jvp(value(build(points=7)), (masks,), (masks,))
    torch.manual_seed(0)
    assert torch.func.grad(value(build(points=7)))(masks).isfinite().all()
    slope = torch.func.jvp(value(build()), (masks,), (masks,))[1]
    torch.testing.assert_close(slope, (torch.func.grad(value(build()))(masks) * masks).sum())


def test_a_weight_of_pixels_has_no_meaning():
    """None, which a training loop gives to every loss, is no weight."""
    input, target = batch()
    assert torch.equal(build()(input, target, weight=None), build()(input, target))
    with pytest.raises(InputError, match="weight= has no meaning there, because its predictions have other pixels"):
        build()(input, target, weight=torch.ones(2, 12, 16))


BAD = {
    "a tensor": (lambda i, t: (i["masks"], t), InputError, "input must be {"),
    "no level": (lambda i, t: ([], t), InputError, "an empty list"),
    "other keys": (lambda i, t: ({"pred_masks": i["masks"]}, t), InputError, "input must be a dict with 'masks' and"),
    "integers": (lambda i, t: (i | {"masks": i["masks"].long()}, t), DTypeError, "floating-point logits"),
    "a flat mask": (lambda i, t: (i | {"masks": i["masks"][0]}, t), ShapeError, r"\(B, Q, H, W\)"),
    "classes": (lambda i, t: (i | {"classes": i["classes"][..., 1:]}, t), ShapeError, "set classes to the number"),
    "other queries": (
        lambda i, t: ([i, {name: x[:, 1:] for name, x in i.items()}], t),
        ShapeError,
        "give all levels the same images, queries",
    ),
    "one target": (lambda i, t: (i, t[0]), ShapeError, "a list of 2 dicts"),
    "fewer targets": (lambda i, t: (i, t[:1]), ShapeError, "got 1 of them"),
    "a mask alone": (lambda i, t: (i, [t[0], t[1] | {"masks": t[1]["masks"][0]}]), ShapeError, r"target\[1\] has"),
    "fewer labels": (lambda i, t: (i, [t[0] | {"labels": t[0]["labels"][1:]}, t[1]]), ShapeError, "one mask and one"),
    "float labels": (lambda i, t: (i, [t[0] | {"labels": t[0]["labels"] / 1}, t[1]]), DTypeError, r"by \.long\(\)"),
    "a label of no object": (
        lambda i, t: (i, [t[0], t[1] | {"labels": torch.tensor([0, 2, 1])}]),
        InputError,
        r'target\[1\]\["labels"\] holds 2 at place 1; with classes=2 labels are 0 to 1',
    ),
    "a gradient": (
        lambda i, t: (i, [t[0] | {"masks": t[0]["masks"].double().requires_grad_()}, t[1]]),
        InputError,
        r"call \.detach\(\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_inputs_are_named(case):
    change, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        build()(*change(*batch()))


REFUSED = {
    "a cost of no term": ({"cost": {"bce": 1.0}}, "the costs are class, focal, dice"),
    "no cost": ({"cost": {"class": 0.0}}, "every cost is 0"),
    "no sums": ({"terms": [{"of": "mask", "name": "lovasz_hinge"}]}, "lovasz_hinge is no loss over sums"),
    "a batch": (
        {"terms": [{"of": "mask", "name": "dice", "params": {"batch": True}}]},
        "a loss of lossreg with batch=False",
    ),
    "ignored": (
        {"terms": [{"of": "mask", "name": "dice", "params": {"ignore_index": 255}}]},
        "no point or query is ignored",
    ),
    "class weights": (
        {"terms": [{"of": "class", "name": "cross_entropy", "params": {"class_weight": [1.0, 1.0, 0.1]}}]},
        "by no_object",
    ),
    "classes left out": (
        {"terms": [{"of": "class", "name": "cross_entropy", "params": {"background": False}}]},
        "leaves classes out",
    ),
    "ignored in a sum": (
        {
            "cost": {"class": 1.0},
            "terms": [
                {
                    "of": "mask",
                    "name": "weighted_sum",
                    "params": {"terms": [{"name": "bce", "params": {"ignore_index": 255}}]},
                }
            ],
        },
        "no point or query is ignored",
    ),
    "ranks": (
        {"terms": [{"of": "mask", "name": "dice", "params": {"distributed": "global"}}]},
        "matched itself shares ranks",
    ),
    "edges": ({"terms": [{"of": "mask", "name": "boundary_dou"}]}, "the points of pairs have no neighbours"),
    "distances": (
        {"cost": {"class": 1.0}, "terms": [{"of": "mask", "name": "boundary"}]},
        "the points of pairs have no neighbours",
    ),
    "lines": (
        {"cost": {"class": 1.0}, "terms": [{"of": "mask", "name": "cldice"}]},
        "the points of pairs have no neighbours",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_terms_are_named(case):
    params, message = REFUSED[case]
    with pytest.raises((InputError, InvalidConfigError), match=message):
        build(**({"terms": TERMS} | params))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8], ids=str)
def test_labels_of_every_integer_type(dtype):
    input, target = batch()
    narrow = [objects | {"labels": objects["labels"].to(dtype)} for objects in target]
    assert build()(input, narrow).item() == build()(input, target).item()


def test_a_loss_that_is_no_cost_may_be_a_term():
    """Pairs are then matched by the others."""
    terms = [*TERMS, {"of": "mask", "name": "lovasz_hinge"}]
    assert build(terms, cost={"class": 2.0, "dice": 5.0})(*batch()).isfinite()


def test_without_scipy_the_error_names_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(assignment, "import_module", absent)
    with pytest.raises(ImplementationError, match=r"pip install 'lossreg-segmentation\[matching\]'"):
        build()(*batch())


def test_the_case_of_the_kit_has_images_with_and_without_objects():
    assert {len(objects["labels"]) for objects in SetCase().inputs()[1]} == {0, 1, 2, 3}
