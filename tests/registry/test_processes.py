"""Workers: a forked or spawned process, and each of its threads, finds and builds the same losses."""

import json
import multiprocessing
import pickle
import warnings
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from torch.utils.data import DataLoader

import lossreg
from lossreg import LossregError, NotFoundError

from ..fakes import like_new

# A user's module: a spawned process imports it by name, from the same sys.path.
WORK = """
    import json
    import sys
    from concurrent.futures import ThreadPoolExecutor

    import lossreg
    from lossreg import Registry
    from lossreg.discovery.scan import discover

    CONFIG = {"name": "weighted_sum", "params": {"terms": [{"weight": 2, "name": "dice"}, "acme_loss"]}}

    def entries():
        "Every entry, as a new process finds it."
        registry = Registry("torch.nn:Module", name="losses", discover=discover)
        return sorted((e.full_name, e.state, e.target, str(e.version)) for e in registry.entries())

    def built(config=CONFIG):
        "The config of the loss, and its value on fixed data."
        import torch

        loss = lossreg.build(config)
        logits = torch.linspace(-3, 3, 64).reshape(1, 1, 8, 8)
        value = loss(logits, (logits.abs() > 1).float())
        return {"config": json.dumps(lossreg.config_of(loss)), "value": value.item()}

    def in_threads():
        "The same from eight threads that build it first."
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(built) for _ in range(8)]
            return [job.result() for job in jobs]

    def get(name):
        return lossreg.losses.get(name)

    def modules():
        return sorted({name.partition(".")[0] for name in sys.modules})

    def raised(call, *arguments):
        "The error itself, which is sent back."
        try:
            call(*arguments)
        except Exception as error:
            return error

    class Items:
        "A dataset that builds its loss in the worker."

        def __init__(self, call, *arguments):
            self.call, self.arguments = call, arguments

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.call(*self.arguments)
"""
LOSSES = """
    from torch import nn

    from lossreg import losses
    from lossreg.authoring import contract

    @losses.register("acme_loss", contract=contract(input="logits", target="mask", tasks=["binary"]))
    class Acme(nn.Module):
        def forward(self, input, target):
            return (input - target).abs().mean()
"""
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, for any with threads


@pytest.fixture
def work(site, monkeypatch):
    """The user's module. `acme_loss` is installed; so are `bad_loss` and `missing_loss`, which do not work."""
    site.module("acme_work", WORK)
    site.module("acme_losses", LOSSES)
    site.module("acme_bad", "raise ImportError('no GPU')")
    site.distribution("acme", losses={"acme_loss": "acme_losses:Acme", "bad_loss": "acme_bad:Bad", "no_loss": "json:x"})
    needs = {"package": "acme_lib", "distribution": "acme-lib"}
    site.package("acme_m", {"schema": 1, "library": needs, "losses": {"missing_loss": {"target": "acme_lib:X"}}})
    site.distribution("acme-m", manifests={"acme_m": "acme_m"})
    like_new(monkeypatch, lossreg.losses)
    lossreg.losses.list()
    return __import__("acme_work")


@pytest.fixture
def spawned(work):
    """Call in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda call, *arguments: pool.submit(call, *arguments).result(timeout=300)


@pytest.mark.tools
def test_a_spawned_process_finds_and_builds_the_same(work, spawned):
    """Names, states, targets and versions, from eight threads at once, and without torch to list them."""
    assert spawned(work.entries) == work.entries()
    assert "acme/acme_loss" in {name for name, *_ in work.entries()}
    assert {"torch", "acme_losses"} & {*spawned(work.modules)} == set()
    assert spawned(work.in_threads) == [work.built()] * 8


@pytest.mark.tools
def test_an_entry_of_the_parent_alone_is_not_in_a_spawned_process(work, spawned):
    """The message has the remedy; in the parent it does not."""
    with lossreg.losses.scope():
        lossreg.losses.register("notebook_loss")(type("Notebook", (torch.nn.Module,), {"__module__": "__main__"}))
        assert "notebook_loss" in lossreg.losses
        error = spawned(work.raised, work.get, "notebook_loss")
    advice = (
        "this is a worker process, and the loss may have been registered in its parent process only:"
        " register it in a module that the worker imports too, or declare it as an entry point of a package"
    )
    assert isinstance(error, NotFoundError)
    assert str(error).startswith("unknown loss 'notebook_loss'; ")
    assert advice in str(error)
    with pytest.raises(NotFoundError) as here:
        lossreg.losses.get("notebook_loss")
    assert advice not in str(here.value)


@pytest.mark.parametrize(
    "config, kind, message",
    [
        ("dicee", "InvalidConfigError", "did you mean 'dice'"),
        ({"name": "dice", "params": {"smoth": 1}}, "InvalidConfigError", "params.smoth: unknown parameter"),
        ("bad_loss", "ProviderError", "importing acme_bad:Bad of acme 1.0 raised ImportError: no GPU"),
        ("missing_loss", "MissingLibraryError", "needs acme-lib, which is not installed; pip install"),
        ("no_loss", "ProviderError", "raised AttributeError: module 'json' has no attribute 'x'"),
    ],
)
def test_errors_are_sent_between_processes(work, config, kind, message):
    """Kind, text and data, through pickle as multiprocessing uses it."""
    error = work.raised(lossreg.build, config)
    again = pickle.loads(pickle.dumps(error))
    assert type(again).__name__ == kind
    assert {key: getattr(again, key) for key in vars(error)} == vars(error)
    assert message in str(again)
    assert str(again) == str(error)
    assert isinstance(again, LossregError)


@pytest.mark.tools
def test_an_error_arrives_from_a_spawned_process(work, spawned):
    """With its type and its data."""
    error = spawned(work.raised, lossreg.build, {"name": "dice", "params": {"smoth": 1}})
    assert [problem.path for problem in error.problems] == ["params.smoth"]
    error = spawned(work.raised, lossreg.build, "bad_loss")
    assert (type(error), error.distribution) == (lossreg.ProviderError, "acme")


@pytest.mark.tools
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_loaders_worker_builds_the_same(work, method):
    """A dataset may compute a loss, for example to choose its hard examples."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method}: this system does not start processes so")
    loader = DataLoader(work.Items(work.built), batch_size=None, num_workers=1, multiprocessing_context=method)
    assert list(loader) == [work.built()] * 2
    assert json.loads(work.built()["config"])["params"]["terms"][1]["provider"] == "acme"


@pytest.mark.tools
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_worker_has_what_its_parent_registered(work):
    """Fork copies the registry: the entries and the errors are those of the parent."""
    with lossreg.losses.scope(), warnings.catch_warnings():
        lossreg.losses.register("notebook_loss")(type("Notebook", (torch.nn.L1Loss,), {"__module__": "__main__"}))
        items = work.Items(work.built, "notebook_loss")
        (one, two) = DataLoader(items, batch_size=None, num_workers=1, multiprocessing_context="fork")
        assert one == two == work.built("notebook_loss")
    items = work.Items(work.entries)
    first = next(iter(DataLoader(items, batch_size=None, num_workers=1, multiprocessing_context="fork")))
    assert [tuple(entry) for entry in first] == work.entries()
    items = work.Items(work.get, "dicee")
    with pytest.raises(NotFoundError, match="unknown loss 'dicee'; did you mean 'dice'"):
        list(DataLoader(items, batch_size=None, num_workers=1, multiprocessing_context="fork"))
