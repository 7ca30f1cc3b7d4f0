"""The ranking of examples in NumPy, one look after the other: written from its description, not from its SQL."""

import math
from bisect import bisect_right
from collections import defaultdict

import numpy as np

CELL, WINDOWS, BINS, FEW = 128, 2048, 20, 16


def rank(rows, together=False):
    """The groups by (run, split), and the examples by (run, split, dataset, name), of rows with all columns."""
    rows = once([row for row in rows if math.isfinite(row["loss"])])
    place(rows, ("run", "split", "unconditional", "draw"), "window", binned=True)
    place(rows, ("run", "split", "dataset"), "window_ds", binned=False)
    by_bin = grouped(rows, lambda row: row["part"] + (row["bin"],))
    for members in by_bin.values():
        standardise(members)
    for members in grouped(rows, lambda row: row["part"]).values():
        if members[0]["timeless"]:
            compare(members, "window_t")
    for members in grouped(rows, lambda row: (row["run"], row["split"], row["dataset"])).values():
        within_dataset(members)
    groups = grouped(rows, lambda row: (None, None) if together else (row["run"], row["split"]))
    found = {key: judge(members) for key, members in groups.items()}
    numbers = {key: one for key, (one, _) in found.items()}
    return numbers, {(*key, *name): one for key, (_, some) in found.items() for name, one in some.items()}


def once(rows):
    """Equal rows of a step count once."""
    return [dict(items) for items in {tuple(sorted(row.items(), key=lambda item: item[0])): 0 for row in rows}]


def grouped(rows, by):
    found = defaultdict(list)
    for row in rows:
        found[by(row)].append(row)
    return found


def place(rows, scope, name, binned):
    """The window of each row: consecutive rows of its part, enough for about 128 in each bin."""
    for key, members in grouped(rows, lambda row: tuple(row[one] for one in scope)).items():
        edges = edges_of([row["condition"] for row in members]) if binned else []
        windows = min(WINDOWS, max(1, len(members) // (CELL * (len(edges) + 1))))
        times = sorted((row["epoch"], row["step"]) for row in members)
        unbinned = min(WINDOWS, max(1, len(members) // CELL))
        for row in members:
            before = bisect_right(times, (row["epoch"], row["step"])) - 1
            row[name] = before * windows // len(members)
            if binned:
                row["timeless"], row["window_t"] = bool(edges) and windows == 1, before * unbinned // len(members)
                row["part"] = key
                missing = row["condition"] is None
                row["bin"] = -1 if missing and edges else sum(edge <= row["condition"] for edge in edges)


def edges_of(conditions):
    known = [value for value in conditions if value is not None]
    bins = max(1, min(BINS, len(known) // CELL))
    twentieths = [number * BINS // bins for number in range(1, bins)]
    edges = {sorted(known)[-(-twentieth * len(known) // BINS) - 1] for twentieth in twentieths}
    return sorted(edge for edge in edges if edge > min(known))


def to_whole(value):
    """The nearest whole number; halves go away from 0."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def spread_of(values):
    q = np.quantile(values, [0.05, 0.25, 0.75, 0.95])
    found = [(q[2] - q[1]) / 1.349, (q[3] - q[0]) / 3.29, (max(values) - min(values)) / 5.2]
    return next((float(one) for one in found if one > 0), 0.0)


def cells(members, value, window):
    """Middle, spread and rows of each window; those of few rows have the middle and spread over all time."""
    everything = [row[value] for row in members]
    made = {}
    for key, some in grouped(members, lambda row: row[window]).items():
        values = [row[value] for row in some]
        enough = len(values) >= FEW
        mine = values if enough else everything
        made[key] = (float(np.median(mine)), spread_of(mine), len(values) if enough else 0)
    return made


def standardise(members):
    made = cells(members, "loss", "window")
    counted = sum(rows for *_, rows in made.values())
    usual = sum(spread * rows for _, spread, rows in made.values()) / counted if counted else 0
    for row in members:
        middle, spread, _ = made[row["window"]]
        row["z"] = (row["loss"] - middle) / (spread or usual or 1)
        row["weight"] = max(1, to_whole((min(1, spread / usual) if usual else 1) * 1024))


def compare(members, window):
    """The rest at a time, in the spread of that: of rows whose bins know no time."""
    made = cells(members, "z", window)
    for row in members:
        middle, spread, _ = made[row[window]]
        row["z"] = (row["z"] - middle) / (spread or 1)


def within_dataset(members):
    made = cells(members, "z", "window_ds")
    for row in members:
        middle, spread, _ = made[row["window_ds"]] if len(members) >= FEW else (0, 1, 0)
        row["k"] = to_whole(math.asinh((row["z"] - middle) / (spread or 1)) * 2**20)


def judge(rows):
    """The numbers of a group, and its examples."""
    by_example = grouped(rows, lambda row: (row["dataset"], row["sample_id"]))
    every_loss = {key: [row["loss"] for row in every] for key, every in by_example.items()}
    draws = [some for every in by_example.values() for some in grouped(every, lambda row: row["draw"]).values()]
    several = [[row["loss"] for row in some] for some in draws if len(some) > 1]
    fixed = bool(several) and sum(np.ptp(some) <= 1e-6 * max(map(abs, some)) for some in several) >= 0.9 * len(several)
    if fixed:
        for key, every in by_example.items():
            by_example[key] = [some[0] for some in grouped(every, lambda row: row["draw"]).values()]
    looks = {key: len(every) for key, every in by_example.items()}
    weight = {key: sum(row["weight"] for row in every) for key, every in by_example.items()}
    mean = {k: to_whole(sum(r["weight"] * r["k"] for r in v) / weight[k]) / 2**20 for k, v in by_example.items()}
    scatter = {
        key: sum(row["weight"] * (row["k"] / 2**20) ** 2 for row in every)
        - sum(row["weight"] * row["k"] / 2**20 for row in every) ** 2 / weight[key]
        for key, every in by_example.items()
    }
    n, total = len(looks), sum(looks.values())
    scores = np.array(list(mean.values()))
    share = {k: sum(row["weight"] ** 2 for row in every) / weight[k] ** 2 for k, every in by_example.items()}
    inverse = float(np.mean(list(share.values())))
    grand, variance, high = scores.mean(), scores.var(), np.quantile(scores, 0.95)
    free = sum(weight[key] * (1 - share[key]) for key in weight)
    within = sum(scatter.values()) / free if total > n else None
    between = None if within is None else max(0, variance - within * inverse)
    noise = None if within is None else between + within * inverse
    reliability = between / noise if noise else None
    alike = max(share.values()) <= 1.5 * min(share.values())
    made = {}
    for key, every in by_example.items():
        losses = every_loss[key]
        own = between / (between + within * share[key]) if within is not None and between + within else 0
        shrunk = grand + own * (mean[key] - grand)
        verdict = "high, but not seen enough" if variance > 0 and mean[key] >= high else ""
        if reliability is not None and looks[key] >= 3:
            bar = grand + math.sqrt(reliability) * (high - grand)
            if shrunk - 1.645 * math.sqrt(within * share[key] * own) > bar:
                verdict = "surely among the hardest 5 %"
        made[key] = {
            "looks": looks[key],
            "score": mean[key] if alike else shrunk,
            "error": None if within is None else math.sqrt(within * share[key] * (1 if alike else own)),
            "deviation": math.sqrt(max(0, scatter[key]) / weight[key]) if len(every) > 1 else 0.0,
            "mean": math.fsum(losses) / len(losses),
            "verdict": verdict,
        }
    return {"examples": n, "looks": total / n, "reliability": reliability}, made
