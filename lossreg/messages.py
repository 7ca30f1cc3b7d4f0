"""Messages: how errors show values, paths and similar names, warnings given once, and the error for a missing extra."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from lossreg.errors import InvalidConfigError, MissingLibraryError, Problem

MAX_LINE = 2000  # characters of a problem in a message
MAX_MESSAGE = 16_000  # characters; the error's attribute has all problems
MAX_SHOWN = 60  # characters of a value in a message


def invalid(problems: list[Problem]) -> InvalidConfigError:
    """Return one error for all problems of a config, cut to a readable length."""
    lines = [_cut(str(problem), MAX_LINE) for problem in problems]
    while sum(map(len, lines)) > MAX_MESSAGE:
        lines.pop()
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    text = lines[0] if len(lines) == 1 else f"{len(problems)} problems\n  " + "\n  ".join(lines)
    return InvalidConfigError(f"invalid loss config: {text}", problems=tuple(problems))


def shown(value: object, limit: int = MAX_SHOWN) -> str:
    """Show a value on one line, cut to length."""
    if isinstance(value, str):
        text = f"the text {value[:limit]!r}"
    elif isinstance(value, (Mapping, list, tuple)):
        what = "mapping" if isinstance(value, Mapping) else "list"
        text = f"a {what} of {len(value)}"
    elif isinstance(value, int):
        text = repr(value) if abs(value) < 10**limit else "a huge integer"
    elif value is None or isinstance(value, float):
        text = repr(value)
    else:  # the repr of another class may be long, or raise
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= limit + 20 else text[:limit] + "..."


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def join(path: str, key: str | int) -> str:
    """Join a path and a key: `terms[1]`, `params.smooth`, and `params['a b']` for a key that is no identifier."""
    if isinstance(key, int) or not key.replace("-", "_").isidentifier():
        return f"{path}[{key!r:.80}]"
    return f"{path}.{key}" if path else key


def printable(text: str) -> str:
    """Replace the control characters of a text, so that a package cannot steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def similar(name: str, known: Iterable[str], most: int = 1) -> tuple[str, ...]:
    """Return the known names that a mistyped one may mean, the most similar first, in any case if need be."""
    from difflib import get_close_matches  # slow to import, and seldom needed

    names = [*known]
    same = [each for each in names if each.lower() == name.lower()]
    close = same + get_close_matches(name, names, n=most)
    if not close:
        spelled = {each.lower(): each for each in reversed(names)}
        close = [spelled[lower] for lower in get_close_matches(name.lower(), spelled, n=most)]
    return tuple(dict.fromkeys(close))[:most]


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, otherwise: str = "") -> str:
    """Write "did you mean 'dice' or 'dace'?", or `otherwise` where no known name is similar."""
    close = similar(name, known, most)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else otherwise


_warned: set[object] = set()  # the keys of the warnings that this process has given

# Top-level packages between a line of the user and lossreg's own code that warns about it.
_BETWEEN = {"contextlib", "functools", "hydra", "omegaconf", "pluggy", "pydantic", "torch", "typer"}
_BETWEEN |= {"importlib", "_frozen_importlib", "_frozen_importlib_external"}


def warn_once(key: object, message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, unless a warning with this key was given before in this process."""
    if key not in _warned:
        _warned.add(key)
        warn(message, category)


def warn(message: str, category: type[Warning] = UserWarning, source: object = None) -> None:
    """Warn about the user's own line: Python shows a DeprecationWarning by default if that is in the script that runs.

    Python 3.12 has `skip_file_prefixes` for this.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_between(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    module = frame.f_globals.get("__name__", "unknown")
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        # Without the module's globals: Python would ask its loader for the line, and that of `python -c` raises then.
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module,
        registry,
        None,
        source,
    )


def _is_between(module: str) -> bool:
    package = module.partition(".")[0]
    return package in _BETWEEN or package == "lossreg" or package.startswith("lossreg_")


def with_type(error: BaseException) -> str:
    """Show an error as "Type: message"."""
    return f"{type(error).__name__}: {error}"


def one_line(error: BaseException) -> str:
    """Show an error as "Type: message", without line breaks and control characters."""
    return printable(" ".join(with_type(error).split()))


def is_installed(package: str) -> bool:
    """Return whether a top-level package is installed, without importing it.

    A folder of that name without code, as beside a script, does not count: Python finds it as a namespace package.
    """
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # the spec of __main__, or of a module without one
        return False
    return spec is not None and spec.has_location


def require(*packages: str, extra: str, use: str) -> None:
    """Check that the packages of an extra can be imported, without importing them.

    Args:
        packages: top-level modules, such as "duckdb".
        extra: the extra of lossreg that installs them, such as "records".
        use: the feature that needs them, such as "drawing", for the message.
    Raises:
        MissingLibraryError: a package is not installed. The message has the command that installs it.
    """
    for package in packages:
        if not is_installed(package):
            raise MissingLibraryError(
                f"{use}: {package} is not installed; pip install 'lossreg[{extra}]'",
                name=package,
                distribution=f"lossreg[{extra}]",
            )
