"""point_sampled: the choice of points, the loss's inputs there, and the effect of ignored pixels."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad

from lossreg import (
    DTypeError,
    InputError,
    InvalidConfigError,
    Loss,
    ShapeError,
    Term,
    build,
    config_of,
    json_schema,
    losses,
)
from lossreg.composites.point_sampled import PointSampled, sample


class Seen(Loss):
    """A loss that keeps its inputs; the mean of each mask is its term."""

    def __init__(self, *, ignore_index: int | None = None) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.seen = None

    def terms(self, input, target, factor=1):
        self.seen = input, target
        return {"mean": Term(factor * input.mean(2))}


@pytest.fixture(autouse=True)
def scope():
    with losses.scope() as registry:
        registry.register("seen")(Seen)
        registry.register("bce_of_torch")(type("Plain", (nn.BCEWithLogitsLoss,), {}))
        yield registry


def logits(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def masks(*shape):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(2))


def at(values, place):
    """Interpolate one mask linearly at one place, last dimension first; outside, the border's value continues."""
    corners = [((), 1.0)]
    for size, share in zip(values.shape, reversed(place), strict=True):
        position = min(max(share * size - 0.5, 0.0), size - 1.0)
        low = min(math.floor(position), size - 2) if size > 1 else 0
        weights = [(low, 1 - (position - low)), (min(low + 1, size - 1), position - low)]
        corners = [((*index, i), w * part) for index, w in corners for i, part in weights]
    return sum(w * values[index].item() for index, w in corners)


def chosen(values, seed, points, oversampling, important):
    """Choose the places of one mask (N = C = 1) as PointRend does: least |logit| among candidates, then random ones."""
    torch.manual_seed(seed)
    uncertain = int(important * points)
    rest = torch.rand(1, 1, points - uncertain, values.ndim).double()[0, 0].tolist()
    if not uncertain:
        return rest
    candidates = torch.rand(1, 1, int(oversampling * points), values.ndim).double()[0, 0].tolist()
    return sorted(candidates, key=lambda place: abs(at(values, place)))[:uncertain] + rest


@pytest.mark.parametrize("size", [(5, 7), (1, 6), (3, 4, 5)])
def test_sampling_is_linear_between_pixel_centres(size):
    """And constant beyond the outermost."""
    values = logits(2, 3, *size)
    places = torch.rand(2, 3, 9, len(size), dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    places[:, :, 0], places[:, :, 1] = 0.0, 1.0
    found = sample(values, places)
    assert found.shape == (2, 3, 9)
    for n in range(2):
        for c in range(3):
            expected = [at(values[n, c], place) for place in places[n, c].tolist()]
            assert found[n, c].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [(6, 8), (3, 4, 5)])
@pytest.mark.parametrize(
    "points, oversampling, important", [(10, 3.0, 0.75), (8, 1.0, 0.5), (8, 2.5, 1.0), (8, 3.0, 0.0)]
)
def test_the_points_are_those_of_the_paper(size, points, oversampling, important):
    """Candidates of the least |logit|, the rest random; input and target are sampled at the same places."""
    x, t = logits(1, 1, *size), masks(1, 1, *size)
    loss = PointSampled(loss=Seen(), points=points, oversampling=oversampling, important=important)
    torch.manual_seed(5)
    value = loss(x, t)
    places = chosen(x[0, 0], 5, points, oversampling, important)
    expected = sorted((at(x[0, 0], place), at(t[0, 0], place)) for place in places)
    found = sorted(zip(*(seen[0, 0].tolist() for seen in loss.loss.seen), strict=True))
    assert found == [pytest.approx(pair, abs=1e-9) for pair in expected]
    assert value.item() == pytest.approx(sum(pair[0] for pair in expected) / points)


def test_each_mask_has_points_of_its_own():
    """(N, C, points); the uncertain ones are nearer to 0 than most of that mask."""
    x, t = logits(2, 3, 32, 32), masks(2, 3, 32, 32)
    x[1, 2] += 100
    loss = PointSampled(loss=Seen(), points=64, important=1.0)
    loss(x, t)
    input, target = loss.loss.seen
    assert input.shape == target.shape == (2, 3, 64)
    assert (input[1, 2] > 90).all()
    assert (input.flatten(0, 1)[:5].abs() < 0.6).all()
    assert len({tuple(row) for row in target.flatten(0, 1).tolist()}) == 6


