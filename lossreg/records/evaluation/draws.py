"""Draws: several evaluations of every example, with conditions and noise that every pass has again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from lossreg.errors import InputError
from lossreg.records.column_values import column, is_tensor, shown

if TYPE_CHECKING:
    from torch import Tensor

Noise = Literal["own", "common"]
Conditions = tuple[float, float] | Callable[[float], float]


@dataclass(frozen=True)
class Draw:
    """One of the evaluations of every example: its condition, and the noise of each example.

    Example:
        >>> def compute(batch, draw):
        ...     noise = draw.noise(batch["id"], like=batch["image"])
        ...     noisy = (1 - draw.condition) * batch["image"] + draw.condition * noise
        ...     return {"loss": noisy.square().flatten(1).mean(1), "sample_id": batch["id"]}

    Args:
        number: 0, 1, ... up to the number of draws.
        condition: the timestep, sigma or noise level of all examples; None if no `conditions` were given.
        sign: of the noise: -1 in every second draw of common noise, else 1.
        common: all examples have the same noise.
        seed: of the evaluation.
    """

    number: int
    condition: float | None = None
    sign: int = 1
    common: bool = False
    seed: int = 0
    _shapes: list[tuple[int, ...]] = field(default_factory=list, repr=False, compare=False)  # those of common noise

    def seeds(self, ids: Any) -> list[int]:
        """Return a seed for each example, for a generator of its own: the same in any process, batch and checkpoint.

        With common noise all examples have one seed, and so have the two draws of a pair: use `sign`.

        Args:
            ids: the sample_ids of the batch: texts or integers, also as an array or a tensor.
        """
        names = column("sample_id", ids)
        if None in names:
            raise InputError("draw: an example without a sample_id has no noise of its own; give every example one")
        if self.common:
            return [_hash(f"{self.seed}:{self.number // 2}:", 63)] * len(names)
        return [_hash(f"{self.seed}:{self.number}:{name}", 63) for name in names]

    def noise(self, ids: Any, like: Tensor) -> Tensor:
        """Return normal noise for each example, of the shape, dtype and device of `like`.

        It is drawn on the CPU, so that every device has the same.

        Args:
            ids: the sample_ids of the batch.
            like: the images or latents, (B, ...), of a floating-point dtype.
        Raises:
            InputError: not one id for each example, or integers; common noise for examples of different shapes.
        """
        import torch

        if not is_tensor(like) or not like.is_floating_point():
            what = like.dtype if is_tensor(like) else shown(like)
            raise InputError(f"draw.noise: like= must be a floating-point tensor, got {what}; convert it with .float()")
        seeds, shape = self.seeds(ids), tuple(like.shape[1:])
        if like.ndim == 0 or len(seeds) != len(like):
            raise InputError(
                f"draw.noise: {len(seeds)} ids for a batch of shape {tuple(like.shape)}; give one for each"
            )
        if self.common:
            self._check_shape(shape)
        generator = torch.Generator()
        each = {seed: torch.randn(shape, generator=generator.manual_seed(seed)) for seed in dict.fromkeys(seeds)}
        noise = torch.empty(like.shape)
        for row, seed in enumerate(seeds):
            noise[row] = each[seed]
        return self.sign * noise.to(like)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        if not self._shapes:
            self._shapes.append(shape)
        if self._shapes[0] != shape:
            raise InputError(
                f"draw.noise: an example of shape {shape} cannot have the noise of one of {self._shapes[0]}; use"
                " noise='own', or draw.seeds for noise of another kind"
            )


def make_draws(count: int | None, noise: Noise, conditions: Conditions | None, seed: int) -> tuple[Draw, ...]:
    """Make the draws of an evaluation; none if there is no count.

    Draw k of K has the condition at (k + h) / K of the sampler's distribution. The seed alone decides h. Common noise
    comes in pairs: two draws of one condition, whose noise has opposite signs.

    Raises:
        InputError: an invalid argument, or one that needs `draws`.
    """
    if noise not in ("own", "common"):
        raise InputError(f"noise must be 'own' or 'common', got {shown(noise)}")
    if count is None:
        for name, value in (("noise", "common" if noise == "common" else None), ("conditions", conditions)):
            if value is not None:
                raise InputError(f"{name}={shown(value)} needs the number of draws; add draws=4")
        return ()
    if type(count) is not int or count < 1:
        raise InputError(f"draws must be a number of evaluations >= 1, or None, got {shown(count)}")
    if type(seed) is not int:
        raise InputError(f"seed must be an integer, got {shown(seed)}")
    common = noise == "common"
    if common and count % 2:
        raise InputError(
            f"noise='common' draws noise and its negative: draws must be even, got {count}; use {count + 1}"
        )
    strata = count // 2 if common else count
    offset = (_hash(f"{seed}:", 52) + 0.5) / 2**52  # in (0, 1): a quantile at 0 or 1 may be infinite
    every = [_condition(conditions, (number + offset) / strata) for number in range(strata)]
    shapes: list[tuple[int, ...]] = []
    return tuple(
        Draw(k, every[k // 2 if common else k], -1 if common and k % 2 else 1, common, seed, shapes)
        for k in range(count)
    )


def plan(draws: tuple[Draw, ...]) -> Mapping[str, object]:
    """Describe the draws, for a job that continues and must have the same."""
    if not draws:
        return {}
    first, conditions = draws[0], [draw.condition for draw in draws]
    return {"draws": len(draws), "common": first.common, "seed": first.seed, "conditions": conditions}


def _condition(conditions: Conditions | None, share: float) -> float | None:
    """Evaluate the quantile function at a share, 0 to 1; an interval has equal shares everywhere."""
    if conditions is None:
        return None
    if callable(conditions):
        found: Any = conditions(share)
        value = found.item() if getattr(found, "ndim", None) == 0 else found
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"conditions({share:.4g}) must be a finite number, the timestep below which this share of those in"
                f" training lies; got {shown(value)}"
            )
        return float(value)
    low, high = _interval(conditions)
    return low + (high - low) * share


def _interval(conditions: object) -> tuple[float, float]:
    ends = tuple(conditions) if isinstance(conditions, tuple | list) else ()
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise InputError(
            "conditions must be an interval such as (0, 1000), or the quantile function of the training's sampler, got"
            f" {shown(conditions)}"
        )
    return float(numbers[0]), float(numbers[1])


def _hash(text: str, bits: int) -> int:
    digest = blake2b(text.encode(errors="backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)
