"""The columns of a record: one example at one step."""

from __future__ import annotations

from typing import Final

VERSION: Final = 2  # of these columns; in the metadata of a shard, under VERSION_KEY. 0.1.0 wrote none.
VERSION_KEY: Final = "lossreg_schema"

# In the order of the files. Every column but `loss` and `weight` may be NULL: a missing value.
COLUMNS: Final = {
    "run": "VARCHAR",  # the job
    "rank": "INTEGER",  # the process of the job
    "step": "BIGINT",  # of the optimiser
    "epoch": "INTEGER",
    "split": "VARCHAR",  # train, val, ...
    "dataset": "VARCHAR",
    "sample_id": "VARCHAR",  # the name of the example, the same in every epoch
    "path": "VARCHAR",  # of its image
    "caption": "VARCHAR",
    "weight": "DOUBLE",  # of the row in a mean, > 0
    "loss": "DOUBLE",  # as computed: NaN and infinities are kept, and counted apart
    "condition": "DOUBLE",  # what made this look easy or hard: timestep, sigma, noise level
    "draw": "BIGINT",  # the repetition, where an evaluation computes an example several times
    "unconditional": "BOOLEAN",  # the caption was dropped
    "control": "BOOLEAN",  # a planted example that is known to be bad
}
COMPONENT: Final = "loss_"  # one more column for each part of the loss: loss_dice, DOUBLE, NULL where it does not split
# A column with another name is the user's own. The view of the records has it under its name behind this prefix, so
# that no name of a query can be that of a user.
OWN: Final = "own_"
OWN_KINDS: Final = {"O": "VARCHAR", "b": "BOOLEAN", "i": "BIGINT", "f": "DOUBLE"}  # by the kind of the array
SUFFIX: Final = ".parquet"
