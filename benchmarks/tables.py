"""The figures of a row in Markdown."""

from __future__ import annotations

from measure import Measured
from rows import Row

COLUMNS = ("loss", "ms", "times ours", "bytes kept per logit", "extra MB", "share of copy", "value")
MEMORY_SHARE = 0.7  # from this share of a copy on the memory limits a step; the rest are starts and ends of passes


def table(row: Row, measured: Measured) -> list[str]:
    """Return the row's heading, its table and its limit."""
    earlier = () if measured.before is None else ("before, ms",)
    columns = (*COLUMNS, *earlier)
    lines = [heading(row), "", f"| {' | '.join(columns)} |", "|---" + "|--:" * (len(columns) - 1) + "|"]
    ours = measured.figures[0].milliseconds
    for peer, value, ms, saved, more, share in measured.figures:
        cells = [f"{ms:.3g}", f"{ms / ours:.2f}", f"{saved:.1f}", f"{more:.1f}", f"{share:.0%}", f"{value:.5f}"]
        if not peer.loss:
            cells = [" ".join(peer.problem.replace("|", "/").split())[:160], *[""] * 5]
        if earlier:
            cells.append(f"{measured.before:.3g}" if peer.ours else "")
        lines.append(line(f"{peer.name}{f' ({peer.differs})' if peer.differs else ''}", cells))
    for name, ms in measured.variants.items():
        lines.append(line(f"ours: {name}", [f"{ms:.3g}", f"{ms / ours:.2f}", *[""] * (len(columns) - 3)]))
    return [*lines, "", limit(measured), ""]


def heading(row: Row) -> str:
    """Return the row's name, shape and type."""
    steps = f"{row.steps} steps of " if row.steps > 1 else ""
    return f"## {row.name}, {steps}{'x'.join(map(str, row.shape))}, {str(row.dtype).removeprefix('torch.')}"


def line(name: str, cells: list[str]) -> str:
    """Return a line of a table."""
    return f"| {name} | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def limit(measured: Measured) -> str:
    """Return the times of both halves, the least time by the roofline, and what limits ours."""
    ours = measured.figures[0].milliseconds
    moved = measured.must_move / 1e6
    return (
        f"Ours: forward {measured.forward:.3g} ms, backward {ours - measured.forward:.3g} ms,"
        f" {measured.python_calls} Python calls. {moved:.3g} MB must move, which takes {measured.copy:.3g} ms at the"
        f" {moved / measured.copy:.3g} GB/s of a plain copy. A step on 8x8 pixels takes {measured.tiny:.3g} ms."
        f" Limited by {binds(measured)}."
    )


def binds(measured: Measured) -> str:
    """Name what limits ours: calls, memory or instructions.

    The calls' time is that of a step on 8x8 pixels, the memory's that of a plain copy; what neither explains is the
    time of the instructions.
    """
    ours = measured.figures[0].milliseconds
    if measured.tiny >= ours / 2:
        return "the calls of Python and torch, which take most of the time even on 8x8 pixels"
    if measured.copy >= MEMORY_SHARE * ours:
        return "the memory"
    return "the instructions: neither the memory nor the calls take most of the time"
