"""The losses of pytorch-metric-learning, built from configs: their values, parts and wrappers."""

import math
import subprocess
import sys

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

import lossreg

LOSSES = [entry for entry in lossreg.losses.entries() if entry.provider == "pml"]
COMPILED = [entry for entry in LOSSES if entry.metadata["contract"].get("compiles", True)]

# Two of one class at a right angle, and one of another that equals the first.
TRIANGLE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
LABELS = torch.tensor([0, 0, 1])
HALF = 2**0.5 / 2


def build(name, **params):
    return lossreg.build({"name": f"pml/{name}", "params": params})


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        # Positive pairs are sqrt(2) apart; the one negative pair within the margin of 1 has distance 0.
        ("contrastive", {}, 2**0.5 + 1),
        # Anchor 0 misses its margin by sqrt(2), anchor 1 by 0.
        ("triplet_margin", {"margin": 0.05}, (2**0.5 + 0.05 + 0.05) / 2),
        # Anchor 0 has cosine 0 to its positive and 1 to its negative, anchor 1 has 0 to both.
        ("nt_xent", {"temperature": 0.5}, (math.log(1 + math.e**2) + math.log(2)) / 2),
        # The same pairs with cosines: the positives lack 1; the negatives have 1 and 0.
        (
            "contrastive",
            {"pos_margin": 1, "neg_margin": 0, "distance": "pml/cosine_similarity", "reducer": "pml/sum"},
            2 * 1 + 2 * 1,
        ),
    ],
)
def test_values_by_hand(name, params, expected):
    """Three points in the plane, computed on paper."""
    assert build(name, **params)(TRIANGLE, LABELS).item() == pytest.approx(expected)


def test_cosface_by_hand():
    """Softmax over cosines 1 and 0, the true one less the margin of .25, times 2."""
    loss = build("cosface", num_classes=2, embedding_size=2, margin=0.25, scale=2)
    with torch.no_grad():
        loss.W.copy_(torch.eye(2))
    value = loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-2 * 0.75)))


# ---- parts


def test_parts_arrive_as_the_librarys(batch):
    """The value of the library called by hand with the same parts."""
    config = {
        "distance": {"name": "pml/lp_distance", "params": {"p": 1, "power": 2}},
        "reducer": {"name": "pml/threshold", "params": {"low": 0.5}},
        "embedding_regularizer": {"name": "pml/lp_regularizer", "params": {"p": 1}},
        "embedding_reg_weight": 0.25,
    }
    by_hand = losses.ContrastiveLoss(
        distance=distances.LpDistance(p=1, power=2),
        reducer=reducers.ThresholdReducer(low=0.5),
        embedding_regularizer=regularizers.LpRegularizer(p=1),
        embedding_reg_weight=0.25,
    )
    assert torch.equal(build("contrastive", **config)(*batch), by_hand(*batch))


def test_class_weights_arrive_as_a_tensor(batch):
    """Of torch's default dtype; the value is the library's."""
    weights = [1.0, 2.0, 0.5, 0.0]
    loss = build("triplet_margin", reducer={"name": "pml/class_weighted", "params": {"weights": weights}})
    by_hand = losses.TripletMarginLoss(reducer=reducers.ClassWeightedReducer(torch.tensor(weights)))
    assert torch.equal(loss.reducer.weights, torch.tensor(weights))
    assert torch.equal(loss(*batch), by_hand(*batch))


def test_reducers_within_a_reducer(batch):
    """One for each named part of a loss."""
    parts = {"pos_loss": "pml/sum", "neg_loss": {"name": "pml/per_anchor", "params": {"reducer": "pml/mean"}}}
    loss = build("contrastive", reducer={"name": "pml/multiple_reducers", "params": {"reducers": parts}})
    by_hand = losses.ContrastiveLoss(
        reducer=reducers.MultipleReducers({"pos_loss": reducers.SumReducer(), "neg_loss": reducers.PerAnchorReducer()})
    )
    assert torch.equal(loss(*batch), by_hand(*batch))


def test_centres_are_regularized(batch):
    """Two centres for each class, in the configs of both the loss and its regularizer."""
    sizes = {"num_classes": 4, "centers_per_class": 2}
    regularizer = {"name": "pml/sparse_centers", "params": sizes}
    loss = build("soft_triple", **sizes, embedding_size=8, weight_regularizer=regularizer, weight_reg_weight=0.5)
    plain = build("soft_triple", **sizes, embedding_size=8)
    plain.load_state_dict({"fc": loss.fc.detach()})
    penalty = regularizers.SparseCentersRegularizer(**sizes)(loss.fc.detach().t())
    assert loss(*batch).item() == pytest.approx((plain(*batch) + 0.5 * penalty).item())


def test_a_distance_that_a_loss_cannot_take_is_refused_by_the_library():
    """In the constructor; validation cannot check this. The error is the library's own, with a note on the loss."""
    with pytest.raises(AssertionError, match="requires the distance metric to be CosineSimilarity") as caught:
        build("arcface", num_classes=4, embedding_size=8, distance="pml/lp_distance")
    assert caught.value.__notes__ == ["raised by the constructor of pml/arcface, which the config has at params"]


def test_no_reduction_gives_a_dict(batch):
    """The named parts of the loss, a value for each pair."""
    parts = build("contrastive", reducer="pml/do_nothing")(*batch)
    assert [len(parts[name]["losses"]) for name in ("pos_loss", "neg_loss")] == [8 * 1, 8 * 6]


