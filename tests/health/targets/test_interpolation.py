"""Masks that were resized with interpolation or saved as JPEG, beside sound masks that look like them."""

import io

import pytest

from lossreg.health.targets import examine

from .masks import Image, message, np, rules

ImageDraw = pytest.importorskip("PIL.ImageDraw", reason="Pillow is not installed, so no image can be read")
ImageFilter = pytest.importorskip("PIL.ImageFilter", reason="Pillow is not installed, so no image can be read")

SIDE = 96
Resampling = Image.Resampling


def ellipses(*values, seed=0):
    """Draw an ellipse and a triangle of each value on 0."""
    draws = np.random.default_rng(seed)
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for value in values:
        x, y = map(int, draws.integers(5, 50, 2))
        draw.ellipse([x, y, x + 31, y + 22], fill=value)
        draw.polygon([tuple(map(int, point)) for point in draws.integers(0, SIDE, (3, 2))], fill=value)
    return image


def lines(*values, width=1):
    """Draw a line of each value on 0."""
    draws = np.random.default_rng(0)
    image = Image.new("L", (SIDE, SIDE))
    for value in values:
        points = [tuple(map(int, point)) for point in draws.integers(0, SIDE, (3, 2))]
        ImageDraw.Draw(image).line(points, fill=value, width=width)
    return image


def jpeg(image, quality=80):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def resized(image, side, resample):
    return image.resize((side, side), resample)


def found(*images, **options):
    return examine([np.asarray(image) for image in images], **options)


BINARY = {
    **{f"jpeg {quality}": lambda quality=quality: jpeg(ellipses(255), quality) for quality in (30, 50, 80, 95, 99)},
    **{
        f"{name} to {side}": lambda side=side, name=name: resized(ellipses(255), side, Resampling[name])
        for side in (48, 60, 150, 300)
        for name in ("BILINEAR", "BICUBIC", "LANCZOS", "HAMMING")
    },
    "half": lambda: resized(ellipses(255), 48, Resampling.BOX),
    "rotated": lambda: ellipses(255).rotate(17, Resampling.BILINEAR),
    "blurred": lambda: ellipses(255).filter(ImageFilter.GaussianBlur(2)),
    "jpeg, then nearest": lambda: resized(jpeg(ellipses(255)), 150, Resampling.NEAREST),
    "thin, jpeg": lambda: jpeg(lines(255, 255, 255, width=3)),
    "thin, bilinear": lambda: resized(lines(255, 255, width=3), 150, Resampling.BILINEAR),
}


@pytest.mark.parametrize("how", BINARY)
def test_a_mask_of_0_and_255(how):
    """The error has the remedy that gives 0 and 1, and none is to ignore 255, which is the foreground."""
    report = found(BINARY[how]())
    assert rules(report)[0] == ("interpolated", "error")
    assert report.failed
    assert message(report, "interpolated") == (
        "masks that were resized with interpolation or saved with compression, such as JPEG: 1; between 0 and 255 lie"
        " values that mean nothing and count as foreground here; threshold at 128, resize with nearest, and save as PNG"
    )
    assert not any("--ignore-index" in finding.message for finding in report.findings)
    assert [rule for rule, _ in rules(report)] == ["interpolated"]


@pytest.mark.parametrize("how", [jpeg, lambda image: resized(image, 150, Resampling.BILINEAR)])
def test_the_advice_leads_to_the_mask(how):
    """After the threshold, all but a few pixels at the border are those of the mask before, and nothing is found."""
    before = ellipses(255)
    mended = (np.asarray(how(before)) >= 128).astype(np.uint8)
    whole = np.asarray(resized(before, len(mended), Resampling.NEAREST)) > 0
    assert (mended != whole).mean() < 0.01
    assert examine([mended]).findings == ()


@pytest.mark.parametrize(
    "how, classes",
    [
        (lambda image: resized(image, 150, Resampling.BILINEAR), "0, 50, 120, 200"),
        (lambda image: resized(image, 64, Resampling.BICUBIC), "0, 50, 120, 200"),
        (lambda image: jpeg(image, 95), "0, 120, 200"),  # 50 is small
    ],
)
def test_a_mask_of_several_classes(how, classes):
    """There is no threshold: the masks are to be made again. The classes are named."""
    report = found(how(ellipses(50, 120, 200)))
    assert rules(report)[0] == ("interpolated", "error")
    assert f"between the classes, which may be {classes}, lie values that mean" in message(report, "interpolated")
    assert "make the masks again from the originals, resize with nearest" in message(report, "interpolated")


