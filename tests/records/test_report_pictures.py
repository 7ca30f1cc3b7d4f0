"""The pictures of examples in a report: targets and predictions over images, from templates, columns and functions."""

import base64
import io

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
np = pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed, so there are no pictures")

from lossreg import InputError  # noqa: E402
from lossreg.records import write_report  # noqa: E402
from lossreg.records.report import pictures  # noqa: E402
from lossreg.records.report.overlays import PREDICTION, TARGET, overlay  # noqa: E402
from lossreg.records.report.pictures import Album  # noqa: E402
from lossreg.records.report.sources import finder  # noqa: E402
from lossreg.records.report.thumbnails import LARGE  # noqa: E402

from .read_page import Page  # noqa: E402


def opened(made):
    """The picture of a data URI: (height, width, channels)."""
    kind, _, data = made.uri.partition(";base64,")
    assert kind.startswith("data:image/")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (made.width, made.height)
    return np.asarray(image.convert("RGBA"))


def square(*, low=0, high=255, dtype=np.uint8):
    """A mask of 40 x 80 whose left half is background."""
    mask = np.full((40, 80), low, dtype=dtype)
    mask[:, 40:] = high
    return mask


def shares(made):
    """The share of tinted pixels in the left and in the right half, without the outline."""
    alpha = opened(made)[..., 3]
    middle = alpha.shape[1] // 2
    left, right = alpha[4:-4, 4 : middle - 4], alpha[4:-4, middle + 4 : -4]
    return float((left > 0).mean()), float((right > 0).mean())


MASKS = {
    "zero and one": square(high=1),
    "zero and 255": square(),
    "truth values": square(high=True, low=False, dtype=bool),
    "probabilities": square(low=0.2, high=0.8, dtype=np.float32),
    "logits": square(low=-3.0, high=2.0, dtype=np.float64),
    "16 bits": square(high=1000, dtype=np.uint16),
    "ignored beside a class": np.where(square() > 0, 1, 255).astype(np.uint8),
    "noise of a JPEG": np.where(square() > 0, 250, 6).astype(np.uint8)
    + np.tile([0, 1, 2, 5], (40, 20)).astype(np.uint8),
    "colours": np.stack([square(), square(high=0), square(high=9)], -1),
}


