"""Random configs of any loss, valid and nearly valid, by a seeded generator: many more than Hypothesis draws."""

from __future__ import annotations

import copy
from random import Random
from typing import ClassVar

from lossreg import parts
from lossreg.parameters.scalars import INTEGER

from .configs import places

NESTED = ("segmentation/dice", "segmentation/bce")  # both take logits, so any sum of them is valid
# No whole floats: to JSON Schema 1.0 is an integer.
JUNK = (None, True, False, -1, 0, 3, 10**20, 0.5, -1e-9, 123.4, "", "x", "1e-6", "mean", "none", "auto", [], {}, [[1]])
WORDS = ("name", "params", "provider", "version", "loss", "weight", "smooth", "gamma", "reduction", "0", "x", "")


class Draw:
    """A source of configs."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def config(self, name, schema):
        """Return a valid config, as far as the schema of its parameters goes."""
        chosen = {
            key: self.value(part)
            for key, part in schema["properties"].items()
            if key in schema["required"] or self.random.random() < 0.4
        }
        return {"name": name, "params": chosen} if chosen or self.random.random() < 0.5 else {"name": name}

    def value(self, schema):
        """Return a value that a schema accepts."""
        random = self.random
        for keyword, make in self._BY_KEYWORD.items():
            if keyword in schema:
                return make(self, schema)
        kind = schema.get("type")
        if kind == "array":
            least = schema.get("minItems", 0)
            size = random.randint(least, min(least + 2, schema.get("maxItems", least + 2)))
            return [self.value(schema.get("items", {})) for _ in range(size)]
        if kind == "object":
            return {self._key(schema): self.value(schema.get("additionalProperties", {})) for _ in range(2)}
        if kind in ("number", "integer"):
            return self._number(schema, kind)
        if kind == "string":
            return "a" * max(schema.get("minLength", 0), random.randint(0, 3))
        return {"boolean": random.random() < 0.5, "null": None}.get(kind, copy.deepcopy(random.choice(JUNK)))

    def _slot(self, schema):
        role = schema["$ref"].rpartition("/")[2]
        if role == "tensor":
            rows = [[self.random.uniform(0.1, 2) for _ in range(2)] for _ in range(2)]
            return self.random.choice([rows, rows[0], rows[0][0]])
        names = NESTED if role == "loss" else parts.filter_by_tag(role)
        name = self.random.choice(names)
        beside = self._fields(schema) if "properties" in schema else {}
        return {"name": name, **beside} if beside or self.random.random() < 0.5 else name

    def _fields(self, schema):
        chosen = schema["properties"].items()
        required = schema.get("required", ())
        return {key: self.value(part) for key, part in chosen if key in required or self.random.random() < 0.5}

    def _number(self, schema, kind):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -10))
        high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 10))
        if kind == "integer":
            return self.random.randint(int(low) + ("exclusiveMinimum" in schema), int(high))
        drawn = low + (high - low) * self.random.choice([0, 1, 0.3, 0.7])
        return int(drawn) if float(drawn).is_integer() else drawn

    def _key(self, schema):
        names = schema.get("propertyNames", {})
        if "enum" in names:
            return self.random.choice(names["enum"])
        return str(self.random.randint(-3, 9)) if names else self.random.choice(WORDS)

    _BY_KEYWORD: ClassVar = {
        "$ref": _slot,
        "enum": lambda self, schema: self.random.choice(schema["enum"]),
        "const": lambda self, schema: schema["const"],
        "anyOf": lambda self, schema: self.value(self.random.choice(schema["anyOf"])),
        "prefixItems": lambda self, schema: [
            self.value(part) for part in schema["prefixItems"][: schema.get("minItems", 99) + self.random.randint(0, 1)]
        ],
        "properties": _fields,
        "pattern": lambda self, schema: "7" if schema["pattern"] == INTEGER else "0.5",
    }

    def mutated(self, config):
        """Return the config with one or two mistakes."""
        config = copy.deepcopy(config)
        for _ in range(self.random.choice([1, 1, 2])):
            config = self._mistake(config)
        return config

    def _mistake(self, config):
        path = self.random.choice(places(config))
        if not path:
            return {**config, self.random.choice(WORDS): self._junk()} if isinstance(config, dict) else self._junk()
        held = config
        for step in path[:-1]:
            held = held[step]
        key, old = path[-1], held[path[-1]]
        kind = self.random.choice(["null", "retype", "wrap", "drop", "rename", "extend", "junk", "nest", "bound"])
        if kind == "drop":
            del held[key]
        elif kind == "rename" and isinstance(held, dict):
            held[self.random.choice([*WORDS, f"{key}s", str(key)[:-1]])] = held.pop(key)
        elif kind == "extend" and isinstance(held, list):
            held.append(copy.deepcopy(old))
        else:
            held[key] = self._changed(kind, old)
        return config

    def _changed(self, kind, old):
        if kind == "null":
            return None
        if kind == "retype":
            return str(old) if not isinstance(old, str) else 1
        if kind == "wrap":
            return self.random.choice([[old], {"name": old}, {"x": old}])
        if kind == "nest":
            for _ in range(12):
                old = [old]
            return old
        if kind == "bound" and isinstance(old, (int, float)) and not isinstance(old, bool):
            return self.random.choice([-old - 1, old * 1000 + 0.123, 10**18])
        return self._junk()

    def _junk(self):
        return copy.deepcopy(self.random.choice(JUNK))
