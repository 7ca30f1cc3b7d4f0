"""Objects of SAM 2 that are merged into categories."""

import math

import numpy
import pytest
import torch

import lossreg
from lossreg import DTypeError, InputError, ShapeError
from lossreg.integrations.sam2 import IOUS, MASKS, SCORES, merge_objects, merge_targets

# One frame of one step: three objects, one mask each, two pixels.
LOGITS = [[[[2.0, -3.0]]], [[[-1.0, 4.0]]], [[[0.5, -5.0]]]]
IOU = [[0.9], [0.5], [0.25]]
SCORE = [[1.0], [-2.0], [3.0]]


def outputs(dtype=torch.float32, frames=1):
    """The outputs of a model, with a key that no loss reads."""
    frame = {MASKS: LOGITS, IOUS: IOU, SCORES: SCORE}
    made = {key: [torch.tensor(value, dtype=dtype).requires_grad_()] for key, value in frame.items()}
    return [made | {"obj_ptr": torch.zeros(3, 8)} for _ in range(frames)]


def test_the_objects_of_a_category_are_one_object():
    """Union of masks, greatest presence, mean IoU; a category without objects is absent. Other keys are left out."""
    (frame,) = merge_objects(outputs(), [0, 0, 2])
    assert set(frame) == {MASKS, IOUS, SCORES}
    assert frame[MASKS][0].tolist() == [[[[2.0, 4.0]]], [[[-1024.0, -1024.0]]], [[[0.5, -5.0]]]]
    assert frame[IOUS][0].flatten().tolist() == pytest.approx([0.7, 0.0, 0.25])
    assert frame[SCORES][0].tolist() == [[1.0], [-1024.0], [3.0]]


@pytest.mark.parametrize(
    "categories", [(0, 0, 2), {2: 2, 0: 0, 1: 0}, torch.tensor([0, 0, 2], dtype=torch.uint8), numpy.array([0, 0, 2])]
)
def test_categories_in_any_form(categories):
    """A tuple, a dict, a tensor and an array, of one meaning."""
    (expected,), (found,) = merge_objects(outputs(), [0, 0, 2]), merge_objects(outputs(), categories)
    assert all(torch.equal(found[key][0], expected[key][0]) for key in expected)


def test_every_frame_step_and_mask_by_itself():
    """Two frames of different steps, with three masks for each object."""
    torch.manual_seed(0)
    frames = [{MASKS: [torch.randn(2, 3, 4, 5) for _ in range(steps)]} for steps in (1, 2)]
    merged = merge_objects(frames, [1, 1])
    for before, after in zip(frames, merged, strict=True):
        assert len(before[MASKS]) == len(after[MASKS])
        for given, found in zip(before[MASKS], after[MASKS], strict=True):
            assert found.shape == (2, 3, 4, 5)
            assert torch.equal(found[1], torch.maximum(given[0], given[1]))


def test_the_number_of_categories_may_be_fixed():
    """So that batches with other objects have the same categories; without objects all are absent."""
    (frame,) = merge_objects(outputs(), [0, 0, 2], categories=5)
    assert frame[MASKS][0].shape == (5, 1, 1, 2)
    nothing = [{MASKS: [torch.zeros(0, 1, 1, 2)], IOUS: [torch.zeros(0, 1)]}]
    (frame,) = merge_objects(nothing, [], categories=2)
    assert frame[MASKS][0].tolist() == [[[[-1024.0, -1024.0]]]] * 2
    assert merge_targets(torch.ones(1, 0, 1, 2), [], categories=2).tolist() == [[[[0.0, 0.0]]] * 2]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_targets_are_united(dtype):
    """In their own type. Category 1 has no objects, so its mask is empty."""
    masks = torch.tensor([[[[1, 0]], [[0, 1]], [[0, 1]]]], dtype=dtype)
    found = merge_targets(masks, [0, 0, 2])
    assert found.dtype == dtype
    assert found.tolist() == [[[[1, 1]], [[0, 0]], [[0, 1]]]]