def test_more_important_points_are_nearer_to_the_boundary():
    """By a larger share, and by more candidates."""
    x, t = logits(1, 1, 64, 64), masks(1, 1, 64, 64)

    def distance(**params):
        torch.manual_seed(0)
        loss = PointSampled(loss=Seen(), points=200, **params)
        loss(x, t)
        return loss.loss.seen[0].abs().mean().item()

    assert distance(important=1.0) < distance(important=0.5) < distance(important=0.0)
    assert distance(oversampling=9.0) < distance(oversampling=3.0) < distance(oversampling=1.0)


def test_a_border_is_not_uncertain():
    """Padding with zeros, as in another implementation, puts most points of a confident mask on the border."""
    x = torch.full((1, 1, 16, 16), 20.0)
    loss = PointSampled(loss=Seen(), points=100)
    loss(x, torch.ones(1, 1, 16, 16))
    input, target = loss.loss.seen
    assert torch.equal(target, torch.ones(1, 1, 100))
    assert input.tolist() == [[pytest.approx([20.0] * 100)]]


def test_a_full_mask_stays_between_zero_and_one():
    """Shares of neighbours may add up to 1 + 1e-7, which a loss rejects as a mask value."""
    for ignore_index in (None, 255):
        loss = PointSampled(loss=Seen(ignore_index=ignore_index), points=100_000, ignore_index=ignore_index)
        target = torch.ones(1, 1, 37, 53)
        if ignore_index is not None:
            target[..., 0] = ignore_index
        loss(torch.randn(1, 1, 37, 53), target)
        _, target = loss.loss.seen
        assert target[target != 255].max() == 1
        assert target.min() > 0.999


def test_a_seed_repeats_the_points():
    """torch's own generator; without a seed each call draws other points."""
    x, t = logits(2, 1, 16, 16), masks(2, 1, 16, 16)
    loss = build({"name": "point_sampled", "params": {"loss": "bce", "points": 20}})
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(loss(x, t).item())
    assert values[0] == values[1] != values[2]
    assert loss(x, t) != loss(x, t)


