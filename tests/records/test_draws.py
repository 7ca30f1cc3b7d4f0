"""Draws of an evaluation: conditions, noise, seeds, rows and errors."""

import json
import math
from statistics import NormalDist

import pytest
import torch

duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")

from torch.utils.data import DataLoader  # noqa: E402

from lossreg import InputError  # noqa: E402
from lossreg.records import Draw, evaluate_dataset, run_dataset_evaluation  # noqa: E402
from lossreg.records.evaluation.draws import make_draws  # noqa: E402

OFFSET = 0x402DB780D8E19 / 2**52 + 0.5 / 2**52  # of seed 0: the first 52 bits of `printf '0:' | b2sum -l 64`


def denoised(batch, draw):
    """The loss of a model that predicts no noise: the mean square of the noise."""
    noise = draw.noise(batch, like=torch.zeros(len(batch), 2, 3))
    return {"loss": noise.square().mean((1, 2)), "sample_id": batch, "loss_unconditional": noise.mean((1, 2))}


def rows(tmp_path, compute, batches, job="job", **options):
    """The rows of an evaluation, by (sample_id, draw)."""
    run_dataset_evaluation(compute, batches, job_name=job, step=1, out_dir=tmp_path, **options)
    query = (
        "SELECT sample_id, draw, condition, loss, loss_unconditional"
        f" FROM read_parquet('{tmp_path}/{job}_000000001.records/*.parquet')"
    )
    return {row[:2]: row[2:] for row in duckdb.sql(query).fetchall()}


def test_every_example_has_the_same_strata(tmp_path):
    """The interval in four equal parts, one offset for all; draw and condition stand in the rows."""
    found = rows(tmp_path, denoised, [["a", "b"], ["c"]], draws=4, conditions=(0, 1000))
    assert len(found) == 12
    for (_, draw), (condition, *_) in found.items():
        assert condition == pytest.approx(1000 * (draw + OFFSET) / 4, rel=1e-12)


def test_the_conditions_are_those_of_the_sampler():
    """The quantile function of a logit-normal sampler, at the same shares as an interval; an integer stays one."""
    spread = NormalDist(0, 1)
    draws = make_draws(3, "own", lambda share: 1 / (1 + math.exp(-spread.inv_cdf(share))), 0)
    expected = [torch.special.ndtri(torch.tensor((k + OFFSET) / 3, dtype=torch.float64)).sigmoid() for k in range(3)]
    assert [draw.condition for draw in draws] == pytest.approx([value.item() for value in expected], rel=1e-9)
    steps = make_draws(4, "own", lambda share: torch.tensor(share * 1000).long(), 0)
    assert [draw.condition for draw in steps] == [62.0, 312.0, 562.0, 812.0]


def test_another_seed_has_other_conditions_and_noise():
    """The offset of seed 3 is that of its hash."""
    first, second = (make_draws(2, "own", (0, 1), seed)[0] for seed in (0, 3))
    assert second.condition == pytest.approx(0x2B162BA9A91A4 / 2**52 / 2, rel=1e-12)
    assert first.condition != second.condition
    assert not torch.equal(first.noise(["a"], torch.zeros(1, 4)), second.noise(["a"], torch.zeros(1, 4)))


def test_a_seed_is_the_hash_of_seed_draw_and_name():
    """As b2sum -l 64 of "seed:draw:name" has it, without the last bit, so that no later version draws others."""
    first, second = make_draws(2, "own", None, 0)
    assert first.seeds(["a"]) == [0x9B89E6801C75D3D2 >> 1]
    assert second.seeds(["a"]) == [0xA328749F08AF4075 >> 1]
    assert make_draws(2, "common", None, 7)[1].seeds(["a", "b"]) == [0x7EBB196DD8548F64 >> 1] * 2
    expected = torch.randn(5, generator=torch.Generator().manual_seed(0x9B89E6801C75D3D2 >> 1))
    assert torch.equal(first.noise(["a"], like=torch.zeros(1, 5))[0], expected)


def test_batches_order_and_ids_of_any_kind_have_the_same_losses(tmp_path):
    """Two and three to a batch, backwards; integers, texts, tensors: to the bit, and again in the next evaluation."""
    first = rows(tmp_path, denoised, [[0, 1], [2]], draws=2, conditions=(0, 1))
    for batches in ([["2", "1", "0"]], [torch.tensor([1, 2]), torch.tensor([0])]):
        assert rows(tmp_path, denoised, batches, draws=2, conditions=(0, 1)) == first
    assert len({loss for _, loss, _ in first.values()}) == 6


