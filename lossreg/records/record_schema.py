"""The columns of a record: what is known of one example at one step."""

from __future__ import annotations

from typing import Final

# In the order of the files. Every column but `loss` and `weight` may be NULL, where it was not said.
COLUMNS: Final = {
    "run": "VARCHAR",  # the job
    "rank": "INTEGER",  # the process of it
    "step": "BIGINT",  # of the optimiser
    "epoch": "INTEGER",
    "split": "VARCHAR",  # train, val, ...
    "dataset": "VARCHAR",
    "sample_id": "VARCHAR",  # what the example is called, the same in every epoch
    "path": "VARCHAR",  # of its image
    "caption": "VARCHAR",
    "weight": "DOUBLE",  # how much the row counts in a mean, > 0
    "loss": "DOUBLE",  # as computed: NaN and infinities are kept, and counted apart
}
COMPONENT: Final = "loss_"  # one more column for each part of the loss: loss_dice, DOUBLE, NULL where it does not split
SUFFIX: Final = ".parquet"