def test_all_points_everywhere_are_the_dense_loss():
    """Every point of a constant mask has the same value."""
    x, t = logits(2, 3, 1, 1).expand(2, 3, 8, 8), masks(2, 3, 1, 1).expand(2, 3, 8, 8)
    for name, params in [
        ("bce", {"task": "multilabel"}),
        ("focal", {"task": "multilabel"}),
        ("dice", {"task": "multilabel", "smooth": 0}),
    ]:
        inner = {"name": name, "params": params}
        loss = build({"name": "point_sampled", "params": {"loss": inner, "points": 64}})
        torch.testing.assert_close(loss(x, t), build(inner)(x, t), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(
            loss.evaluate(x, t).per_example, build(inner).evaluate(x, t).per_example, rtol=1e-6, atol=1e-9
        )


def test_evenly_sampled_points_estimate_the_dense_mean():
    """With important=0, without bias."""
    x, t = logits(1, 1, 16, 16), masks(1, 1, 16, 16).double()
    torch.manual_seed(0)
    loss = build({"name": "point_sampled", "params": {"loss": "bce", "points": 40000, "important": 0.0}})
    fine = [sample(v, _centres(256)) for v in (x, t)]
    assert loss(x, t).item() == pytest.approx(F.binary_cross_entropy_with_logits(*fine).item(), rel=0.02)


def _centres(size):
    line = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return torch.cartesian_prod(line, line).reshape(1, 1, -1, 2)


def test_the_gradient_flows_through_values_alone():
    """The gradient of the interpolation, checked against finite differences at the same points."""
    x, t = logits(1, 2, 4, 5).requires_grad_(), masks(1, 2, 4, 5)
    loss = PointSampled(loss=nn.BCEWithLogitsLoss(), points=6, important=0.0)

    def value(x):
        torch.manual_seed(0)
        return loss(x, t)

    assert torch.autograd.gradcheck(value, x)
    places = PointSampled(loss=Seen(), points=6).places(x)
    assert not places.requires_grad


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.float16])
def test_kinds_of_target(kind):
    """Hard masks of any type become soft at edges; (N, *) is one channel."""
    x, t = logits(2, 1, 8, 8), masks(2, 1, 8, 8)
    loss = PointSampled(loss=Seen(), points=50)
    seen = []
    for target in (t.double(), t.to(kind), t[:, 0].to(kind)):
        torch.manual_seed(0)
        loss(x, target)
        seen.append(loss.loss.seen[1])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert ((seen[0] > 0) & (seen[0] < 1)).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_half_precision_and_large_logits(dtype, scale):
    """Sampled in float32, also under autocast; value and gradient are finite."""
    x = (logits(2, 1, 16, 16).clamp(-1, 1) * scale).to(dtype).requires_grad_()
    loss = PointSampled(loss=build("bce"), points=50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        value = loss(x, masks(2, 1, 16, 16))
    torch.manual_seed(0)
    assert torch.equal(value, loss(x.float(), masks(2, 1, 16, 16)))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert x.grad.isfinite().all()
    assert x.grad.any()


def ignoring(name="bce", ignore_index=255, **params):
    inner = {"name": name, "params": {"ignore_index": ignore_index}}
    return build({"name": "point_sampled", "params": {"loss": inner, "ignore_index": ignore_index, **params}})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_a_point_that_touches_an_ignored_pixel_is_ignored(dtype):
    """All others are mixtures of 0 and 1, without the mark 255."""
    x, t = logits(2, 1, 9, 9), masks(2, 1, 9, 9)
    t[:, :, 4, 4] = 255
    loss = PointSampled(loss=Seen(ignore_index=255), points=400, ignore_index=255, important=0.0)
    torch.manual_seed(0)
    loss(x, t.to(dtype))
    target = loss.loss.seen[1]
    touching = 0
    torch.manual_seed(0)
    places = torch.rand(2, 1, 400, 2).double()
    for n in range(2):
        for place, found in zip(places[n, 0].tolist(), target[n, 0].tolist(), strict=True):
            near = all(abs(share * 9 - 4.5) < 1 for share in place)
            touching += near
            assert (found == 255) if near else (0 <= found <= 1)
    assert touching > 10


def test_ignored_pixels_change_nothing():
    """NaN and any other logit there change neither value nor gradient, and have no gradient."""
    t = masks(2, 1, 16, 16)
    t[:, :, :7] = 255
    results = []
    for replacement in (0.0, 3.0, float("nan"), 1e4):
        x = logits(2, 1, 16, 16, dtype=torch.float32)
        x[:, :, :7] = replacement
        x.requires_grad_()
        torch.manual_seed(0)
        value = ignoring(points=100)(x, t)
        value.backward()
        results.append((value.item(), x.grad))
        assert not x.grad[:, :, :7].any()
        assert x.grad.isfinite().all()
    for value, gradient in results[1:]:
        assert value == results[0][0]
        assert torch.equal(gradient, results[0][1])


def test_a_point_on_a_pixel_beside_an_ignored_one():
    """It counts: its neighbour has weight 0, which a NaN would survive."""
    x, t = logits(1, 1, 4, 4).requires_grad_(), masks(1, 1, 4, 4)
    t[:, :, 2] = 255
    with torch.no_grad():
        x[:, :, 2] = float("nan")
    loss = PointSampled(loss=Seen(ignore_index=255), ignore_index=255)
    loss.places = lambda *_: torch.tensor([[[[0.375, 0.375]]]], dtype=torch.float64)  # row 1, column 1
    loss(x, t).backward()
    input, target = loss.loss.seen
    assert (input.item(), target.item()) == (x[0, 0, 1, 1].item(), t[0, 0, 1, 1].item())
    assert x.grad.sum().item() == x.grad[0, 0, 1, 1].item() == 1


def test_ignored_pixels_take_no_important_points():
    """Most logits near 0 are in ignored areas, where nothing was learned: other points come first."""
    x, t = logits(1, 1, 32, 32) + 8, masks(1, 1, 32, 32)
    x[..., :16], t[..., :16] = 0.0, 255
    loss = PointSampled(loss=Seen(ignore_index=255), points=100, important=1.0, ignore_index=255)
    loss(x, t)
    assert not (loss.loss.seen[1] == 255).any()


def test_all_ignored_is_zero_and_connected():
    """Every point is ignored then."""
    x = logits(2, 1, 8, 8).requires_grad_()
    value = ignoring("dice", points=20)(x, torch.full((2, 1, 8, 8), 255))
    value.backward()
    assert value.item() == 0
    assert not x.grad.any()


def test_a_negative_ignore_index():
    """uint8 cannot represent it, and it does not wrap to 255."""
    x, t = logits(1, 1, 8, 8), masks(1, 1, 8, 8)
    loss = PointSampled(loss=Seen(ignore_index=-1), points=100, important=0.0, ignore_index=-1)
    loss(x, (t * 255).to(torch.uint8))
    assert (loss.loss.seen[1] >= 0).all()
    t[..., :4] = -1
    loss(x, t)
    assert (loss.loss.seen[1] == -1).sum() > 20


def test_both_ignore_the_same():
    """A loss without the ignore_index would take 255 for a mask."""
    for outer, inner in ((255, None), (None, 255), (255, 0)):
        with pytest.raises(InputError, match=f"has ignore_index={outer}, Seen inside has {inner}; give both the same"):
            PointSampled(loss=Seen(ignore_index=inner), ignore_index=outer)
    mixture = build({"name": "weighted_sum", "params": {"terms": ["dice", "bce"]}})
    with pytest.raises(InputError, match="Dice inside has None"):
        PointSampled(loss=mixture, ignore_index=255)
    PointSampled(loss=nn.BCEWithLogitsLoss(), ignore_index=255)


def test_softmax_is_refused():
    """It would compare channels at different places."""
    inner = build({"name": "dice", "params": {"task": "multiclass"}})
    with pytest.raises(InputError, match=r"Dice inside has task='multiclass'; .* use task='multilabel'"):
        PointSampled(loss=inner)


def test_names_and_reductions():
    """The loss's name, or name.term for several terms; a plain module has no values per example."""
    x, t = logits(2, 1, 8, 8), masks(2, 1, 8, 8)

    def built(inner, **params):
        return build({"name": "point_sampled", "params": {"loss": inner, "points": 10, **params}})

    assert list(built("dice").evaluate(x, t).components) == ["dice"]
    mixture = built("bce_dice_focal").evaluate(x, t)
    assert list(mixture.components) == [f"bce_dice_focal.{name}" for name in ("bce", "dice", "focal")]
    plain = built("bce_of_torch").evaluate(x, t.double())
    assert (list(plain.components), plain.per_example) == (["bce_of_torch"], None)
    assert built("dice", reduction="none")(x, t).shape == (2,)
    torch.manual_seed(0)
    each = built("dice", reduction="none")(x, t)
    torch.manual_seed(0)
    torch.testing.assert_close(built("dice", reduction="sum")(x, t), each.sum())


def test_what_else_is_given_goes_to_the_loss():
    x, t = logits(2, 1, 8, 8), masks(2, 1, 8, 8)
    loss = PointSampled(loss=Seen(), points=10)
    values = []
    for arguments, options in (((), {}), ((), {"factor": 3}), ((3,), {})):
        torch.manual_seed(0)
        values.append(loss(x, t, *arguments, **options).item())
    assert values[1] == values[2] == pytest.approx(3 * values[0])


@pytest.mark.parametrize(
    "input, target, error, message",
    [
        (
            torch.zeros(2, 3, 8, 8),
            torch.zeros(2, 8, 8),
            ShapeError,
            r"\(2, 3, 8, 8\), got \(2, 8, 8\); class indices are",
        ),
        (
            torch.zeros(2, 1, 8, 8),
            torch.zeros(2, 1, 8, 4),
            ShapeError,
            r"\(2, 1, 8, 8\) or \(2, 8, 8\), got \(2, 1, 8, 4\)",
        ),
        (
            torch.zeros(2, 1, 8),
            torch.zeros(2, 1, 8),
            ShapeError,
            r"input must be \(N, C, H, W\) or .*, got \(2, 1, 8\)",
        ),
        (
            torch.zeros(2, 1, 8, 8).int(),
            torch.zeros(2, 1, 8, 8),
            DTypeError,
            "must be floating-point logits, got torch.int32",
        ),
        (torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), ShapeError, r"use .unsqueeze\(1\) on input and target"),
        (torch.zeros(2, 1, 8, 8), None, DTypeError, "target must be a tensor, got NoneType"),
        ([torch.zeros(2, 1, 8, 8)], torch.zeros(2, 1, 8, 8), DTypeError, "input must be a tensor, got list"),
    ],
)
def test_inputs_of_the_wrong_kind(input, target, error, message):
    with pytest.raises(error, match=message):
        PointSampled(loss=Seen())(input, target)


