"""Targets that read files and text of a user: configs and tag expressions."""

from __future__ import annotations

import re
from pathlib import Path

import lossreg
from lossreg.registry import tag_expression

from .target import Target

YAML = [b"name: dice\n", b"name: weighted_sum\nparams:\n  terms:\n    - {name: dice, weight: 2}\n    - focal\n"]
YAML += [b"a: &x {smooth: 1.0}\nname: dice\nparams: {<<: *x}\n", b"- 1e-6\n- 010\n- 1:30\n- ~\n- 2024-01-01\n"]
TOML = [b'name = "dice"\n[params]\nsmooth = 1.0\n', b'name = "product"\n[params]\nterms = ["dice", {name = "bce"}]\n']
JSON = [b'{"name": "dice", "params": {"smooth": 1.0}}', b'{"name": "product", "params": {"terms": ["dice", null]}}']
TAGS = [b"segmentation & (binary | multilabel) & !experimental", b"!a|b&!(c)", b"((a)) & | !"]


def config_file(folder: Path, suffix: str, seeds: list[bytes]) -> Target:
    """Read a config file of any bytes, and validate it."""
    path = folder / f"config{suffix}"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        lossreg.validate(lossreg.read_config(path))

    words = [
        b"name",
        b"params",
        b"terms",
        b"weight",
        b"dice",
        b"!!python/name:os.system",
        b"&a",
        b"*a",
        b"<<",
        b"1e999",
    ]
    return Target(
        run, seeds, [*words, b": ", b"- ", b"{", b"}", b"[", b"]", b'"', b"\n", b"  ", b"\xef\xbb\xbf", b"..."]
    )


def tags(folder: Path) -> Target:
    """Compare a tag expression's value with that of Python's `and`, `or` and `not`."""

    def run(data: bytes) -> None:
        expression = data.decode("utf-8", "replace")
        test = tag_expression.parse(expression)
        names = re.findall(r"[\w.\-]+", expression)
        for chosen in ({*names}, {*names[::2]}, {*names[:1]}, set()):
            text = re.sub(r"[\w.\-]+", lambda name: str(name[0] in chosen), " ".join(expression.split()))  # noqa: B023
            text = text.replace("&", " and ").replace("|", " or ").replace("!", " not ")
            assert test(chosen) == eval(text), f"{expression!r} of {chosen}"

    return Target(run, TAGS, [b"&", b"|", b"!", b"(", b")", b" ", b"a", b"b.c", b"d-e"])
