"""Errors: their attributes, text, builtin bases, and pickling."""

import copy
import inspect
import pickle

import pytest

import lossreg
from lossreg import errors
from lossreg.errors import InvalidConfigError, LossregError, Problem

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
BUILTINS = {
    "WrongBaseClassError": TypeError,
    "ConflictError": ValueError,
    "InvalidNameError": ValueError,
    "NotFoundError": KeyError,
    "AmbiguousNameError": KeyError,
    "DisabledError": KeyError,
    "ProviderError": RuntimeError,
    "ManifestError": ValueError,
    "MissingLibraryError": ImportError,
    "TagSyntaxError": ValueError,
    "InvalidConfigError": ValueError,
    "InputError": ValueError,
    "ShapeError": ValueError,
    "DTypeError": TypeError,
    "ImplementationError": RuntimeError,
    "HealthError": RuntimeError,
    "RecordsError": OSError,
    "LossregError": Exception,
}


def test_the_table_is_complete():
    """It has every class of the module, and all are public."""
    assert {cls.__name__ for cls in CLASSES} == set(BUILTINS)
    for cls in CLASSES:
        assert getattr(lossreg, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
class TestEach:
    """Properties of every class."""

    def test_is_a_lossreg_error_and_the_right_builtin(self, cls):
        """Code without lossreg can catch it."""
        assert issubclass(cls, LossregError)
        assert issubclass(cls, BUILTINS[cls.__name__])

    def test_survives_pickle_and_copy_with_its_attributes(self, cls):
        """Workers of a DataLoader pickle their errors."""
        error = cls("what\nhappened", name="dice", problems=(Problem("a.b", "wrong"),), column=3)
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is cls
            assert str(again) == "what\nhappened"
            assert (again.name, again.problems, again.column) == ("dice", (Problem("a.b", "wrong"),), 3)

    def test_reads_as_its_message(self, cls):
        """Without the quotes and escapes of a KeyError."""
        text = "no 'dice'\n  or \"focal\" \\ é"
        assert str(cls(text)) == text
        assert f"{cls(text)}" == text


def test_a_problem_reads_with_its_path():
    """Without a path it concerns the whole config."""
    assert str(Problem("terms[1].params.smoth", "unknown parameter")) == "terms[1].params.smoth: unknown parameter"
    assert str(Problem("", "too deep")) == "too deep"


def test_real_errors_pickle():
    """With their attributes."""
    raised = []
    for call in (
        lambda: lossreg.losses.get("dicee"),
        lambda: lossreg.losses.register("dice")(int),
        lambda: lossreg.losses.find("a &"),
        lambda: lossreg.build({"name": "dice", "params": {"smoth": 1, "smooth": "x"}}),
    ):
        with pytest.raises(LossregError) as caught:
            call()
        raised.append(caught.value)
    for error in raised:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert isinstance(raised[-1], InvalidConfigError)
    assert [problem.path for problem in raised[-1].problems] == ["params.smoth", "params.smooth"]
