"""The loss of each example: its mean is the training scalar, for every loss of our own that splits."""

import copy

import pytest
import torch
from torch import nn

import lossreg
from lossreg import InputError, Loss, Term, losses
from lossreg.discovery.first_party import OWNERS
from lossreg.records import compute_per_example_loss
from lossreg.testing.case import MaskCase, Options
from lossreg.testing.conformance import MASK_TARGETS, default_cases
from lossreg.testing.subject import split_options

from .. import composite_cases as composites

OWN = [entry for entry in losses.entries() if entry.provider in OWNERS]
EXAMPLES = 4


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def build(name, **params):
    return lossreg.build({"name": name, "params": params})


def sam():
    """A step of SAM: logits of three masks, the target they share, the predicted IoU."""
    return normal(EXAMPLES, 3, 4, 5), torch.randint(0, 2, (EXAMPLES, 4, 5)), torch.rand(EXAMPLES, 3).double()


def video():
    """Two frames of two steps."""
    names = ("multistep_pred_multimasks_high_res", "multistep_pred_ious", "multistep_object_score_logits")
    sizes = ((4, 5), (), ())
    frames = [
        {
            name: [normal(EXAMPLES, 1 if "score" in name else masks, *size) for masks in (3, 1)]
            for name, size in zip(names, sizes, strict=True)
        }
        for _ in range(2)
    ]
    return frames, torch.randint(0, 2, (2, EXAMPLES, 4, 5))


def sets():
    """Queries of masks and classes, and images of two, one, no and four targets."""
    input = {"masks": normal(EXAMPLES, 3, 4, 5), "classes": normal(EXAMPLES, 3, 3)}
    return input, [{"masks": torch.rand(n, 4, 5) > 0.5, "labels": torch.randint(2, (n,))} for n in (2, 1, 0, 4)]


def regions():
    """Masks, and the region of each pixel."""
    x, t = MaskCase("binary").inputs()
    return x, t, Options(regions=torch.randint(3, (EXAMPLES, *x.shape[2:])))


# Of the losses that take something else than logits and masks.
INPUTS = {
    "sam/sam": sam,
    "sam/iou_prediction": sam,
    "sam/sam2": video,
    "sam/spatial_relevance": lambda: (*sam(), normal(EXAMPLES, 6), normal(EXAMPLES, 6)),
    "sam/text_region_contrast": lambda: (normal(EXAMPLES, 6), normal(EXAMPLES, 6)),
    "segmentation/matched": sets,
    "segmentation/per_region": regions,
}


def example_of(entry):
    return entry.metadata.get("example") or {}


def subjects():
    """Every loss of our own, built, with inputs that its contract names: one for each of its tasks."""
    for entry in OWN:
        name, contract = entry.full_name, entry.metadata["contract"]
        if name in composites.CASES:
            cases = [(case.label, case.params, case.inputs) for case in composites.CASES[name]]
        elif contract["input"] == "logits" and contract["target"] in MASK_TARGETS:
            made = [MaskCase(case.task, size=(8, 9), params=case.params) for case in default_cases(name)]
            cases = [(case.label, example_of(entry) | case.params, case.inputs) for case in made]
        else:
            cases = [("default", example_of(entry), INPUTS[name])]
        for label, params, inputs in cases:
            yield pytest.param(name, params, inputs, contract["per_example"], id=f"{name}-{label}")


def called(loss, inputs):
    """The training scalar and the values of the examples, from the same random numbers."""
    torch.manual_seed(0)
    given, options = split_options(inputs)
    scalar = loss(*given, **options)
    torch.manual_seed(0)
    return scalar, compute_per_example_loss(loss, *given, **options)


def test_every_loss_of_our_own_is_here():
    """Three providers, and each has a loss with inputs."""
    assert {entry.provider for entry in OWN} == set(OWNERS)
    assert len({parameter.values[0] for parameter in subjects()}) == len(OWN) > 30


SUBJECTS = list(subjects())