# ---- miners and wrappers


@pytest.mark.parametrize("name", [entry.name for entry in lossreg.parts.entries() if "miner" in entry.tags])
def test_mined_is_the_loss_over_what_its_miner_picks(name):
    """For every miner, by the call in the library's own examples."""
    torch.manual_seed(0)
    embeddings, labels = torch.randn(12, 8), torch.arange(12) // 3
    loss = build("mined", loss="pml/contrastive", miner=f"pml/{name}")
    torch.manual_seed(1)
    picked = type(loss.miner)()(embeddings, labels)
    torch.manual_seed(1)
    assert torch.equal(loss(embeddings, labels), losses.ContrastiveLoss()(embeddings, labels, picked))


def test_mined_learns_what_its_loss_learns():
    """Loss and miner are submodules, so that it has their parameters and state."""
    loss = build(
        "mined",
        loss={"name": "pml/arcface", "params": {"num_classes": 4, "embedding_size": 8}},
        miner="pml/batch_hard",
    )
    assert [name for name, _ in loss.named_parameters()] == ["loss.W"]
    assert [*dict(loss.named_children())] == ["loss", "miner"]


def test_cross_batch_memory_mines_in_past_batches(batch):
    """The second batch is compared with the first too, as by the library's class."""
    loss = build(
        "cross_batch_memory", loss="pml/contrastive", embedding_size=8, memory_size=32, miner="pml/multi_similarity"
    )
    by_hand = losses.CrossBatchMemory(losses.ContrastiveLoss(), 8, 32, miners.MultiSimilarityMiner())
    embeddings, labels = batch
    for step in (embeddings, embeddings.flip(0)):
        assert torch.equal(loss(step, labels), by_hand(step, labels))
    assert loss.queue_idx == 16


@pytest.mark.parametrize("kind", [list, dict])
def test_multiple_losses_as_list_and_by_name(kind, batch):
    """Each with its weight; the second has its own miner, which only losses by name can omit."""
    named = {"a": "pml/contrastive", "b": "pml/nt_xent"}
    weights, mined = {"a": 0.5, "b": 2.0}, {"a": None, "b": "pml/multi_similarity"}
    if kind is list:
        params = {"losses": [*named.values()], "weights": [*weights.values()], "miners": [*mined.values()]}
    else:
        params = {"losses": named, "weights": weights, "miners": {"b": mined["b"]}}
    by_hand = 0.5 * losses.ContrastiveLoss()(*batch)
    by_hand += 2.0 * losses.NTXentLoss()(*batch, miners.MultiSimilarityMiner()(*batch))
    assert build("multiple_losses", **params)(*batch).item() == pytest.approx(by_hand.item())


def test_self_supervised_makes_labels_of_rows(batch):
    """Each row and its other view are a class."""
    views = batch[0], batch[0].roll(1, 1)
    expected = losses.NTXentLoss()(torch.cat(views), torch.arange(8).repeat(2))
    assert torch.equal(build("self_supervised", loss="pml/nt_xent")(*views), expected)


def test_a_loss_that_a_wrapper_does_not_know_is_refused_by_the_library():
    """Classification losses have no pairs to compare with a memory."""
    arcface = {"name": "pml/arcface", "params": {"num_classes": 4, "embedding_size": 8}}
    with pytest.raises(Exception, match="CrossBatchMemory not supported for ArcFaceLoss") as caught:
        build("cross_batch_memory", loss=arcface, embedding_size=8)
    assert "the constructor of pml/cross_batch_memory" in caught.value.__notes__[0]


# ---- our own class, and imports


def test_dynamic_soft_margin_trains_for_more_than_one_step(batch):
    """Values are the library's, whose own class fails in the second backward pass."""
    loss, by_hand = build("dynamic_soft_margin"), losses.DynamicSoftMarginLoss()
    embeddings, labels = batch
    for step in range(3):
        leaf = (embeddings + step).requires_grad_()
        value = loss(leaf, labels)
        value.backward()
        assert torch.equal(value, by_hand(leaf, labels))
        assert leaf.grad.abs().sum() > 0
    stuck = losses.DynamicSoftMarginLoss()
    stuck(embeddings.requires_grad_(), labels).backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        stuck(embeddings, labels).backward()


@pytest.mark.tools
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("entry", COMPILED, ids=lambda entry: entry.name)
def test_the_contract_names_the_losses_that_compile(entry, batch):
    """As one graph; the others find pairs, whose number depends on the data."""
    torch._dynamo.reset()
    loss = lossreg.build({"name": entry.full_name, "params": dict(entry.metadata.get("example", {}))})
    inputs = {"vicreg": (batch[0], None, None, batch[0].flip(0)), "manifold": batch[:1]}.get(entry.name, batch)
    assert torch.compile(loss, fullgraph=True, backend="eager")(*inputs).isfinite()


@pytest.mark.tools
def test_nothing_is_imported_to_list_and_validate():
    """Neither the library nor torch."""
    code = (
        "import sys, lossreg; assert 'pml/contrastive' in lossreg.losses; assert len(lossreg.parts.list()) > 20;"
        "lossreg.validate({'name': 'pml/contrastive', 'params': {'distance': {'name': 'pml/cosine_similarity'},"
        " 'reducer': 'pml/avg_non_zero'}});"
        "print([name for name in ('torch', 'pytorch_metric_learning', 'lossreg_pml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