def test_configs():
    """Round trip, schema and invalid configs."""
    loss = build({"name": "point_sampled", "params": {"loss": "dice"}})
    params = config_of(loss)["params"]
    assert (params["points"], params["oversampling"], params["important"]) == (12544, 3.0, 0.75)
    x, t = logits(2, 1, 8, 8), masks(2, 1, 8, 8)
    values = []
    for twin in (loss, build(config_of(loss)), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)):
        torch.manual_seed(0)
        values.append(twin(x, t).item())
        assert config_of(twin) == config_of(loss)
    assert len(set(values)) == 1
    assert loss.state_dict() == {}
    assert "point_sampled" in str(json_schema(["point_sampled"]))
    for key, value in [("points", 0), ("points", 1.5), ("oversampling", 0.5), ("important", 1.5), ("important", -0.1)]:
        with pytest.raises(InvalidConfigError, match=f"params.{key}: expected an? "):
            build({"name": "point_sampled", "params": {"loss": "dice", key: value}})
    with pytest.raises(InvalidConfigError, match="Dice has reduction='sum' inside a composite"):
        build({"name": "point_sampled", "params": {"loss": {"name": "dice", "params": {"reduction": "sum"}}}})


@pytest.mark.tools
@pytest.mark.parametrize("ignore_index", [None, 255])
def test_it_compiles_to_one_graph(ignore_index):
    """Static shapes, and no value is read by the host."""
    torch.compiler.reset()
    loss = ignoring("dice", ignore_index, points=20)
    x = logits(2, 1, 8, 8, dtype=torch.float32).requires_grad_()
    t = masks(2, 1, 8, 8)
    if ignore_index is not None:
        t[:, :, 0] = ignore_index
    results = []
    for call in (torch.compile(loss, fullgraph=True, backend="aot_eager"), loss):
        torch.manual_seed(0)
        value = call(x, t)
        results.append((value, *torch.autograd.grad(value, x)))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_zeros_lie_outside_as_in_mask2former():
    """Beyond the outermost centres both fade to 0; with "border" they keep their values there."""
    input, target = torch.full((1, 1, 2, 2), 4.0), torch.ones(1, 1, 2, 2)
    for outside in ("zeros", "border"):
        loss = PointSampled(loss=Seen(), points=500, important=0.0, outside=outside)
        torch.manual_seed(0)
        places = loss.places(input)
        torch.manual_seed(0)
        loss(input, target)
        x, t = loss.loss.seen
        grid = 2 * places.view(1, 1, -1, 2) - 1
        expected = F.grid_sample(target, grid, align_corners=False).flatten(2)  # zeros by default
        torch.testing.assert_close(t, expected if outside == "zeros" else torch.ones_like(t))
        torch.testing.assert_close(x, 4 * t)
    assert expected.min() < 0.6