@pytest.mark.parametrize("name, params, inputs", [(*s.values[:3],) for s in SUBJECTS if s.values[3]])
def test_the_mean_is_the_training_scalar(name, params, inputs):
    """Of each loss that splits, by its contract; as differentiable as the scalar."""
    torch.manual_seed(1)
    scalar, values = called(build(name, **params), inputs())
    assert values.shape == (EXAMPLES,)
    assert values.std() > 0
    torch.testing.assert_close(values.mean(), scalar, check_dtype=False)
    assert values.requires_grad == scalar.requires_grad


def test_losses_split_as_their_contract_declares():
    """The product is refused; the others give each example's part, which depends on the others, and the same mean."""
    assert {s.values[0] for s in SUBJECTS if not s.values[3]} == {"lossreg/product", *SHARES}


# The contrast of a pair is with the other pairs; matched divides by the number of masks of all images.
SHARES = {
    "sam/spatial_relevance": {},
    "sam/text_region_contrast": {},
    "segmentation/matched": example_of(losses.entry("segmentation/matched")) | {"points": 0},
}


def first_two(given):
    return {name: x[:2] for name, x in given.items()} if isinstance(given, dict) else given[:2]


@pytest.mark.parametrize("name", SHARES)
def test_a_share_of_a_sum_over_examples_depends_on_the_others(name):
    """The mean of the shares is the scalar; computed with fewer others, an example loses another value."""
    torch.manual_seed(1)
    given, loss = INPUTS[name](), build(name, **SHARES[name])
    scalar, values = called(loss, given)
    torch.testing.assert_close(values.mean(), scalar, check_dtype=False)
    _, fewer = called(loss, [first_two(x) for x in given])
    assert not torch.allclose(fewer, values[:2])


def test_a_product_is_refused():
    """It is no sum over anything."""
    x, t = MaskCase("binary").inputs()
    product = build("product", terms=[{"name": "dice"}, {"name": "bce"}])
    with pytest.raises(
        InputError, match=r"Product does not split over examples \(terms of the whole batch: product, dice"
    ):
        compute_per_example_loss(product, x, t)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_of_ours_may_have_any_reduction(reduction):
    """The values are the same; with "sum" their sum is the scalar."""
    x, t = MaskCase("binary").inputs()
    values = compute_per_example_loss(build("dice", reduction=reduction), x, t)
    assert torch.equal(values, build("dice", reduction="none")(x, t))


def test_the_values_of_one_example_do_not_depend_on_the_others():
    """Computed alone, it loses the same."""
    x, t = MaskCase("multiclass").inputs()
    loss = build("cross_entropy", ignore_index=255)
    t[1, :, 1:] = 255
    values = compute_per_example_loss(loss, x, t)
    alone = [compute_per_example_loss(loss, x[i : i + 1], t[i : i + 1]).item() for i in range(EXAMPLES)]
    assert values.tolist() == pytest.approx(alone)


def test_examples_can_be_weighted():
    """The gradient of an example of weight 0 is 0."""
    x, t = MaskCase("binary").inputs()
    values = compute_per_example_loss(lossreg.build("bce_dice_focal"), x, t)
    (values * torch.tensor([1.0, 0.0, 2.0, 0.0])).sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).tolist() == [True, False, True, False]


def test_batch_dice_is_refused():
    """The message has the reason and the remedy."""
    x, t = MaskCase("binary").inputs()
    with pytest.raises(InputError) as caught:
        compute_per_example_loss(build("dice", batch=True), x, t)
    assert str(caught.value) == (
        "Dice does not split over examples (terms of the whole batch: dice), as with batch=True or a product of"
        " losses; use a loss that splits (see lossreg.losses.find), or reduce by hand and give (B,) values"
    )
    assert caught.value.terms == ["dice"]


