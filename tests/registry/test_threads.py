"""Threads: readers take no lock, writers lose nothing, and no lock is held while importing."""

import os
import signal
import sys
import threading
import time

import pytest

from lossreg import NotFoundError, ProviderError, Registry
from lossreg.registry import table
from lossreg.registry.entry import Discovered, declare

from ..fakes import BASE, in_threads, soon

THREADS = 64
SECONDS = 5

SLOW = """
    import time
    from acme_base import Module
    from acme_table import registry

    time.sleep(0.01)

    @registry.register("slow_{number}", tags=["slow"])
    class Slow(Module): ...

    time.sleep(0.01)
    {end}
"""


@pytest.fixture
def losses(site):
    """A registry that modules on disk can import."""
    site.module("acme_table", "registry = None")
    registry = Registry(BASE, name="losses")
    __import__("acme_table").registry = registry
    return registry


@pytest.fixture
def module(site):
    """The base class, imported before the threads start."""
    return __import__("acme_base").Module


def churn(losses, module, index, deadline):
    """Register, look up, list and remove names; return the number of rounds, and the class that stays."""
    rounds = 0
    while time.monotonic() < deadline:
        name = f"n{index}_{rounds % 3}"
        cls = losses.register(name, tags=[f"t{index}"])(type(f"C{index}_{rounds % 3}", (module,), {}))
        assert losses.get(name) is cls
        assert name in losses.list()
        assert losses.filter_by_tag(f"t{index}") == [name]
        losses.unregister(name)
        assert name not in losses
        with pytest.raises(NotFoundError):
            losses.get(name)
        rounds += 1
    return rounds, losses.register(f"kept{index}")(type(f"Kept{index}", (module,), {}))


def test_sixty_four_threads_register_load_list_and_remove(site, losses, module):
    """For five seconds, while modules that register are being imported: no error, no lost entry, no deadlock."""
    numbers = range(40)
    for number in numbers:
        end = "raise ImportError('half')" if number % 4 == 0 else ""
        site.module(f"acme_slow_{number}", SLOW.format(number=number, end=end))
        losses.register_lazy(f"lazy_{number}", f"acme_slow_{number}:Slow", tags=["slow"])
    deadline = time.monotonic() + SECONDS

    def load(index):
        found = {}
        for number in [*numbers[index:], *numbers[:index]]:
            try:
                found[number] = losses.get(f"lazy_{number}")
            except ProviderError:
                found[number] = None
            losses.find("slow & !fast")
        return found

    def work(index):
        return load(index) if index % 2 else churn(losses, module, index, deadline)

    results = in_threads(THREADS, work)
    for number in numbers:
        if number % 4 == 0:
            with pytest.raises(ProviderError, match="ImportError: half"):
                losses.get(f"lazy_{number}")
        else:
            classes = {found[number] for found in results[1::2]}
            assert classes == {sys.modules[f"acme_slow_{number}"].Slow}
    for index, (rounds, kept) in enumerate(results[::2]):
        assert rounds > 0
        assert losses.get(f"kept{index * 2}") is kept
    kept = [name for name in losses.list() if name.startswith("kept")]
    assert len(kept) == THREADS / 2
    assert [name for name in losses.list() if name.startswith("n")] == []


def test_all_threads_get_the_same_class(site, losses):
    """All look one entry up at the same time; the module runs once."""
    site.module("acme_slow_0", SLOW.format(number=0, end="registry.runs = getattr(registry, 'runs', 0) + 1"))
    losses.register_lazy("lazy", "acme_slow_0:Slow")
    assert set(in_threads(16, lambda _: losses.get("lazy"))) == {sys.modules["acme_slow_0"].Slow}
    assert losses.runs == 1
    assert len(losses) == 1


def test_exactly_one_of_many_gets_a_name(losses, module):
    """The others get the conflict."""

    def work(index):
        try:
            return losses.register("wanted")(type(f"C{index}", (module,), {}))
        except ValueError:
            return None

    winners = [cls for cls in in_threads(32, work) if cls is not None]
    assert winners == [losses.get("wanted")]


def test_discovery_from_many_threads_publishes_once():
    """A look-up during the scan of another thread gets the complete table."""
    entries = tuple(declare(f"n{number}", f"m:C{number}", (), (), {}) for number in range(50))

    def scan():
        time.sleep(0.02)
        return Discovered(entries)

    for _ in range(5):
        registry = Registry(object, discover=scan)
        assert in_threads(32, lambda _, registry=registry: len(registry.list())) == [50] * 32


@pytest.mark.parametrize(
    "look",
    [
        lambda r: r.get("x"),
        lambda r: r.get("local/x"),
        lambda r: r.list(),
        lambda r: r.find("t"),
        lambda r: r.filter_by_tag("t"),
        lambda r: r.list_with_tags(),
        lambda r: r.entry("x"),
        lambda r: "x" in r,
        lambda r: len(r),
        lambda r: r.instantiate("x"),
        lambda r: repr(r),
    ],
)
def test_looking_takes_no_lock(look, base):
    """Each answers while another thread holds the writers' lock."""
    registry = Registry(base, name="things")
    registry.register("x", tags=["t"])(type("X", (base,), {}))
    with registry._table.lock:
        thread = threading.Thread(target=look, args=(registry,), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


def test_a_writer_waits_for_the_lock(base):
    """So the test above would notice a lock."""
    registry = Registry(base, name="things")
    with registry._table.lock:
        thread = threading.Thread(target=registry.register_lazy, args=("x", "m:X"), daemon=True)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(60)
    assert registry.list() == ["x"]


def test_a_module_may_wait_for_a_thread_that_registers(site, losses):
    """With a lock held during the import, this would block for ever."""
    site.module(
        "acme_waits",
        """
        import threading
        from acme_base import Module
        from acme_table import registry

        thread = threading.Thread(target=registry.register("inner"), args=(type("Inner", (Module,), {}),))
        thread.start()
        thread.join(60)
        if thread.is_alive():
            raise ImportError("the registry is locked")
        class Focal(Module): ...
        """,
    )
    losses.register_lazy("focal", "acme_waits:Focal")
    assert soon(losses.get, "focal").__name__ == "Focal"
    assert "inner" in losses


def test_one_fork_handler_serves_every_registry(monkeypatch):
    """A handler cannot be removed: one for each registry would be a leak."""
    registered = []
    monkeypatch.setattr(os, "register_at_fork", lambda **handlers: registered.append(handlers))
    known = [Registry(object) for _ in range(10)]
    assert registered == []
    assert {registry._table for registry in known} <= {*table._tables}
    locks = [registry._table.lock for registry in known]
    table._renew_locks()
    assert not {*map(id, locks)} & {id(registry._table.lock) for registry in known}


@pytest.mark.tools
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_can_write_while_its_parent_does():
    """The child does not wait for the lock of a thread of its parent."""
    registry = Registry(object)
    with registry._table.lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends a child that waits for the lock
            registry.register_lazy("x", "m:X")
            os._exit(0 if registry.list() == ["x"] else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert registry.list() == []
