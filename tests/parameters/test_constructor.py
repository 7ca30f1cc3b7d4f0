"""Parameters of a constructor: each annotation is evaluated alone, and none is passed over in silence."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import Field

from lossreg import InvalidConfigError, ManifestError, build, losses, validate
from lossreg.parameters.constructor import constructor_parameters
from lossreg.parameters.from_signature import describe, unreadable_annotations

from ..kinds import Module

if TYPE_CHECKING:
    import collections.abc as abc
    from pathlib import Path as Folder

    from acme_for_type_checkers import Gone

Bounded = Annotated[float, Field(ge=0)]


class Several(Module):
    """One annotation cannot be evaluated; the others can."""

    def __init__(
        self, gamma: Bounded = 2.0, mode: Literal["a", "b"] = "a", gone: list[Gone] | None = None, n: int = 1
    ) -> None:
        super().__init__()


def plain(wrapped):
    """Hide the parameters of a function, as a decorator without functools.wraps does."""

    def wrapper(*args, **kwargs):
        return wrapped(*args, **kwargs)

    return wrapper


def wrapping(wrapped):
    """Keep the parameters of a function."""

    @functools.wraps(wrapped)
    def wrapper(*args, **kwargs):
        return wrapped(*args, **kwargs)

    return wrapper


def test_an_annotation_that_cannot_be_evaluated_costs_its_own_check_alone():
    """The other parameters keep bounds and listed values, and the reason is given."""
    with losses.scope():
        losses.register("several")(Several)
        with pytest.warns(UserWarning, match=r"Several: the parameter gone is not checked, .*'Gone' is not defined"):
            validate("several")
        validate("several")  # warns once
        for wrong in ({"gamma": -1}, {"mode": "zzz"}, {"n": 1.5}):
            with pytest.raises(InvalidConfigError, match=f"params.{next(iter(wrong))}: expected"):
                validate("several", params=wrong)
        assert validate("several", gone=[1]).params["gone"] == [1]
    assert unreadable_annotations(Several) == {"gone": "NameError: name 'Gone' is not defined"}


def test_a_class_of_the_function_around_cannot_be_found_by_its_name():
    """Text alone does not lead there, unless the constructor itself uses the name."""

    class Local: ...

    class Kept: ...

    class Uses(Module):
        def __init__(self, a: Local = None, b: list[Kept] = None, n: int = 1) -> None:  # noqa: RUF013
            super().__init__()
            self.kept = Kept

    assert unreadable_annotations(Uses).keys() == {"a"}
    assert constructor_parameters(Uses)["b"].hint == list[Kept]
    assert describe(Uses)["properties"]["n"] == {"type": "integer", "default": 1}


def test_names_for_type_checkers_are_found_in_torch_and_the_standard_library():
    """`if TYPE_CHECKING: from torch import nn` is usual, and a linter writes it."""

    class Usual(Module):
        def __init__(self, a: Folder, b: abc.Sequence[int]) -> None:
            super().__init__()

    assert unreadable_annotations(Usual) == {}
    assert constructor_parameters(Usual)["a"].hint.__name__ == "Path"
    assert describe(Usual)["properties"]["b"] == {"type": "array", "items": {"type": "integer"}}


def test_names_for_type_checkers_do_not_depend_on_the_modules_that_are_loaded(site):
    """Modules of the same package are imported; another library decides nothing, loaded or not."""
    site.module("acme_other", "class Thing(str): ...")
    site.module("acme_names.modes", 'import enum\nclass Mode(enum.Enum):\n    MEAN = "mean"')
    site.module("acme_names.broken", "raise SystemExit")
    site.module(
        "acme_names.losses",
        """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from torch import nn
        if TYPE_CHECKING:
            import acme_names.modes
            import acme_names.modes as kinds
            from acme_other import Thing
            from . import modes
            from .broken import Never
            from .modes import Mode

        class Made(nn.Module):
            def __init__(
                self, a: Mode, b: modes.Mode, c: kinds.Mode, d: acme_names.modes.Mode, e: Thing = "", f: Never = 1
            ):
                super().__init__()
                self.given = (a, b, c, d)
        """,
    )
    made = importlib.import_module("acme_names.losses").Made
    importlib.import_module("acme_other")
    assert unreadable_annotations(made).keys() == {"e", "f"}
    mode = importlib.import_module("acme_names.modes").Mode.MEAN
    with losses.scope():
        losses.register("named")(made)
        with pytest.warns(UserWarning, match="the parameter [ef] is not checked"):
            built = build("named", params=dict.fromkeys("abcd", "mean"))
    assert built.given == (mode,) * 4


def test_a_name_in_the_class_does_not_hide_a_builtin():
    """A name of the class's body is found, after the module's names."""

    class Named(Module):
        Mode = Literal["a", "b"]

        def __init__(self, a: Named.Mode, b: Mode, c: list[int]) -> None:
            super().__init__()

        def list(self) -> None: ...

    assert constructor_parameters(Named)["b"].hint == Literal["a", "b"]
    assert constructor_parameters(Named)["c"].hint == list[int]


def test_a_decorator_that_hides_the_parameters_is_named():
    """With functools.wraps they are known."""

    class Hidden(Module):
        @plain
        def __init__(self, gamma: Bounded = 1.0) -> None:
            super().__init__()

    class Shown(Module):
        @wrapping
        def __init__(self, gamma: Bounded = 1.0) -> None:
            super().__init__()

    with losses.scope():
        losses.register("hidden")(Hidden)
        with pytest.raises(ManifestError, match=r"Hidden cannot be read: a decorator hides .* functools\.wraps"):
            validate("hidden", gamma=2)
    assert describe(Shown)["properties"]["gamma"] == {"minimum": 0, "type": "number", "default": 1.0}


def test_a_constructor_that_passes_everything_on_hides_nothing():
    """The next constructor has the parameters."""

    class Middle(Several):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    assert list(describe(Middle)["properties"]) == ["gamma", "mode", "gone", "n"]


def test_a_required_parameter_by_position_alone_is_refused():
    """A config gives each parameter by name. One with a default keeps it."""

    class Position(Module):
        def __init__(self, gamma: float, /, alpha: float = 1.0) -> None:
            super().__init__()

    class Given(Module):
        def __init__(self, gamma: float = 1.0, /, alpha: float = 1.0) -> None:
            super().__init__()

    with pytest.raises(ManifestError, match="gamma can be given by position alone; remove the / after it"):
        describe(Position)
    assert list(describe(Given)["properties"]) == ["alpha"]