PAIR = torch.tensor([[0.1, 0.9], [0.4, 0.2], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    "module, expected",
    [
        (nn.MSELoss(), [0.01, 0.2, 0.25]),
        (nn.L1Loss(), [0.1, 0.4, 0.5]),
        (nn.MSELoss(reduction="sum"), [0.02, 0.4, 0.5]),
        (nn.MSELoss(reduction="none"), [0.01, 0.2, 0.25]),
        (nn.KLDivLoss(reduction="batchmean"), [-0.9, -0.4, -0.5]),
        (nn.BCELoss(weight=torch.tensor([2.0, 0.0])), [0.10536, 0.91629, 0.69315]),
    ],
)
def test_modules_with_a_reduction(module, expected):
    """The mean over the elements of each example. The module itself stays as it is."""
    before = module.reduction
    values = compute_per_example_loss(module, *PAIR)
    assert values.tolist() == pytest.approx(expected, abs=1e-5)
    assert module.reduction == before


def test_cross_entropy_of_images_splits_where_all_pixels_count():
    """Where one is ignored, torch divides by those that are left in the whole batch."""
    x, t = torch.randn(3, 5, 4, 4), torch.randint(0, 5, (3, 4, 4))
    values = compute_per_example_loss(nn.CrossEntropyLoss(), x, t)
    assert values.tolist() == pytest.approx(
        [nn.CrossEntropyLoss()(x[i : i + 1], t[i : i + 1]).item() for i in range(3)]
    )
    t[0, 0] = -100
    with pytest.raises(
        InputError, match=r"CrossEntropyLoss does not split over examples: their values give .* ignored"
    ):
        compute_per_example_loss(nn.CrossEntropyLoss(), x, t)


def test_class_weights_do_not_split():
    """They make a value depend on the classes of the other examples."""
    x, t = torch.randn(3, 2), torch.tensor([0, 1, 1])
    with pytest.raises(
        InputError, match="so that the value of an example depends on the others; use a loss that splits"
    ):
        compute_per_example_loss(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0])), x, t)


def test_ctc_does_not_split():
    """Its mean divides by lengths, which "none" does not."""
    logits = torch.randn(4, 4, 6).log_softmax(2)
    targets, lengths = torch.randint(1, 6, (4, 3)), torch.tensor([3, 2, 3, 1])
    with pytest.raises(InputError, match="CTCLoss does not split over examples"):
        compute_per_example_loss(nn.CTCLoss(), logits, targets, torch.full((4,), 4), lengths)


class Plain(nn.Module):
    def forward(self, x, t):
        return (x - t).square().mean()


class Deaf(Plain):
    reduction = "mean"


@pytest.mark.parametrize(
    "module, message",
    [
        (Plain(), "Plain has no attribute `reduction` of 'mean', 'sum', 'none' or 'batchmean' (it is None), so its"),
        (Deaf(), "Deaf with reduction='none' returned (), and not values for each of (3,) examples: it does not split"),
    ],
)
def test_modules_whose_split_is_unknown(module, message):
    """Never a made-up split; the message has a remedy."""
    with pytest.raises(InputError) as caught:
        compute_per_example_loss(module, *PAIR)
    assert str(caught.value).startswith(message)
    assert "use a loss that splits (see lossreg.losses.find), or reduce by hand" in str(caught.value)


def test_values_that_are_not_finite_stay_so():
    """NaN in one example is its own; the comparison with the scalar holds for NaN as well."""
    x, t = PAIR[0].clone(), PAIR[1]
    x[1, 0] = torch.nan
    assert compute_per_example_loss(nn.MSELoss(), x, t).isnan().tolist() == [False, True, False]


def test_a_term_that_is_only_logged_may_be_of_the_batch():
    """It is no part of the total."""

    class Logged(Loss):
        def terms(self, x):
            return {"a": Term(x, "example"), "log": Term(x.mean(), "batch", weight=0.0)}

    assert compute_per_example_loss(Logged(), torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]


def test_parameters_are_shared_and_not_copied():
    """A loss that learns gets its gradient."""

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.reduction = "mean"
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, x, t):
            values = self.scale * (x - t)
            return values if self.reduction == "none" else values.mean()

    loss = Learned()
    before = copy.deepcopy(loss.state_dict())
    compute_per_example_loss(loss, *PAIR)[0].backward()
    assert loss.scale.grad.item() == pytest.approx(((0.1 - 0.0) + (0.9 - 1.0)) / 2, abs=1e-6)
    assert loss.state_dict() == before
