"""How long properties are searched: a little by `make test`, longer by `make test-all`."""

import os

LONGER = os.environ.get("LOSSREG_SEARCH") == "long"


def examples(few: int, many: int) -> int:
    """Return how many examples Hypothesis draws."""
    return many if LONGER else few
