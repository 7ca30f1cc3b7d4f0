"""The manifest's parameters of losses and parts, compared with pytorch-metric-learning's constructors."""

import copy
import importlib
import inspect

import pytest
import torch
from pytorch_metric_learning import losses, miners, regularizers

import lossreg
from lossreg import InvalidConfigError

LOSSES = {entry.name: entry for entry in lossreg.losses.entries() if entry.provider == "pml"}
PARTS = {entry.name: entry for entry in lossreg.parts.entries() if entry.provider == "pml"}
OF_LIBRARY = [name for name in LOSSES if name != "mined"]

# For parameters whose default is None. A distance is the loss's own default, as most losses reject others.
EXAMPLES = {
    "reducer": "pml/mean",
    "embedding_regularizer": "pml/zero_mean",
    "weight_regularizer": "pml/regular_face",
    "weight_init_func": "orthogonal",
    "num_classes": 4,
    "n_bins": 20,
    "delta": 0.1,
    "alpha": 1.2,
    "miner": "pml/multi_similarity",
    "weights": [1.0, 0.5],
    "miners": ["pml/multi_similarity", None],
    "low": 0.0,
    "high": 1.0,
    "default_reducer": "pml/sum",
    "allowed_pos_range": [0.1, 0.9],
    "allowed_neg_range": [0.1, 0.9],
}
KAIMING = ["kaiming_normal", "kaiming_uniform"]
FUNCTIONS = ["normal", "trunc_normal", "uniform", "xavier_normal", "xavier_uniform", *KAIMING, "orthogonal"]

pytestmark = [
    pytest.mark.tools,  # another library changes with its releases alone
    # scipy's binomials of tensors, in the large-margin losses.
    pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning"),
]


def example_of(entry):
    return copy.deepcopy(dict(entry.metadata.get("example", {})))


def optional_of(entry):
    described = entry.metadata["parameters"]
    return {name: schema for name, schema in described["properties"].items() if name not in described["required"]}


def build(name, **params):
    return lossreg.build({"name": f"pml/{name}", "params": params})


def validate(name, **params):
    return lossreg.validate({"name": f"pml/{name}", "params": params})


def part_of(entry, params):
    """Return the part of a loss that has one."""
    part = {"name": entry.full_name, "params": params}
    if "miner" in entry.tags:
        return build("mined", loss="pml/contrastive", miner=part).miner
    role = next(role for role in ("distance", "reducer", "regularizer") if role in entry.tags)
    slot = "embedding_regularizer" if role == "regularizer" else role
    return getattr(build("triplet_margin", **{slot: part}), slot)


def value_of(name, schema, host):
    """Return the default, or an example if the default is None."""
    if schema["default"] is not None:
        return schema["default"]
    if name != "distance":
        return EXAMPLES[name]
    own, known = host.distance, PARTS[_name_of(host.distance)].metadata["parameters"]["properties"]
    return {"name": f"pml/{_name_of(own)}", "params": {key: getattr(own, key) for key in known}}


def _name_of(module):
    return next(name for name, entry in PARTS.items() if entry.target.endswith(f":{type(module).__name__}"))


def library_class(entry):
    """Return the class of this name in the library, from any of its modules."""
    module, _, cls = entry.target.partition(":")
    return getattr(losses if module.startswith("lossreg_pml") else importlib.import_module(module), cls)


def defaults(cls):
    """Return the defaults by name, of each constructor in the method resolution order."""
    found = {}
    for base in cls.__mro__:
        if inspect.isfunction(init := base.__dict__.get("__init__")):
            for parameter in inspect.signature(init).parameters.values():
                found.setdefault(parameter.name, parameter.default)
    return found


@pytest.mark.parametrize("name", OF_LIBRARY)
def test_a_built_loss_is_of_the_librarys_class(name):
    """The class of that name in pytorch_metric_learning.losses."""
    assert isinstance(build(name, **example_of(LOSSES[name])), library_class(LOSSES[name]))


@pytest.mark.parametrize("name", OF_LIBRARY)
def test_every_parameter_of_a_loss_is_accepted(name):
    """By the constructor: each with the example, as its default or a value of its kind."""
    entry = LOSSES[name]
    host = build(name, **example_of(entry))
    for parameter, schema in optional_of(entry).items():
        given = value_of(parameter, schema, host)
        params = lossreg.config_of(build(name, **{**example_of(entry), parameter: given}))["params"]
        assert params[parameter] is not None


@pytest.mark.parametrize("name", PARTS)
def test_every_parameter_of_a_part_is_accepted(name):
    """As for losses; and the part is of the library's class."""
    entry = PARTS[name]
    host = part_of(entry, example_of(entry))
    assert type(host) is library_class(entry)
    for parameter, schema in optional_of(entry).items():
        assert type(part_of(entry, {**example_of(entry), parameter: value_of(parameter, schema, host)})) is type(host)


@pytest.mark.parametrize(
    "entry", [LOSSES[name] for name in OF_LIBRARY] + [*PARTS.values()], ids=lambda entry: entry.full_name
)
def test_defaults_are_the_librarys(entry):
    """Equal to those in the signatures; parameters without one are required."""
    real = defaults(library_class(entry))
    for parameter, schema in entry.metadata["parameters"]["properties"].items():
        assert schema.get("default", inspect.Parameter.empty) == real[parameter], parameter


@pytest.mark.parametrize("name", LOSSES)
def test_contract_has_parameters_if_the_loss_does(name):
    """has_parameters, and the tag "learnable", if the example has parameters."""
    learns = bool([*build(name, **example_of(LOSSES[name])).parameters()])
    assert LOSSES[name].metadata["contract"]["has_parameters"] is learns
    assert ("learnable" in LOSSES[name].tags) is learns


