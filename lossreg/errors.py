"""Exceptions of lossreg. Each has its data as attributes, and one message as its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any, Protocol

    class Event(Protocol):
        """The attributes of a HealthEvent, which is defined above this module."""

        @property
        def rule(self) -> str:
            """Return the class name of the rule."""

        @property
        def severity(self) -> str:
            """Return "info", "warning" or "error"."""

        @property
        def kind(self) -> str:
            """Return "data", "fault" or "unknown"."""

        @property
        def step(self) -> int:
            """Return the step of the update with the finding."""

        @property
        def evidence(self) -> Mapping[str, Any]:
            """Return the numbers behind the verdict, by name."""

        @property
        def hint(self) -> str:
            """Return the remedy."""

        @property
        def sample_ids(self) -> tuple[str, ...]:
            """Return the ids of the examples concerned."""

        @property
        def rank(self) -> int:
            """Return the process with the finding."""

        def as_dict(self) -> dict[str, Any]:
            """Return a copy as plain data, ready for JSON."""


class LossregError(Exception):
    """The base of all errors. `LossregError(message, **data)`: the data become attributes.

    All subclasses share the signature, so that every error can be pickled: DataLoader workers send theirs so.
    """

    def __init__(self, message: str, **data: object) -> None:
        super().__init__(message)
        for key, value in data.items():
            setattr(self, key, value)  # ImportError keeps its name in a slot, which __dict__ does not reach

    def __str__(self) -> str:
        # KeyError would print the repr of its argument: quotes, and newlines as \n.
        return str(self.args[0])


class WrongBaseClassError(LossregError, TypeError):
    """The target is not a class derived from the registry's base class."""

    name: str
    target: object


class ConflictError(LossregError, ValueError):
    """A name is taken by another entry. Nothing was changed."""

    name: str
    existing: str
    proposed: str


class InvalidNameError(LossregError, ValueError):
    """A name, tag or target that cannot be registered."""

    name: object


class NotFoundError(LossregError, KeyError):
    """No entry has this name."""

    name: str
    suggestions: tuple[str, ...]


class AmbiguousNameError(LossregError, KeyError):
    """Several providers claim this short name, and none of them owns it."""

    name: str
    candidates: tuple[str, ...]


class DisabledError(LossregError, KeyError):
    """The entry is installed, and disabled in the environment."""

    name: str
    reason: str


class ProviderError(LossregError, RuntimeError):
    """A provider's code failed while it was imported. The cause is chained."""

    name: str
    target: str
    distribution: str | None


class MissingLibraryError(LossregError, ImportError):
    """The library that a provider describes is not installed. The message has the command that installs it."""

    name: str
    distribution: str


class ManifestError(LossregError, ValueError):
    """A manifest that cannot be read, or that differs from the code it describes."""

    source: str


class TagSyntaxError(LossregError, ValueError):
    """A tag expression that cannot be parsed. `column` counts from 1."""

    expression: str
    column: int


class _PathAndMessage(NamedTuple):
    path: str
    message: str


class Problem(_PathAndMessage):
    """One problem of a config: its path, and a message with the remedy.

    Attributes:
        file: of the config, if `read_config` read it. The path is then that in the file.
        line: in the file; 0 if it is not known.
    """

    file: str = ""  # defaults for `_replace`, which does not call __new__
    line: int = 0

    def __new__(cls, path: str, message: str, file: str = "", line: int = 0) -> Problem:
        problem = super().__new__(cls, path, message)
        problem.file, problem.line = file, line
        return problem

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)


class InvalidConfigError(LossregError, ValueError):
    """A config that does not describe a loss. `problems` has all problems at once."""

    problems: tuple[Problem, ...]


class InputError(LossregError, ValueError):
    """Tensors that a loss cannot process: their values, task or device."""


class ShapeError(InputError):
    """Sizes that do not match. Nothing is ever broadcast silently."""


class DTypeError(InputError, TypeError):
    """A tensor of a type without a meaning here, such as integer logits."""


class ImplementationError(LossregError, RuntimeError):
    """An implementation that was requested by name cannot compute this."""

    implementation: str


class RecordsError(LossregError, OSError):
    """A directory of records that cannot be written or read. `directory` is its path."""

    directory: Path


class HealthError(LossregError, RuntimeError):
    """A finding of a rule with the action "raise", on this rank or on another."""

    event: Event | None  # None on the ranks without a finding of their own