def test_class_indices():
    """5, 12 and 20 have other numbers between them, too."""
    report = found(resized(ellipses(5, 12, 20), 150, Resampling.BILINEAR))
    assert rules(report)[0] == ("interpolated", "error")


@pytest.mark.parametrize("scale", [1, 1 / 64, 257])
def test_other_types(scale):
    """Floats above 1 and 16 bits; the threshold is half of the highest value."""
    values = np.asarray(resized(ellipses(255), 150, Resampling.BILINEAR), float) * scale
    report = examine([values.astype(np.float32 if scale < 257 else np.uint16)])
    assert rules(report) == [("interpolated", "error")]
    assert f"threshold at {(255 * scale + 1) // 2:g}, " in message(report, "interpolated")


def test_floats_up_to_1_may_be_soft_targets():
    """Losses of masks take them; the finding stays a warning."""
    values = np.asarray(resized(ellipses(255), 150, Resampling.BILINEAR), np.float32) / 255
    assert rules(examine([values])) == [("non-integer", "warning")]


def test_with_an_ignored_value_it_is_found_as_well():
    """Passing --ignore-index 255 before has deleted the foreground."""
    assert rules(found(jpeg(ellipses(255)), ignore_index=255))[0] == ("interpolated", "error")


def test_one_mask_among_many_is_a_warning():
    """It may be a mistake of this one."""
    sound = [ellipses(1, seed=number) for number in range(100)]
    assert ("interpolated", "warning") in rules(found(jpeg(ellipses(255)), *sound))
    assert ("interpolated", "error") in rules(found(jpeg(ellipses(255)), *sound[:50]))


def test_a_part_of_a_large_mask(monkeypatch):
    """The parts of a mask are judged apart; one is enough."""
    monkeypatch.setattr("lossreg.health.targets.pixels.PART", SIDE * SIDE)
    mask = np.zeros((3 * SIDE, SIDE), np.uint8)
    mask[SIDE : 2 * SIDE] = np.asarray(jpeg(ellipses(255)))
    assert rules(examine([mask])) == [("interpolated", "error")]


def points(classes, side=64, count=60):
    """Return regions of the nearest of some points, each with a class."""
    draws = np.random.default_rng(1)
    centres, values = draws.integers(0, side, (count, 2)), draws.integers(0, classes, count)
    grid = np.stack(np.mgrid[:side, :side], axis=-1)
    return values[((grid[:, :, None] - centres) ** 2).sum(axis=-1).argmin(axis=-1)].astype(np.uint8)


def specks(image):
    """Replace 5 % of the pixels by random classes."""
    draws = np.random.default_rng(2)
    values = np.array(image)
    chosen = draws.random(values.shape) < 0.05
    values[chosen] = draws.integers(0, 21, chosen.sum())
    return values


SOUND = {
    "two classes": lambda: ellipses(1, 2),
    "grey classes": lambda: ellipses(50, 100, 150, 200, 255),
    "many classes": lambda: ellipses(*range(1, 40)),
    "regions": lambda: points(12),
    "small regions": lambda: points(20, side=16),
    "numbers": lambda: points(150, count=150),
    "a ring of 128 around 255": lambda: np.maximum(
        np.asarray(ellipses(255)), np.asarray(ellipses(128).filter(ImageFilter.MaxFilter(5)))
    ),
    "an ignored border": lambda: np.maximum(
        np.asarray(ellipses(1, 5, 15)), 255 * (np.asarray(ellipses(1, 5, 15).filter(ImageFilter.FIND_EDGES)) > 0)
    ),
    "lines of one pixel": lambda: lines(*range(1, 20)),
    "lines of three": lambda: lines(*range(1, 20), width=3),
    "lines over areas": lambda: np.maximum(np.asarray(ellipses(9, 200)), np.asarray(lines(3, 4, 5, 100))),
    "specks": lambda: specks(ellipses(3, 9)),
    "resized with nearest": lambda: resized(ellipses(*range(1, 20)), 40, Resampling.NEAREST),
    "contours": lambda: (np.hypot(*(np.mgrid[:64, :64] - 32)) // 8).astype(np.uint8),
}


@pytest.mark.parametrize("which", SOUND)
def test_sound_masks(which):
    """Of any number of classes, however thin or small they are."""
    assert "interpolated" not in dict(rules(found(SOUND[which]())))
