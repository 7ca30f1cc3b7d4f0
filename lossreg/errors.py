"""Every exception that lossreg raises. Each carries its data as attributes and reads as one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from lossreg.health.event import HealthEvent


class LossregError(Exception):
    """Base of all errors. `LossregError(message, **data)`: the data become attributes.

    The signature is shared by all subclasses so that every error pickles, as errors in DataLoader workers must.
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
    """A name is taken by something else. Nothing was changed."""

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
    """The entry is installed, and switched off in the environment."""

    name: str
    reason: str


class ProviderError(LossregError, RuntimeError):
    """A provider's code failed while it was imported. The cause is chained."""

    name: str
    target: str
    distribution: str | None


class MissingLibraryError(LossregError, ImportError):
    """The library that a provider describes is not installed. The message says what installs it."""

    name: str
    distribution: str


class ManifestError(LossregError, ValueError):
    """A manifest that cannot be read, or that differs from the code it describes."""

    source: str


class TagSyntaxError(LossregError, ValueError):
    """A tag expression that cannot be parsed. `column` counts from 1."""

    expression: str
    column: int


class Problem(NamedTuple):
    """One thing that is wrong with a config: where it is, and what to do."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidConfigError(LossregError, ValueError):
    """A config that does not describe a loss. `problems` holds every problem at once."""

    problems: tuple[Problem, ...]


class InputError(LossregError, ValueError):
    """Tensors that a loss cannot take: their values, task or device."""


class ShapeError(InputError):
    """Sizes that do not fit. Nothing is ever broadcast silently."""


class DTypeError(InputError, TypeError):
    """A tensor of a type that carries no meaning here, such as integer logits."""


class ImplementationError(LossregError, RuntimeError):
    """An implementation that was asked for by name cannot compute this."""

    implementation: str


class RecordsError(LossregError, OSError):
    """A directory of records that cannot be written or read. `directory` is which."""

    directory: Path


class HealthError(LossregError, RuntimeError):
    """A rule whose action is "raise" found something, on this rank or on another."""

    event: HealthEvent | None  # None on the ranks that found nothing themselves
