"""Rules for captions: their limits, the tokens that they flag, and which of them apply."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lossreg.errors import InputError
from lossreg.messages import did_you_mean, printable

RULES = ("empty", "short", "long", "repeated_tokens", "suspicious_tokens", "duplicates")


@dataclass(frozen=True)
class CaptionRules:
    """Rules that flag captions.

    A token is a run of letters, marks and digits of any script, in lower case: "nan" is not in "banana". Chinese,
    Japanese, Thai, Lao, Khmer, Burmese and Tibetan have no spaces between words: there, every character is a token, so
    that `short`, `long` and `repeated` count characters.

    Args:
        short: flag fewer tokens than this; >= 0.
        long: flag more tokens than this; >= 0. CLIP reads 75.
        repeated: flag a token that occurs this often in a row; >= 2.
        suspicious: flag these tokens. Each is one token in lower case, as above.
        rules: the rules that apply, of empty, short, long, repeated_tokens, suspicious_tokens and duplicates.
    Raises:
        InputError: a value out of range, or no list of texts.
    """

    short: int = 3
    long: int = 75
    repeated: int = 3
    suspicious: tuple[str, ...] = (
        "nan", "none", "null", "undefined", "todo", "fixme", "tbd", "placeholder", "untitled", "lorem", "ipsum",
    )  # fmt: skip
    rules: tuple[str, ...] = RULES

    def __post_init__(self) -> None:
        for name, least in (("short", 0), ("long", 0), ("repeated", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
                raise InputError(f"{name} must be an integer >= {least}, got {value!r:.80}")
        for name in ("suspicious", "rules"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for token in self.suspicious:
            if token != token.lower() or not re.fullmatch(r"[^\W_]+", token):
                raise InputError(f"suspicious: {token!r:.80} is not a token; expected letters and digits in lower case")
        if unknown := [rule for rule in self.rules if rule not in RULES]:
            raise InputError(f"rules: unknown rule {unknown[0]!r:.80}; the rules are {', '.join(RULES)}")

    @classmethod
    def of(cls, given: CaptionRules | Mapping[str, Any] | None) -> CaptionRules:
        """Make rules from rules, from a mapping of their fields, or from None: the default rules.

        Raises:
            InputError: it is none of these, or has an unknown field.
        """
        if given is None or isinstance(given, CaptionRules):
            return given or cls()
        if not isinstance(given, Mapping):
            raise InputError(f"heuristics must be CaptionRules, a mapping of their fields, or None, got {given!r:.80}")
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                hint = did_you_mean(str(name), names, otherwise=f"the fields are {', '.join(names)}")
                raise InputError(f"heuristics: unknown field {printable(repr(name)):.80}; {hint}")
        return cls(**given)


def _texts(name: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} must be a list of texts, got {given!r:.80}")
    texts = tuple(given)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise InputError(f"{name} must be a list of texts, got {wrong[0]!r:.80} in it")
    return texts
