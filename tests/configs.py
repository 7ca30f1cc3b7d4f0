"""Hypothesis strategies: valid configs from the parameters' schemas, nearly valid configs, and junk."""

from __future__ import annotations

import copy
import math

from hypothesis import strategies as st

import lossreg
from lossreg.config.resolution import parameters

text = st.text(alphabet="ab1_ é", max_size=5)
# For JSON Schema 1.0 is an integer, for validate it is not: the one intended difference. So no whole floats here.
junk_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(-1e6, 1e6).filter(lambda x: not x.is_integer()),
    st.sampled_from(["", "dice", "mean", "1e-6", "nan", "segmentation/dice", "é", "binary", "loss", "weight"]),
    text,
)
keys = st.sampled_from(["name", "params", "provider", "version", "terms", "smooth", "gamma", "weight", "loss", "x", ""])
junk = st.recursive(
    junk_leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def values(schema, depth):
    """Draw values that a parameter's schema allows."""
    if "$ref" in schema:
        return terms(schema, depth) if "properties" in schema else valid(depth - 1)
    if "anyOf" in schema:
        return st.one_of([values(part, depth) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if "prefixItems" in schema:
        return st.tuples(*(values(part, depth) for part in schema["prefixItems"])).map(list)
    if kind == "array":
        size = schema.get("minItems", 0)
        return st.lists(values(schema["items"], depth), min_size=size, max_size=size + 2)
    if kind == "number":
        above, below = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
        low = schema.get("exclusiveMinimum", schema.get("minimum", -1e6))
        high = schema.get("exclusiveMaximum", schema.get("maximum", 1e6))
        real = st.floats(low, high, exclude_min=above, exclude_max=below)
        first, last = math.ceil(low) + (above and low == int(low)), math.floor(high) - (below and high == int(high))
        return real | st.integers(first, last) if first <= last else real
    if kind == "object":
        # Only the constructor checks the meaning of keys; the validator checks names and numbers.
        return st.dictionaries(keys, values(schema["additionalProperties"], depth), max_size=3)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(10**9)), schema.get("maximum", 10**9))
    return {"boolean": st.booleans(), "null": st.none(), "string": text}[kind]


@st.composite
def terms(draw, schema, depth):
    """Draw a nested config, with or without further keys next to name and params."""
    config = draw(valid(depth - 1))
    config = {"name": config} if isinstance(config, str) else config
    for key, part in schema["properties"].items():
        if key in schema["required"] or draw(st.booleans()):
            config[key] = draw(values(part, depth))
    return config


@st.composite
def valid(draw, depth=2, extra=True):
    """Draw a valid config, complete or not, under any of a loss's names."""
    entries = [
        entry
        for entry in lossreg.losses.entries()
        if entry.owns_name and (depth > 0 or not parameters(entry)["required"])
    ]
    entry = draw(st.sampled_from(entries))
    schema = parameters(entry)
    name = draw(st.sampled_from([*entry.spellings(), entry.full_name]))
    params = {
        key: draw(values(part, depth))
        for key, part in schema["properties"].items()
        if key in schema["required"] or draw(st.integers(0, 3)) == 0
    }
    if not params and draw(st.booleans()):
        return draw(st.sampled_from([name, {"name": name}, {"name": name, "params": None}]))
    config = {"name": name, "params": params}
    if extra and draw(st.integers(0, 3)) == 0:
        config |= {"provider": entry.provider, "version": draw(st.sampled_from([lossreg.__version__, "other"]))}
    return config


def places(value, path=()):
    """Return the paths of all values in a config, its own empty path included."""
    found = [path]
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*path, key))
    return found


@st.composite
def mutated(draw):
    """Draw a valid config with one value replaced, removed, added or renamed."""
    config = copy.deepcopy(draw(valid()))
    path = draw(st.sampled_from(places(config)))
    if not path:
        return draw(junk) if not isinstance(config, dict) else config | {draw(keys): draw(junk)}
    parent = config
    for step in path[:-1]:
        parent = parent[step]
    what = draw(st.sampled_from(["replace", "remove", "rename"]))
    old = parent.pop(path[-1])
    if what == "replace":
        parent.insert(path[-1], draw(junk)) if isinstance(parent, list) else parent.update({path[-1]: draw(junk)})
    elif what == "rename" and isinstance(parent, dict):
        parent[draw(keys)] = old
    return config
