"""The parameters of a constructor and of those that it passes `**kwargs` to, each with its evaluated annotation."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import resolve_name
from itertools import chain
from types import SimpleNamespace
from typing import Any, NamedTuple, get_type_hints
from weakref import WeakKeyDictionary

from lossreg.errors import ManifestError
from lossreg.messages import with_type

EMPTY: Any = inspect.Parameter.empty
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Parameter(NamedTuple):
    """One parameter: `hint` is EMPTY without an annotation, and where the annotation is `unreadable` for a reason."""

    name: str
    hint: Any
    default: Any
    unreadable: str = ""

    @property
    def required(self) -> bool:
        """Return whether the parameter has no default."""
        return self.default is EMPTY


_found: WeakKeyDictionary[type, dict[str, Parameter]] = WeakKeyDictionary()


def constructor_parameters(cls: type) -> dict[str, Parameter]:
    """Return the parameters that a class takes by name. Cached.

    Raises:
        ManifestError: a decorator hides the parameters, or one without default cannot be given by name.
    """
    if cls not in _found:
        found: dict[str, Parameter] = {}
        for each in _parameters(cls):
            found.setdefault(each.name, each)  # the nearest declaration counts
        _found[cls] = found
    return _found[cls]


def unreadable_annotations(cls: type) -> dict[str, str]:
    """Return the parameters whose annotations cannot be evaluated, each with the reason.

    Such a parameter is checked by the type of its default alone.
    """
    return {each.name: each.unreadable for each in constructor_parameters(cls).values() if each.unreadable}


def _parameters(cls: type) -> Iterator[Parameter]:
    """Yield the parameters of each constructor in the method resolution order, as far as `**kwargs` reaches."""
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if not inspect.isfunction(init):
            continue
        _refuse_hidden(cls, init)
        evaluate = _evaluator(base, init)
        passes_on = False
        for given in list(inspect.signature(init).parameters.values())[1:]:
            if given.kind is inspect.Parameter.VAR_KEYWORD:
                passes_on = True
            elif given.kind in _BY_NAME:
                yield evaluate(given)
            elif given.kind is inspect.Parameter.POSITIONAL_ONLY and given.default is EMPTY:
                raise _refused(cls, f"{given.name} can be given by position alone; remove the / after it")
        if not passes_on:
            break


def _refuse_hidden(cls: type, init: Any) -> None:
    wrapper = init.__code__.co_name != "__init__" and not hasattr(init, "__wrapped__")
    variadic = init.__code__.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    compiled = init.__module__.startswith("torch._dynamo.")  # torch.compile patches the constructor of nn.Module
    if wrapper and variadic and not compiled and not hasattr(init, "__signature__"):
        raise _refused(cls, f"a decorator hides them ({init.__qualname__}); give its wrapper functools.wraps")


def _refused(cls: type, reason: str) -> ManifestError:
    target = f"{cls.__module__}:{cls.__qualname__}"
    return ManifestError(f"the parameters of {target} cannot be read: {reason}", source=target)


def _evaluator(base: type, init: Any) -> Callable[[inspect.Parameter], Parameter]:
    """Return a function that evaluates one annotation, so that a bad one costs no other its check."""
    unwrapped = inspect.unwrap(init)
    function: Any = unwrapped if inspect.isfunction(unwrapped) else init
    outside, closure = function.__globals__, _closure(function)
    annotations = {**function.__annotations__, **init.__annotations__}

    def evaluate(given: inspect.Parameter) -> Parameter:
        annotation = annotations.get(given.name, EMPTY)
        if annotation is EMPTY:
            return Parameter(given.name, EMPTY, given.default)
        try:
            hint = _evaluated(annotation, outside, closure)
        except Exception as first:  # noqa: BLE001 - an annotation is an expression, which may raise anything
            try:
                hint = _evaluated(
                    annotation, outside, {**vars(base), **_for_type_checkers(function, annotation), **closure}
                )
            except Exception:  # noqa: BLE001
                return Parameter(given.name, EMPTY, given.default, with_type(first))
        return Parameter(given.name, hint, given.default)

    return evaluate


def _evaluated(annotation: Any, outside: dict[str, Any], inside: dict[str, Any]) -> Any:
    stand_in: Any = SimpleNamespace(__annotations__={"it": annotation})
    return get_type_hints(stand_in, dict(outside), inside, include_extras=True)["it"]


def _closure(function: Any) -> dict[str, Any]:
    """Return the variables of the enclosing function that the constructor keeps, and its type parameters."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {each.__name__: each for each in getattr(function, "__type_params__", ())}
    for name, cell in cells:
        with suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def _for_type_checkers(function: Any, annotation: Any) -> dict[str, Any]:
    """Return the names of an annotation that its module imports under TYPE_CHECKING.

    They are imported from the same package, torch and the standard library alone: from another library only chance
    would tell, as something else may have imported it before.
    """
    try:
        module = sys.modules[function.__module__]
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, KeyError, SyntaxError):  # a notebook, or a module without source
        return {}
    found: dict[str, Any] = {}
    for block in ast.walk(tree):
        if not (isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)):
            continue
        for name, source, fetch in chain.from_iterable(_bound(node, module.__package__) for node in block.body):
            top = source.partition(".")[0]
            known = top in ("torch", module.__name__.partition(".")[0]) or top in sys.stdlib_module_names
            if known and name in str(annotation):
                with suppress(Exception, SystemExit):  # it may raise anything
                    found[name] = fetch()
    return found


def _bound(node: ast.stmt, package: str | None) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield each name that an import statement binds, the module that it imports, and a function for the value."""
    if isinstance(node, ast.ImportFrom):
        source = resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            inner = alias.name
            yield alias.asname or inner, source, partial(_import_from, source, inner)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            fetch = import_module if alias.asname else __import__  # of `import a.b` the name is a
            yield alias.asname or alias.name.partition(".")[0], alias.name, partial(fetch, alias.name)


def _import_from(source: str, name: str) -> Any:
    return getattr(__import__(source, fromlist=[name]), name)