def test_zeros_outside_make_borders_uncertain():
    """So that important points lie there."""
    input = torch.full((1, 1, 8, 8), 9.0)
    loss = PointSampled(loss=Seen(), points=16, oversampling=8.0, important=1.0, outside="zeros")
    torch.manual_seed(0)
    places = loss.places(input)
    assert ((places < 1 / 16) | (places > 15 / 16)).any(-1).all()


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own, on its first use
def test_a_derivative_in_forward_mode_is_refused_in_our_words():
    """torch's grid_sample has none. The advice works, and so does the loss of numbers without a tangent."""
    x, t = logits(1, 2, 5, 6), masks(1, 2, 5, 6).double()
    loss = build({"name": "point_sampled", "params": {"loss": {"name": "seen"}, "points": 8}})
    with pytest.raises(InputError, match=r"no derivative in forward mode, since .*: use \.backward\(\), torch"):
        torch.func.jvp(lambda x: loss(x, t), (x,), (x,))
    assert torch.func.grad(lambda x: loss(x, t))(x).isfinite().all()
    with forward_ad.dual_level():
        assert loss(x, t).isfinite()
        with pytest.raises(InputError, match="no derivative in forward mode"):
            loss(forward_ad.make_dual(x, x), t)


def test_an_unknown_outside_names_both():
    with pytest.raises(InputError, match="outside is 'border' or 'zeros', got 'reflection'"):
        PointSampled(loss=Seen(), outside="reflection")
