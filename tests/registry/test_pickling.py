"""Pickles: a registry is sent by reference, as the module that holds it."""

import copy
import pickle
import subprocess
import sys

import pytest

from lossreg import Registry, losses, parts

own = Registry(object, name="own")


@pytest.mark.parametrize("registry", [losses, parts, own])
def test_a_registry_is_pickled_and_copied_by_reference(registry):
    """The copy is the registry itself."""
    assert pickle.loads(pickle.dumps(registry)) is registry
    assert copy.deepcopy(registry) is registry
    assert copy.copy(registry) is registry
    assert pickle.loads(pickle.dumps({"registry": registry, "get": registry.get}))["get"] == registry.get


def test_the_module_that_made_it_is_named():
    """Others hold it as well, `__main__` among them, which a worker process does not have."""
    assert b"lossreg.registries" in pickle.dumps(losses)
    assert b"lossreg.registries" in pickle.dumps(parts)


def test_a_registry_that_no_module_holds_is_refused():
    """The message has the remedy."""
    with pytest.raises(TypeError, match="registry 'alone' cannot be pickled: assign it to a module's global variable"):
        pickle.dumps(Registry(object, name="alone"))


@pytest.mark.tools
def test_a_function_of_main_that_uses_losses_is_sent_to_a_fresh_process():
    """By cloudpickle, as Ray and others do; `from lossreg import losses` is the README's idiom."""
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    main = type(sys)("__main__")
    main.__dict__.update(losses=losses)
    exec(
        "def worker(name):\n    return losses.entry(name).full_name, losses is __import__('lossreg').losses", vars(main)
    )
    main.worker.__module__ = "__main__"
    sent = cloudpickle.dumps(main.worker)
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())('dice'))"
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True, timeout=300)
    assert done.stdout.decode().strip() == "('segmentation/dice', True)"