@pytest.mark.parametrize("kind", MASKS)
def test_foreground_is_tinted_and_background_is_clear(kind):
    """Of every way to write a mask: the right half alone, in the colour of targets."""
    made = overlay(MASKS[kind], TARGET)
    assert shares(made) == (0.0, 1.0)
    pixels = opened(made)
    assert tuple(pixels[pixels.shape[0] // 2, -10, :3]) == TARGET[0]


def test_regions_have_outlines():
    """Opaque where two classes meet and at the frame, so that a mask that covers all is seen too."""
    mask = np.ones((64, 64), dtype=np.uint8)
    mask[:, 32:] = 2
    alpha = opened(overlay(mask, PREDICTION))[..., 3]
    opaque = (alpha[100] == 255).nonzero()[0].tolist()
    assert opaque == [0, 1, *range(LARGE // 2 - 2, LARGE // 2 + 2), LARGE - 2, LARGE - 1]
    assert 0 < alpha[100, 40] < 128


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (1500, 1500)])
def test_an_overlay_is_bounded(shape):
    """Its longer side has 320 pixels for every mask, and it is a few kilobytes even of noise in lines."""
    mask = np.zeros(shape, dtype=np.uint8)
    mask[::7] = 1
    made = overlay(mask, TARGET)
    assert max(made.width, made.height) == LARGE
    assert len(made.uri) < 60_000


def test_one_thin_line_is_not_lost():
    """A vessel of one pixel in 2000: its tint is faint, but there."""
    mask = np.zeros((2000, 2000), dtype=np.uint8)
    mask[1001] = 1
    assert (opened(overlay(mask, TARGET))[..., 3].max(axis=1) > 0).sum() >= 1


# Where pictures are.

EXAMPLE = {"path": "street/a.jpg", "dataset": "d", "sample_id": "s1", "mask": "m/1.png"}


@pytest.mark.parametrize(
    "template, found",
    [
        ("masks/{stem}.png", "masks/a.png"),
        ("{parent}/{stem}_mask{suffix}", "street/a_mask.jpg"),
        ("{dataset}-{sample_id}.npy", "d-s1.npy"),
        ("mask", "m/1.png"),
        ("masks/{mask}", "masks/m/1.png"),
    ],
)
def test_templates_and_columns_name_files(template, found):
    """Fields of the path, of the example, and of the user's own columns."""
    assert finder(template, "target_path", ["mask"])(EXAMPLE) == found


def test_a_field_that_is_missing_gives_no_picture():
    """Without a path there is no stem."""
    assert finder("masks/{stem}.png", "target_path", [])({"path": None, "sample_id": "a"}) is None


@pytest.mark.parametrize(
    "template, message",
    [
        ("masks/{step}.png", r"target_path 'masks/\{step\}.png' has the unknown field \{step\}; did you mean 'stem'\?"),
        ("{stem.__class__}", r"has the unknown field \{stem.__class__\}; (did you mean|write one of) "),
        ("{stem:>999999999}", r"has the unknown field \{stem\}; did you mean 'stem'\?|without a format"),
        ("masks/{", "write a field as {stem}"),
        ("masks", r"target_path 'masks' is no column of the records, and has no field; did you mean 'mask'\?"),
        ("elsewhere.png", "write a template with a field, such as 'masks/{stem}.png'"),
    ],
)
def test_a_template_that_cannot_be_filled_has_a_reason(template, message):
    """A field is a plain name: no attribute of Python and no format, which could fill the memory."""
    with pytest.raises(InputError, match=message):
        finder(template, "target_path", ["mask"])


# The album.


def album(folder, **sources):
    return Album(folder, *(finder(sources.get(name), name, []) for name in ("target_path", "prediction")))


def save(folder, name, array):
    folder.joinpath(name).parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(folder / name)
    return name


def test_target_and_prediction_lie_over_the_image(tmp_path):
    """As transparent pictures of the same shape, in different colours."""
    save(tmp_path, "a.png", np.full((40, 80, 3), 99, dtype=np.uint8))
    save(tmp_path, "a_mask.png", square())
    np.save(tmp_path / "a.npy", square(high=0.9, low=0.1, dtype=np.float32))
    made = album(tmp_path, target_path="{stem}_mask.png", prediction="{stem}.npy").of({"path": "a.png"})
    assert made.is_large
    assert made.note == ""
    assert made.image.width / made.image.height == made.target.width / made.target.height == 2
    assert shares(made.target) == shares(made.prediction) == (0.0, 1.0)
    assert opened(made.target)[9, -9, 0] > opened(made.prediction)[9, -9, 0]


def test_functions_draw(tmp_path):
    """A mask, a tensor with further dimensions, a PIL image, a path; a picture in colour stands beside the image."""
    import torch

    mask = square(high=1)
    found = {
        "array": mask,
        "tensor": torch.from_numpy(mask)[None, None].float().requires_grad_(),
        "half": torch.from_numpy(mask).to(torch.bfloat16),
        "image": Image.fromarray(square()),
        "path": tmp_path / save(tmp_path, "p.png", square()),
        "picture": np.random.default_rng(0).random((8, 8, 3)),
        "nothing": None,
    }
    pages = album(tmp_path, prediction=lambda example: found[example["sample_id"]])
    made = {name: pages.of({"sample_id": name}) for name in found}
    for name in ("array", "tensor", "half", "image", "path"):
        assert shares(made[name].prediction) == (0.0, 1.0), name
    assert made["picture"].prediction.uri == ""
    assert opened(made["picture"].beside).shape == (8, 8, 4)
    assert made["nothing"].note == ""
    assert not made["nothing"].is_large


@pytest.mark.parametrize(
    "value, message",
    [
        (np.zeros((2, 5, 5)), r"prediction gave ndarray of shape \(2, 5, 5\) and type float64; return a path"),
        (np.zeros((0, 5)), r"shape \(0, 5\)"),
        ([["a"]], r"prediction gave list of shape \(1, 1\) and type <U1"),
        (7, r"prediction gave int of shape \(\)"),
    ],
)
def test_what_a_function_cannot_give(tmp_path, value, message):
    """The error names what it gave, and what to return."""
    pages = album(tmp_path, prediction=lambda example: value)
    with pytest.raises(InputError, match=message):
        pages.of({"sample_id": "a"})


def test_a_function_that_fails_is_named_with_its_example(tmp_path):
    """With what to return where there is nothing to show."""
    pages = album(tmp_path, target_path=lambda example: {}["missing"])
    with pytest.raises(InputError, match=r"target_path failed for the example 'a': KeyError: 'missing'; return None"):
        pages.of({"sample_id": "a"})


def test_a_target_that_is_missing_broken_or_of_another_shape_is_noted(tmp_path):
    """The image is shown all the same."""
    save(tmp_path, "a.png", np.full((40, 80, 3), 99, dtype=np.uint8))
    save(tmp_path, "tall.png", square().T.copy())
    (tmp_path / "broken.png").write_bytes(b"none")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    notes = {
        "gone.png": "target: no file",
        "broken.png": "target: not an image",
        "broken.npy": "target: not a mask",
        "tall.png": "the target has another shape than the image",
    }
    for name, note in notes.items():
        made = album(tmp_path, target_path=lambda example, name=name: name).of({"path": "a.png"})
        assert made.note == note
        assert made.image.uri


def test_pictures_are_bounded_in_number_and_bytes(tmp_path, monkeypatch):
    """Beyond the first, an example has a small picture; beyond all bytes, none."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    for number in range(4):
        save(tmp_path, f"{number}.png", noise)
    monkeypatch.setattr(pictures, "MOST_LARGE", 2)
    pages = album(tmp_path)
    made = [pages.of({"path": f"{number}.png"}) for number in range(4)]
    assert [one.image.width for one in made] == [LARGE, LARGE, 128, 128]
    assert [one.is_large for one in made] == [True, True, False, False]
    assert pages.of({"path": "0.png"}) is made[0]
    monkeypatch.setattr(pictures, "MOST_CHARACTERS", 1)
    assert pages.of({"path": "new.png"}).image.reason == "not shown"


def test_own_columns_may_have_any_name(tmp_path):
    """Also those of the page's own values: a function is given the numbers of the ranking, and templates the column."""
    seen = []
    rows = [
        {"loss": 1.0 + n % 2, "step": n, "sample_id": f"s{n % 2}", "key": f"k{n % 2}", "score": "mine", "curve": 7}
        for n in range(8)
    ]
    page = write_report(rows, tmp_path / "report.html", target_path="key", prediction=seen.append)
    assert Page(page.read_text(encoding="utf-8")).tables["next"]
    assert {(each["sample_id"], each["key"], each["curve"]) for each in seen} == {("s0", "k0", 7), ("s1", "k1", 7)}
    assert all(isinstance(each["score"], float) for each in seen)


def test_the_page_has_the_layers(tmp_path):
    """Of a written report: image, target and prediction of each listed example, and a box for each layer."""
    save(tmp_path, "a.png", np.full((40, 80, 3), 99, dtype=np.uint8))
    save(tmp_path, "a_mask.png", square())
    rows = [
        {"loss": 1.0 + n % 2, "step": n, "path": "a.png", "sample_id": f"s{n % 2}", "mask": "a_mask.png"}
        for n in range(8)
    ]
    path = write_report(
        rows,
        tmp_path / "report.html",
        images=tmp_path,
        target_path="mask",
        prediction=lambda example: square() if example["sample_id"] == "s1" else None,
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.all("img", "image")) == len(page.all("img", "target")) == 2
    assert len(page.all("img", "prediction")) == 1
    assert [each["data-layer"] for each in page.all("input") if "data-layer" in each] == ["target", "prediction"] * 2