def test_the_actors_of_ray_have_the_same_draws(tmp_path):
    """Of a part and of a batch of a stream: a table has all draws of its examples, so that a killed job loses none."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'lossreg[ray]'")
    import numpy as np

    from lossreg.records.evaluation.ray_data import _RowsOfBatch, _RowsOfPart

    def of_stream(batch, draw):
        return denoised(batch["sample_id"], draw)

    draws, names = make_draws(2, "own", (0, 1), 0), list("abcde")
    part = _RowsOfPart(denoised, None, {"run": "job"}, draws, {"dataset": names, "batch_size": 2}, 4)
    stream = _RowsOfBatch(of_stream, None, {"run": "job"}, frozenset("d"), draws)
    tables = [*part({"part": np.array([0])}), *stream({"sample_id": np.array(["d", "e"])})]
    assert [table["rows"][0].as_py() for table in tables[:1]] == [8]
    assert [len(table) for table in tables] == [8, 2]
    found = {
        (row["sample_id"], row["draw"]): (row["condition"], row["loss"], row["loss_unconditional"])
        for table in tables
        for row in table.to_pylist()
    }
    assert found == rows(tmp_path, denoised, [names], draws=2, conditions=(0, 1))


def test_common_noise_is_one_for_all_in_pairs_of_opposite_signs(tmp_path):
    """Two draws share a condition; their noise sums to 0."""
    found = rows(tmp_path, denoised, [["a", "b"]], draws=4, noise="common", conditions=(0, 1))
    for draw in range(4):
        assert found["a", draw] == found["b", draw]
        assert found["a", draw][0] == pytest.approx((draw // 2 + OFFSET) / 2, rel=1e-12)
    (_, plus, mean), (_, minus, opposite) = found["a", 0], found["a", 1]
    assert (plus, mean) == (minus, -opposite)
    assert plus != found["a", 2][1]


def test_noise_is_normal_and_as_the_images_are():
    """Mean 0, variance 1, no correlation between examples; dtype and shape of the images."""
    noise = Draw(0).noise(range(200), like=torch.zeros(200, 50, 10, dtype=torch.float64))
    assert (noise.dtype, noise.shape) == (torch.float64, (200, 50, 10))
    assert abs(noise.mean()) < 0.02
    assert noise.var() == pytest.approx(1, abs=0.02)
    each = torch.corrcoef(noise.flatten(1)) - torch.eye(200)
    assert each.abs().max() < 0.25
    assert Draw(0).noise(["a"], like=torch.zeros(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert Draw(0).noise([], like=torch.zeros(0, 3)).shape == (0, 3)


def test_the_result_counts_rows_and_examples():
    """Three draws of four examples are twelve rows of four; without draws nothing changes."""
    found = evaluate_dataset(denoised, DataLoader(["a", "b", "c", "d"], batch_size=3), draws=3)["overall"]
    assert (found["count"], found["items"]) == (12, 4)
    plain = evaluate_dataset(lambda batch: {"loss": [1.0] * len(batch)}, [["a", "b"]])["overall"]
    assert plain["count"] == 2


@pytest.mark.parametrize("stop, batches", [(2, 1), (3, 1), (4, 2), (100, 2)])
def test_max_samples_counts_the_rows_of_each_draw(stop, batches):
    """The first examples with all of their draws; no batch more."""
    calls = []

    def compute(batch, draw):
        calls.append((batch[0], draw.number))
        return {"loss": [float(draw.number)] * len(batch), "sample_id": batch}

    found = evaluate_dataset(compute, [["a", "b", "c"], ["d", "e"]], draws=2, max_samples=stop)["overall"]
    assert (found["count"], found["items"], found["mean"]) == (2 * min(stop, 5), min(stop, 5), 0.5)
    assert len(calls) == 2 * batches


def test_a_compute_fn_may_set_the_condition_itself(tmp_path):
    """Such as one that depends on the size of the image; without `conditions` there is none."""

    def compute(batch, draw):
        return denoised(batch, draw) | {"condition": [draw.condition + 1] * len(batch)}

    own = rows(tmp_path, compute, [["a"]], draws=1, conditions=(0, 4))
    assert own["a", 0][0] == pytest.approx(4 * OFFSET + 1, rel=1e-12)
    assert rows(tmp_path, denoised, [["a"]], draws=1)["a", 0][0] is None


def test_a_class_of_a_compute_fn_gets_draws():
    """As a function does."""

    class Model:
        def __call__(self, batch, draw):
            return denoised(batch, draw)

    assert evaluate_dataset(Model, [["a"]], draws=2) == evaluate_dataset(denoised, [["a"]], draws=2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"draws": 0}, r"draws must be a number of evaluations >= 1, or None, got 0 \(int\)"),
        ({"draws": True}, r"got True \(bool\)"),
        ({"draws": 2.0}, r"got 2.0 \(float\)"),
        ({"draws": 4, "noise": "same"}, r"noise must be 'own' or 'common', got 'same' \(str\)"),
        ({"draws": 3, "noise": "common"}, "draws must be even, got 3; use 4"),
        ({"noise": "common"}, r"noise='common' \(str\) needs the number of draws; add draws=4"),
        ({"conditions": (0, 1)}, r"conditions=\(0, 1\) \(tuple\) needs the number of draws; add draws=4"),
        ({"draws": 2, "conditions": (1, 0)}, r"conditions must be an interval such as \(0, 1000\), or the quantile"),
        ({"draws": 2, "conditions": (0, math.inf)}, "conditions must be an interval"),
        ({"draws": 2, "conditions": 1000}, r"got 1000 \(int\)"),
        (
            {"draws": 2, "conditions": lambda share: math.nan},
            r"conditions\(0.1253\) must be a finite number, .*got nan",
        ),
        ({"draws": 2, "conditions": lambda share: torch.ones(2)}, r"must be a finite number, .*got tensor"),
        ({"draws": 2, "seed": "a"}, r"seed must be an integer, got 'a' \(str\)"),
        (
            {"draws": 2, "compute_fn": lambda batch: None},
            r"draws=2 calls compute_fn\(batch, draw=...\), which takes \(batch\); give it a parameter `draw`",
        ),
        ({}, r"compute_fn takes \(batch, draw\), and there are no draws; add draws=4"),
    ],
)
@pytest.mark.parametrize("evaluate", [evaluate_dataset, run_dataset_evaluation])
def test_arguments_are_checked_before_anything_is_computed(tmp_path, evaluate, options, message):
    """The message has the value, and what to give instead."""
    name = {} if evaluate is evaluate_dataset else {"job_name": "job", "step": 0, "out_dir": tmp_path}
    with pytest.raises(InputError, match=message):
        evaluate(**{"compute_fn": denoised, "dataloader": [["a"]], **name, **options})


@pytest.mark.parametrize(
    "noise, ids, like, message",
    [
        ("own", ["a"], torch.zeros(2, 3), r"1 ids for a batch of shape \(2, 3\); give one for each"),
        ("own", ["a"], torch.zeros(()), r"1 ids for a batch of shape \(\); give one for each"),
        ("own", [None], torch.zeros(1, 3), "an example without a sample_id has no noise of its own"),
        ("own", [0.5], torch.zeros(1, 3), r"column 'sample_id': expected text, an integer or None, got 0.5"),
        (
            "own",
            ["a"],
            torch.zeros(1, 3).int(),
            r"like= must be a floating-point tensor, got torch.int32; .*\.float\(\)",
        ),
        ("own", ["a"], [[0.0]], r"like= must be a floating-point tensor, got \[\[0.0\]\] \(list\)"),
        (
            "common",
            ["a"],
            torch.zeros(1, 4),
            r"of shape \(4,\) cannot have the noise of one of \(3,\); use noise='own'",
        ),
    ],
)
def test_noise_that_cannot_be(noise, ids, like, message):
    """Shapes are compared over all draws; the error passes through the evaluation unchanged."""

    def compute(batch, draw):
        draw.noise(["z"], like=torch.zeros(1, 3))
        return {"loss": draw.noise(ids, like=like)}

    with pytest.raises(InputError, match=message) as caught:
        evaluate_dataset(compute, [["a"]], draws=2, noise=noise)
    assert caught.value.__notes__ == ["lossreg: compute_fn failed in batch 0, counted from 0"]


def test_the_column_of_the_draw_is_not_for_the_compute_fn(tmp_path):
    """It would contradict the evaluation."""
    with pytest.raises(InputError, match="returned a column 'draw', which the evaluation sets to 0; leave it out"):
        evaluate_dataset(lambda batch, draw: [{"loss": 1.0, "draw": 5}], [["a"]], draws=1)


def test_the_summary_is_written_as_without_draws(tmp_path):
    """Every example stands in it once."""
    path = run_dataset_evaluation(denoised, [["a", "b"]], job_name="job", step=1, out_dir=tmp_path, draws=2)
    assert json.loads(path.read_text())["overall"]["items"] == 2
