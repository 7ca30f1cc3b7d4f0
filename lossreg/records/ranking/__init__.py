"""Which examples hurt: each look at an example is compared with the losses of the same time and noise level."""

from lossreg.records.ranking.rank import rank_examples, ranked, result
from lossreg.records.ranking.result import Controls, RankedDataset, RankedExample, RankedGroup, Ranking

__all__ = ["Controls", "RankedDataset", "RankedExample", "RankedGroup", "Ranking", "rank_examples", "ranked", "result"]
