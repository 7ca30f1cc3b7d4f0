"""Images whose mask lies in colours, in an alpha channel or in a palette."""

import pytest

from lossreg.health.targets import examine
from lossreg.health.targets.report import Coloured

from .masks import Image, disc, message, np, read, rules

BLACK, RED, GREEN = (0, 0, 0), (200, 0, 0), (0, 128, 0)


def coloured(*colours, mode="RGB"):
    """Make an image of 10 * 10 pixels, ten of each colour and the rest black."""
    image = Image.new("RGB", (10, 10))
    for row, colour in enumerate(colours):
        image.paste(colour, (0, row, 10, row + 1))
    return image.convert(mode)


def of_folder(folder, **options):
    return examine(read(folder), **options)


def test_colour_coded_masks_beside_black_ones(tmp_path):
    """18 of 40 are empty, not all; the error is that the classes are colours, and names them."""
    for number in range(40):
        coloured(*[RED, GREEN][: number % 2 + 1] if number < 22 else []).save(tmp_path / f"{number:02}.png")
    report = of_folder(tmp_path)
    assert (report.masks, report.coloured, report.empty, report.unreadable) == (40, 22, 18, 0)
    assert rules(report) == [("coloured", "error"), ("reading", "note")]
    assert message(report, "coloured") == (
        "colour-coded masks, whose classes are colours (#000000, #c80000, #008000): 22; save the class index of each"
        " pixel instead, with 0 for the background (one channel, or a palette)"
    )
    assert report.failed


def test_the_advice_of_colour_coded_masks_leads_to_classes(tmp_path):
    """Class indices of the colours are fine."""
    image = np.asarray(coloured(RED, GREEN))
    classes = (image == RED).all(axis=-1) + 2 * (image == GREEN).all(axis=-1)
    Image.fromarray(classes.astype(np.uint8)).save(tmp_path / "a.png")
    assert of_folder(tmp_path).findings == ()


def test_a_mask_of_one_colour_or_with_transparency(tmp_path):
    """All red is no background; RGBA with a constant alpha is as RGB."""
    Image.new("RGB", (4, 4), RED).save(tmp_path / "a.png")
    coloured(RED, mode="RGBA").save(tmp_path / "b.png")
    assert read(tmp_path) == [Coloured("a.png", ("#c80000",)), Coloured("b.png", ("#000000", "#c80000"))]


def test_photographs_and_compressed_colours(tmp_path):
    """Over 256 colours are no classes."""
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    report = of_folder(tmp_path)
    assert rules(report) == [("many colours", "error")]
    assert message(report, "many colours") == (
        "coloured images of more than 256 colours, like photographs and colour-coded masks that were interpolated or"
        " compressed: 1; check that the path is that of the masks; make masks again from the originals, resize them"
        " with nearest and save the class index of each pixel as PNG"
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_alpha_channel(tmp_path, mode):
    """It is read there, with a warning: a loader that drops it sees an empty mask."""
    for number in range(3):
        image = Image.new(mode, (10, 10))
        image.putalpha(Image.fromarray(disc(ones=30, value=255)))
        image.save(tmp_path / f"{number}.png")
    report = of_folder(tmp_path)
    assert (report.empty, report.foreground) == (0, 0.3)
    assert rules(report) == [("scaled", "warning"), ("alpha", "warning")]
    assert message(report, "alpha") == (
        "masks in the alpha channel of images of one colour, which look empty or full to a loader that drops it: 3;"
        " save the alpha channel alone: Image.open(path).getchannel('A')"
    )
    with Image.open(tmp_path / "0.png") as image:  # the advice
        assert (np.asarray(image.getchannel("A")) == disc(ones=30, value=255)).all()


def test_a_mask_beside_an_alpha_channel(tmp_path):
    """Where both vary, the mask is the grey one."""
    image = Image.fromarray(disc(ones=30))
    image.putalpha(Image.fromarray(disc(ones=50, value=255)))
    image.save(tmp_path / "a.png")
    (found,) = read(tmp_path)
    assert int((found.values > 0).sum()) == 30
    assert found.note == "the alpha channel is ignored"


def paletted(values, *colours):
    image = Image.fromarray(values)
    image.putpalette([part for colour in colours for part in colour])
    return image


def test_a_palette_is_named_with_its_colours(tmp_path):
    """Its indices are the classes, if all masks have the same palette."""
    for number in range(3):
        paletted(disc(ones=5, value=number), BLACK, RED, GREEN).save(tmp_path / f"{number}.png")
    report = of_folder(tmp_path)
    assert rules(report) == [("reading", "note")]
    assert report.findings[0].examples[2] == "2.png: palette indices are the values: 0 is #000000, 2 is #008000"


def test_palettes_that_differ(tmp_path):
    """As of images saved with the colours that each has: 1 is red here and green there, and no class."""
    paletted(disc(ones=5), BLACK, RED).save(tmp_path / "a.png")
    paletted(disc(ones=5), BLACK, GREEN).save(tmp_path / "b.png")
    report = of_folder(tmp_path)
    assert message(report, "palettes") == (
        "masks in whose palette a value has another colour than elsewhere, so that the value is not the class: 1; save"
        " the class index of each pixel, with the same palette in all files"
    )
    assert report.findings[0].examples == ("b.png: value 1 is #008000, elsewhere #c80000",)


def test_a_palette_whose_background_is_another_value(tmp_path):
    """Red is 0 and black 1, so the foreground is the background."""
    paletted(disc(ones=95), RED, BLACK).save(tmp_path / "a.png")
    report = of_folder(tmp_path)
    assert message(report, "palette order") == (
        "masks in whose palette 0 is not black, but another value is: 1; check that 0 is the background"
    )
    assert report.findings[0].examples == ("a.png: value 0 is #c80000, value 1 is black",)


def test_arrays_with_colours_last(tmp_path):
    """(N, H, W, 3) and (H, W, 3) are coloured images, or grey ones with three equal channels, not planes."""
    images = np.stack([np.asarray(coloured(RED)), np.asarray(coloured()), np.asarray(coloured((7, 7, 7)))])
    np.save(tmp_path / "a.npy", images)
    report = of_folder(tmp_path)
    assert (report.masks, report.coloured, report.empty) == (3, 1, 1)
    assert report.values[-1][:2] == (7, 1)
    assert rules(report)[0] == ("coloured", "error")