# ---- parameters that hints narrow


@pytest.mark.parametrize(
    ("name", "example", "parameter", "allowed"),
    [
        ("pnp", {}, "variant", losses.PNPLoss.VARIANTS),
        ("arcface", {"num_classes": 4, "embedding_size": 8}, "weight_init_func", FUNCTIONS),
        ("triplet_margin", {}, "triplets_per_anchor", ["all", 1, 5]),
    ],
)
def test_every_mode_of_a_loss_is_accepted(name, example, parameter, allowed, batch):
    """By constructor and call; any other is reported with its path."""
    for value in allowed:
        assert build(name, **example, **{parameter: value})(*batch).isfinite()
    with pytest.raises(
        InvalidConfigError, match=rf"params\.{parameter}: expected .*{allowed[0]}.*got the text 'nonsense'"
    ):
        validate(name, **example, **{parameter: "nonsense"})


@pytest.mark.parametrize("strategy", miners.BatchEasyHardMiner.all_batch_mining_strategies)
@pytest.mark.parametrize("parameter", ["pos_strategy", "neg_strategy"])
def test_every_strategy_is_accepted(strategy, parameter, batch):
    """Those that the miner lists, and "hard"."""
    other = {"pos_strategy": "hard", "neg_strategy": "hard"} | {parameter: strategy}
    miner = {"name": "pml/batch_easy_hard", "params": other}
    assert build("mined", loss="pml/contrastive", miner=miner)(*batch).isfinite()


def test_types_of_triplets_differ(batch):
    """hard and semihard share "all"; "easy" is the rest: each is a mode of its own, though the miner checks none."""
    mined = {
        kind: len(part_of(PARTS["triplet_margin"], {"type_of_triplets": kind})(*batch)[0])
        for kind in ("all", "hard", "semihard", "easy")
    }
    assert mined["hard"] + mined["semihard"] == mined["all"]
    assert mined["all"] + mined["easy"] == 8 * 1 * 6


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: losses.ManifoldLoss(l=8, lambdaC=-1.0), ValueError),
        (lambda: losses.RankedListLoss(margin=0.4, Tn=1, imbalance=1.5), AssertionError),
        (lambda: losses.SoftTripleLoss(4, 8, gamma=0), ZeroDivisionError),
        (lambda: losses.PNPLoss(variant="nonsense"), ValueError),
        (lambda: losses.DynamicSoftMarginLoss(num_bins=0), ZeroDivisionError),
        (lambda: losses.HistogramLoss(n_bins=0), ZeroDivisionError),
        (lambda: losses.VICRegLoss(distance=None), ValueError),
        (lambda: regularizers.SparseCentersRegularizer(4, 1), AssertionError),
        (lambda: miners.BatchHardMiner(pos_strategy="easy"), TypeError),
    ],
)
def test_invalid_values_fail_in_the_library_too(make, error):
    """The library's own constructors reject the values that are invalid in the next test."""
    with pytest.raises(error):
        make()


@pytest.mark.parametrize(
    ("name", "params", "path"),
    [
        ("manifold", {"l": 8, "lambdaC": -1.0}, "params.lambdaC"),
        ("manifold", {"l": 8, "alpha": 1.0}, "params.alpha"),
        ("ranked_list", {"margin": 0.4, "Tn": 1, "imbalance": 1.5}, "params.imbalance"),
        ("soft_triple", {"num_classes": 4, "embedding_size": 8, "gamma": 0}, "params.gamma"),
        ("dynamic_soft_margin", {"num_bins": 0}, "params.num_bins"),
        ("dynamic_soft_margin", {"min_val": 0.0}, "params.min_val"),
        ("histogram", {"n_bins": 0}, "params.n_bins"),
        ("histogram", {"delta": 2.5}, "params.delta"),
        ("angular", {"alpha": 90}, "params.alpha"),
        ("vicreg", {"distance": None}, "params.distance"),
        ("vicreg", {"eps": 0}, "params.eps"),
        ("nt_xent", {"temperature": 0}, "params.temperature"),
        ("multi_similarity", {"alpha": 0}, "params.alpha"),
        ("arcface", {"num_classes": 4.5, "embedding_size": 8}, "params.num_classes"),
        ("arcface", {"num_classes": 4, "embedding_size": 8, "margn": 1}, "params.margn"),
        ("large_margin_softmax", {"num_classes": 4, "embedding_size": 8, "margin": 0}, "params.margin"),
        ("contrastive", {"mat_based_loss": True}, "params.mat_based_loss"),
        ("contrastive", {"collect_stats": True}, "params.collect_stats"),
        ("contrastive", {"distance": "pml/mean"}, "params.distance.name"),
        (
            "contrastive",
            {"distance": {"name": "pml/lp_distance", "params": {"is_inverted": True}}},
            "params.distance.params.is_inverted",
        ),
        ("contrastive", {"reducer": {"name": "pml/avg_non_zero", "params": {"low": 1.0}}}, "params.reducer.params.low"),
        ("mined", {"loss": "pml/contrastive", "miner": "pml/mean"}, "params.miner.name"),
        ("multiple_losses", {"losses": ["pml/contrastive", "pml/contrastve"]}, "params.losses[1].name"),
    ],
)
def test_invalid_values_are_reported_with_their_path(name, params, path):
    """By validation, before anything of the library is imported."""
    with pytest.raises(InvalidConfigError) as caught:
        validate(name, **params)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_uniform_initializer_reaches_the_weights():
    """The config has the name of a function of torch.nn.init, which the library calls with its weights."""
    weights = build("arcface", num_classes=40, embedding_size=8, weight_init_func="uniform").W
    assert torch.all((weights >= 0) & (weights <= 1))
