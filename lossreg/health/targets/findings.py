"""Findings about targets: the problem and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lossreg.health.targets.problems import Problems
from lossreg.health.targets.report import Severity, TargetFinding, TargetReport
from lossreg.health.targets.value_findings import of_values

SOME: Final = 0.01  # share of the masks; a problem that may be a mistake of one is a warning below it
MOST_SHOWN: Final = 8  # classes and colours in a message

# Problems of single masks: severity, None if it depends on their number; description; remedy.
_OF_MASKS: Final[dict[str, tuple[Severity | None, str, str]]] = {
    "coloured": (
        None,
        "colour-coded masks, whose classes are colours",
        "save the class index of each pixel instead, with 0 for the background (one channel, or a palette)",
    ),
    "many colours": (
        None,
        "coloured images of more than 256 colours, like photographs and colour-coded masks that were interpolated or"
        " compressed",
        "check that the path is that of the masks; make masks again from the originals, resize them with nearest and"
        " save the class index of each pixel as PNG",
    ),
    "size": (
        "error",
        "masks of another size than their image",
        "resize them with nearest to the size of the image, if they show the same part of it",
    ),
    "rotated": (
        "error",
        "masks of images whose EXIF data hold a rotation, which most loaders leave out",
        "rotate the images once and for all: PIL.ImageOps.exif_transpose(image).save(path)",
    ),
    "no image": (
        "warning",
        "masks without an image of their name",
        "check --images and the names; the frames of a video are in a folder of its name",
    ),
    "no mask": (
        "warning",
        "images without a mask of their name",
        "check the path and the names; a loader that fills them with zeros teaches the model to predict nothing",
    ),
    "unreadable image": ("warning", "unreadable images", "repair or remove them, or training will stop there"),
    "alpha": (
        "warning",
        "masks in the alpha channel of images of one colour, which look empty or full to a loader that drops it",
        "save the alpha channel alone: Image.open(path).getchannel('A')",
    ),
    "palettes": (
        "warning",
        "masks in whose palette a value has another colour than elsewhere, so that the value is not the class",
        "save the class index of each pixel, with the same palette in all files",
    ),
    "palette order": (
        "warning",
        "masks in whose palette 0 is not black, but another value is",
        "check that 0 is the background",
    ),
    "unreadable": ("warning", "unreadable targets", "repair or remove them, or training will stop there"),
    "missing": (
        "warning",
        "samples without a mask, which count as empty",
        "leave them out: a loader that fills them with zeros teaches the model to predict nothing",
    ),
    "nan": ("warning", "masks with NaN, which makes the loss NaN", "replace it, or ignore these pixels"),
    "infinite": ("warning", "masks with infinities, which make the loss infinite or NaN", "replace them"),
    "negative": (
        "warning",
        "masks with values below 0, which count as background here",
        "if they mark pixels to ignore, pass --ignore-index",
    ),
    "non-integer": (
        "warning",
        "masks with fractions, which count as foreground here if they are above 0",
        "resize masks without interpolation (nearest), or use a loss for soft targets",
    ),
    "many values": (
        "warning",
        "masks with more than 64 values each, like photographs and numbered objects",
        "check that the path is that of the masks; for foreground alone, replace every number above 0 by 1",
    ),
    "ignored": (
        "warning",
        "masks without a valid pixel: all are ignored or not finite",
        "leave them out, because there is nothing to learn from them",
    ),
    "reading": ("note", "masks that are not plain images of one channel", "check how they were read"),
}


def findings(report: TargetReport, problems: Problems) -> tuple[TargetFinding, ...]:
    """Return all findings, the worst first.

    Args:
        report: the statistics, without findings.
        problems: those of single masks.
    """
    found = [*_of_all(report)]
    found += [_interpolated(report, problems)] if problems.counts["interpolated"] else of_values(report)
    for rule, (severity, description, remedy) in _OF_MASKS.items():
        if count := problems.counts[rule]:
            if rule == "coloured":
                colours = ", ".join(colour for colour, _ in problems.colours.most_common(MOST_SHOWN))
                description = f"{description} ({colours})"
            message = f"{description}: {count:,}; {remedy}"
            severity = severity or _severity(count, report)
            found.append(TargetFinding(rule, severity, message, count, tuple(problems.examples[rule])))
    order: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _severity(count: int, report: TargetReport) -> Severity:
    return "error" if count > SOME * report.masks else "warning"


def _interpolated(report: TargetReport, problems: Problems) -> TargetFinding:
    """Return the finding about interpolated and compressed masks, with the classes that they had before."""
    count = problems.counts["interpolated"]
    classes = sorted(value for value, masks in problems.classes.items() if 10 * masks > count)
    if len(classes) == 2 and classes[0] == 0:
        between = f"0 and {classes[1]:g}"
        remedy = f"threshold at {(classes[1] + 1) // 2:g}, resize with nearest"
    else:
        between = "the classes, which may be " + ", ".join(f"{value:g}" for value in classes[:MOST_SHOWN]) + ","
        remedy = "make the masks again from the originals, resize with nearest"
    message = (
        f"masks that were resized with interpolation or saved with compression, such as JPEG: {count:,}; between"
        f" {between} lie values that mean nothing and count as foreground here; {remedy}, and save as PNG"
    )
    return TargetFinding(
        "interpolated", _severity(count, report), message, count, tuple(problems.examples["interpolated"])
    )


def _of_all(report: TargetReport) -> Iterator[TargetFinding]:
    """Yield findings about all masks together: none, mostly empty, mostly full."""
    masks, empty, full = report.masks, report.empty, report.full
    name = "rows" if report.flags else "masks"
    if masks == 0:
        reason = "none is readable" if report.unreadable else "there are no targets"
        yield TargetFinding("no masks", "error", f"no mask to learn from: {reason}; check the path and the files", 0)
    elif empty == masks:
        message = (
            f"all {masks:,} {name} are empty: a model learns to predict nothing, and the loss goes to 0; check that the"
            " annotations are found (their paths, which samples have any, the value of the foreground) before training"
        )
        yield TargetFinding("all empty", "error", message, empty)
    elif report.ignored == masks:
        message = f"all {masks:,} masks have no valid pixel; check --ignore-index and how the masks are made"
        yield TargetFinding("all ignored", "error", message, masks)
    elif 2 * empty > masks:
        message = (
            f"{empty:,} of {masks:,} {name} ({empty / masks:.1%}) are empty: a model may collapse to predicting"
            " nothing; if annotations are missing, leave these samples out (or absent='ignore' in losses that have"
            " it); if the samples are really empty, sample examples with foreground more often; train with a"
            " LossMonitor"
        )
        yield TargetFinding("mostly empty", "warning", message, empty)
    if 2 * full > masks:
        message = (
            f"{full:,} of {masks:,} masks ({full / masks:.1%}) are full, without any background; check that the"
            " background is 0 and that masks are not inverted"
        )
        yield TargetFinding("mostly full", "warning", message, full)
