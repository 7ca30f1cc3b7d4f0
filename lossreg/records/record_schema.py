"""The columns of a record: one example at one step."""

from __future__ import annotations

from typing import Final

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
}
COMPONENT: Final = "loss_"  # one more column for each part of the loss: loss_dice, DOUBLE, NULL where it does not split
SUFFIX: Final = ".parquet"
