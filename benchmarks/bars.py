"""The bars of a row, each met or missed."""

from __future__ import annotations

import torch
from measure import Figures, Measured
from rows import EXTRA_BAR, KEPT_BAR, Bar, Row
from variants import KINDS


def judge(row: Row, measured: Measured, device_type: str) -> list[str]:
    """Return a line for each bar of the row."""
    found = [*speed(row, measured, device_type), *variants(measured), *memory(row, measured.figures[0])]
    if row.share:
        least, share = row.share[device_type == "cuda"], measured.figures[0].share
        found.append((share >= least, f"{share:.0%} of a plain copy (at least {least:.0%})"))
    if row.python_calls:
        count = measured.python_calls
        found.append((count <= row.python_calls, f"{count} Python calls a step (at most {row.python_calls})"))
    return [f"- {row.name}: {'met' if met else 'MISSED'}: {text}" for met, text in found]


def speed(row: Row, measured: Measured, device_type: str) -> list[tuple[bool, str]]:
    """Judge the time beside that of the peers."""
    ours, *others = measured.figures
    bars = [(bar, bar.cuda if device_type == "cuda" else bar.cpu) for bar in row.bars]
    return [faster(bar, others, ours, least) for bar, least in bars if least is not None]


def faster(bar: Bar, others: list[Figures], ours: Figures, least: float) -> tuple[bool, str]:
    """Return True if ours is as much faster than the bar's peers as required, and the text; False if no peer ran."""
    ran = [other for other in others if other.peer.loss and any(word in other.peer.name for word in bar.words)]
    if not ran:
        return False, f"no peer of {', '.join(bar.words)} ran"
    fastest = min(ran, key=lambda other: other.milliseconds)
    ratio = fastest.milliseconds / ours.milliseconds
    return ratio >= least, f"{ratio:.2f} times as fast as {fastest.peer.name} (at least {least:.2g})"


def variants(measured: Measured) -> list[tuple[bool, str]]:
    """Judge the other ways to run ours by the time of the usual step."""
    usual = measured.figures[0].milliseconds
    found = [(name, milliseconds / usual, KINDS[name].at_most) for name, milliseconds in measured.variants.items()]
    return [
        (ratio <= most, f"{name} takes {ratio:.2f} times as long (at most {most:g})") for name, ratio, most in found
    ]


def memory(row: Row, ours: Figures) -> list[tuple[bool, str]]:
    """Judge the memory of a loss over sums."""
    found = []
    if row.on_sums and row.dtype == torch.float32:
        kept = round(ours.kept, 1)  # the few sums per mask come on top of the bytes per logit
        found.append((kept <= KEPT_BAR, f"{kept} bytes kept per logit (at most {KEPT_BAR:g})"))
    if row.on_sums:
        met = ours.extra <= EXTRA_BAR
        found.append((met, f"{ours.extra:.1f} MB extra at the peak (at most {EXTRA_BAR:g})"))
    return found
