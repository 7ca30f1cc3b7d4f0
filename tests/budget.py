"""The number of examples per property: few in `make test` and `make test-all`, more in `make test-long`."""

import os

LONGER = os.environ.get("LOSSREG_SEARCH") == "long"


def examples(few: int, many: int) -> int:
    """Return the number of examples that Hypothesis draws, or the seconds of another search."""
    return many if LONGER else few