def test_the_loss_of_categories():
    """By hand, for one category: logits (2, 4) and target (1, 1), presence logit 1, predicted IoU 0.7 of actual 1."""

    def softplus(x):
        return math.log1p(math.exp(x))

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    targets = merge_targets(torch.tensor([[[[1, 0]], [[0, 1]]]]), [0, 0])
    given = [{key: [value[:2] for value in outputs()[0][key]] for key in (MASKS, IOUS, SCORES)}]
    found = lossreg.build("sam2")(merge_objects(given, [0, 0]), targets)
    focal = sum(0.25 * (1 - sigmoid(x)) ** 2 * softplus(-x) for x in (2, 4)) / 2
    overlap = sigmoid(2) + sigmoid(4)
    dice = 1 - (2 * overlap + 1) / (overlap + 2 + 1)
    assert found.item() == pytest.approx(20 * focal + dice + 0.3 + softplus(-1), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_absent_categories_neither_add_nor_spoil_gradients(dtype):
    """Where their target is empty as well they add 0 to the sum over objects. Every object gets a finite gradient."""
    given, targets = outputs(dtype), torch.tensor([[[[1, 0]], [[0, 1]], [[0, 1]]]])
    loss = lossreg.build("sam2")
    found = loss(merge_objects(given, [0, 0, 2]), merge_targets(targets, [0, 0, 2]))
    dense = loss(merge_objects(given, [0, 0, 1]), merge_targets(targets, [0, 0, 1]))
    assert found.item() * 3 == pytest.approx(dense.item() * 2, rel=1e-6)
    found.backward()
    for key in (MASKS, IOUS, SCORES):
        assert torch.isfinite(given[0][key][0].grad).all()
    assert given[0][IOUS][0].grad.ne(0).all()


def test_a_target_of_a_category_without_objects_has_a_finite_loss():
    """The model had no object where one should be."""
    targets = torch.ones(1, 3, 1, 2)
    assert torch.isfinite(lossreg.build("sam2")(merge_objects(outputs(), [0, 0, 2]), targets))


@pytest.mark.parametrize(
    ("categories", "error", "message"),
    [
        ([0, 1], ShapeError, r"\['multistep_pred_multimasks_high_res'\]\[0\] has shape \(3, 1, 1, 2\)"
         ", obj_to_category has 2 objects; give it one category for each object"),
        ([0, -1, 1], InputError, "obj_to_category has -1; count categories from 0, or leave out the object"),
        ([0, 1.0, 1], DTypeError, r"one integer for each object, got 1\.0; number the categories from 0"),
        (torch.tensor([0.0, 1, 2]), DTypeError, r"one integer for each object, got 0\.0; number the categories from 0"),
        ([True, False, True], DTypeError, r"one integer for each object, got True; number the categories from 0"),
        (["cell", "cell", "vessel"], DTypeError, "got 'cell'; number the categories from 0"),
        (torch.zeros(1, 3, dtype=torch.int64), DTypeError, r"one integer for each object, got \[0, 0, 0\]"),
        ({1: 0, 2: 0, 3: 1}, InputError, r"keys of obj_to_category must be the objects 0 to N - 1, got \[1, 2, 3\]"),
    ],
)  # fmt: skip
def test_bad_categories(categories, error, message):
    """Each error names the form that is allowed."""
    with pytest.raises(error, match=message):
        merge_objects(outputs(), categories)


def test_too_few_categories():
    """The error has the least number."""
    with pytest.raises(InputError, match="obj_to_category needs categories=3 or more, got 2"):
        merge_targets(torch.zeros(1, 3, 1, 2), [0, 0, 2], categories=2)


def test_bad_outputs_and_targets():
    """Each error has the place."""
    with pytest.raises(InputError, match=r"outs_per_frame\[0\] must be a dict with multistep_pred_multimasks_high_res"):
        merge_objects([{IOUS: []}], [0])
    with pytest.raises(InputError, match=r"outs_per_frame\[0\] must be a dict.*; give the list that SAM 2's model"):
        merge_objects(outputs()[0], [0, 0, 2])
    with pytest.raises(
        InputError, match=r"\['multistep_pred_multimasks_high_res'\] must be a list over steps, got Ten"
    ):
        merge_objects([{MASKS: torch.zeros(3, 1, 1, 2)}], [0, 0, 2])
    with pytest.raises(DTypeError, match=r"\['multistep_pred_multimasks_high_res'\]\[0\] must be a tensor, got list"):
        merge_objects([{MASKS: [[1.0]]}], [0])
    with pytest.raises(ShapeError, match=r"masks must be a tensor \(T, N, H, W\), got shape \(3, 1, 2\)"):
        merge_targets(torch.zeros(3, 1, 2), [0, 0, 2])
    with pytest.raises(ShapeError, match=r"masks must be a tensor \(T, N, H, W\), got list"):
        merge_targets([], [0])
