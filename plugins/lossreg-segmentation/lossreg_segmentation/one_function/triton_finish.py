# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, no-untyped-call, untyped-decorator"
"""From partial sums to the value of an example and the slopes of its sums, as a kernel: `finish.py` on a GPU.

A program has one example and computes in float64. A matrix of sums and classes is (KP, CP), powers of two that hold the
K sums and C classes; elsewhere it is 0. `device.py` makes the tables: for each term its numbers, the weights of the
classes, and the factors of its numerator and denominator.
"""

import triton
import triton.language as tl

# The places of a term's numbers in its row of NUMBERS.
ABOVE, BELOW, LEAST, OFFSET, SCALE = (tl.constexpr(place) for place in range(5))
WEIGHT, COUNTED, IGNORED, DROPPED, REPLACED, RATE, WEIGHTED, SQUARED = (tl.constexpr(place) for place in range(5, 13))
NUMBERS = tl.constexpr(13)


@triton.jit
def add_parts(parts_ptr, sums_ptr, parts, BLOCK: tl.constexpr):
    """Add the partial sums of one mask, where they are too many for `finish`."""
    at = parts_ptr + tl.program_id(0).to(tl.int64) * parts
    total = tl.zeros((BLOCK,), tl.float64)
    for first in range(0, parts, BLOCK):
        place = first + tl.arange(0, BLOCK)
        total += tl.load(at + place, mask=place < parts, other=0).to(tl.float64)
    tl.store(sums_ptr + tl.program_id(0), tl.sum(total, 0))


@triton.jit
def _sums(parts_ptr, K, C, parts, KP: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr):
    """Add the partial sums of an example, (K, B, C, parts), always in the same order."""
    k, c = tl.arange(0, KP)[:, None, None], tl.arange(0, CP)[None, :, None]
    row = (k * tl.num_programs(0) + tl.program_id(0)).to(tl.int64) * C + c
    total = tl.zeros((KP, CP, BLOCK), tl.float64)
    for first in range(0, parts, BLOCK):
        place = first + tl.arange(0, BLOCK)[None, None, :]
        real = (k < K) & (c < C) & (place < parts)
        total += tl.load(parts_ptr + row * parts + place, mask=real, other=0).to(tl.float64)
    return tl.sum(total, 2)


@triton.jit
def _sum_at(sums, place):
    """Return one sum of each class; 0 if the place is negative."""
    return tl.sum(tl.where(tl.arange(0, sums.shape[0])[:, None] == place, sums, 0), 0)


@triton.jit
def _number(numbers_ptr, term, PLACE: tl.constexpr):
    return tl.load(numbers_ptr + term * NUMBERS + PLACE)


@triton.jit
def _form(matrix_ptr, form, sums, K, C, by_class):
    """Read the factors of a linear form, (K, C) or (K, 1), and compute it. A factor of 0 is no term for any sum."""
    k, c = tl.arange(0, sums.shape[0])[:, None], tl.arange(0, sums.shape[1])[None, :]
    width = 1 + (C - 1) * by_class
    factors = tl.load(matrix_ptr + (form * K + k) * width + c * by_class, mask=(k < K) & (c < C), other=0)
    return factors, tl.sum(tl.where(factors != 0, factors * sums, 0), 0)


@triton.jit
def _shares(valid, actual, weights, ignored, dropped):
    """Return the share of each class in the mean over classes: 0 for ignored masks, and for empty ones if dropped."""
    weights = tl.where(valid > 0, weights, (1 - ignored) * weights)
    weights = tl.where(actual == 0, (1 - dropped) * weights, weights)
    total = tl.sum(weights, 0)
    return weights / tl.where(total > 0, total, 1.0)


@triton.jit
def _score(matrix_ptr, numbers_ptr, term, sums, K, C, by_class):
    """Return factors, numerator / denominator, the denominator, and where it is at its lower bound."""
    up, above = _form(matrix_ptr, 2 * term, sums, K, C, by_class)
    down, below = _form(matrix_ptr, 2 * term + 1, sums, K, C, by_class)
    above += _number(numbers_ptr, term, ABOVE)
    below += _number(numbers_ptr, term, BELOW)
    least = _number(numbers_ptr, term, LEAST)
    bounded = below < least
    below = tl.where(bounded, least, below)
    return up, down, above / below, below, bounded


@triton.jit
def _ratio(matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual, predicted, at_predicted):
    """Return the value of a ratio of each mask, and the slopes of the sums."""
    up, down, score, below, bounded = _score(matrix_ptr, numbers_ptr, term, sums, K, C, by_class)
    scale, rated = _number(numbers_ptr, term, SCALE), _number(numbers_ptr, term, RATE)
    share = _shares(valid, actual, weights, _number(numbers_ptr, term, IGNORED), _number(numbers_ptr, term, DROPPED))
    empty = tl.where(actual == 0, _number(numbers_ptr, term, REPLACED), 0) > 0
    pixels = tl.where(valid < 1, 1, valid)
    rate = tl.where(rated > 0, predicted / pixels, 0)
    each = tl.where(empty, rate, _number(numbers_ptr, term, OFFSET) + scale * score)
    value = tl.sum(tl.where(tl.arange(0, sums.shape[1]) < C, each * share, 0), 0)
    slope = tl.where(empty, 0, share) * scale / below
    to_denominator = tl.where(bounded, 0, slope * score)
    slopes = tl.where(up != 0, up * slope[None, :], 0) - tl.where(down != 0, down * to_denominator[None, :], 0)
    of_rate = tl.where(empty, rated * share / pixels, 0)
    return value, slopes + tl.where(tl.arange(0, sums.shape[0])[:, None] == at_predicted, of_rate[None, :], 0)


@triton.jit
def _mean(matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual):
    """Return the value of a mean over the pixels of all classes, and the slopes of the sums."""
    up, summed = _form(matrix_ptr, 2 * term, sums, K, C, by_class)
    # All classes have the same number of valid pixels. Not tl.maximum, which drops a NaN.
    pixels = tl.sum(tl.where(tl.arange(0, sums.shape[1]) == 0, valid, 0), 0)
    pixels = tl.where(pixels < 1, 1, pixels)
    weighted, by_weight = _number(numbers_ptr, term, WEIGHTED) != 0, tl.sum(weights * actual, 0)
    some = (by_weight > 0) | (weighted == 0)
    below = tl.where(weighted, tl.where(some, by_weight, 1.0), pixels)
    value = tl.where(some, tl.sum(summed * weights, 0), 0) / below
    slope = tl.where(some, weights / below, 0)
    return value, tl.where(up != 0, up * slope[None, :], 0)


@triton.jit
def _error(matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual, predicted_ptr):
    """Return the error of the predicted number of each mask, and the slopes of these numbers."""
    _up, _down, score, _below, _bounded = _score(matrix_ptr, numbers_ptr, term, sums, K, C, by_class)
    place = tl.arange(0, sums.shape[1])
    predicted = tl.load(predicted_ptr + tl.program_id(0) * C + place, mask=place < C, other=0).to(tl.float64)
    error = predicted - (_number(numbers_ptr, term, OFFSET) + _number(numbers_ptr, term, SCALE) * score)
    squared = _number(numbers_ptr, term, SQUARED) > 0
    share = _shares(valid, actual, weights, _number(numbers_ptr, term, IGNORED), 0)
    each = tl.where(squared, error * error, tl.abs(error))
    sign = tl.where(error > 0, 1.0, tl.where(error < 0, -1.0, error))
    return tl.sum(tl.where(place < C, each * share, 0), 0), share * tl.where(squared, 2 * error, sign)


@triton.jit
def _put(values_ptr, numbers_ptr, term, value, total):
    """Store the value of a term; return the total with it, and the factor of its slopes, 0 if it is only logged."""
    tl.store(values_ptr + term * tl.num_programs(0) + tl.program_id(0), value)
    weight, counted = _number(numbers_ptr, term, WEIGHT), _number(numbers_ptr, term, COUNTED) != 0
    return total + tl.where(counted, weight * value, 0), weight, counted


@triton.jit(
    do_not_specialize=["K", "C", "parts", "divisor", "by_class", "weighted", "at_actual", "at_valid", "at_predicted"]
)
def finish(
    parts_ptr, matrix_ptr, weights_ptr, numbers_ptr, predicted_ptr, totals_ptr, values_ptr, slopes_ptr, errors_ptr,
    K, C, parts, divisor, by_class, weighted, at_actual, at_valid, at_predicted,
    RATIOS: tl.constexpr, MEANS: tl.constexpr, ERRORS: tl.constexpr,
    KP: tl.constexpr, CP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the total of an example, its terms (T, B), the slopes of the sums (K, B, C) and of the predicted numbers.

    The slopes are those of total / divisor. The terms are RATIOS of masks, then MEANS over pixels, then ERRORS.
    """
    k, c = tl.arange(0, KP)[:, None], tl.arange(0, CP)
    sums = _sums(parts_ptr, K, C, parts, KP, CP, BLOCK)
    actual, valid, predicted = _sum_at(sums, at_actual), _sum_at(sums, at_valid), _sum_at(sums, at_predicted)
    total, slopes, errors = tl.zeros((), tl.float64), tl.zeros((KP, CP), tl.float64), tl.zeros((CP,), tl.float64)
    for term in tl.static_range(RATIOS + MEANS + ERRORS):
        weights = tl.load(weights_ptr + (term * C + c) * weighted, mask=c < C, other=0)
        if term < RATIOS:
            value, more = _ratio(
                matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual, predicted, at_predicted
            )
        elif term < RATIOS + MEANS:
            value, more = _mean(matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual)
        else:
            value, more = _error(
                matrix_ptr, numbers_ptr, term, sums, K, C, by_class, weights, valid, actual, predicted_ptr
            )
        total, weight, counted = _put(values_ptr, numbers_ptr, term, value, total)
        if term < RATIOS + MEANS:
            slopes += tl.where(counted, more * weight, 0)
        else:
            errors += tl.where(counted, more * weight, 0)
    example, divisor = tl.program_id(0), divisor.to(tl.float64)
    tl.store(totals_ptr + example, total)
    row = (k * tl.num_programs(0) + example).to(tl.int64) * C + c[None, :]
    tl.store(slopes_ptr + row, slopes / divisor, mask=(k < K) & (c < C)[None, :])
    if ERRORS > 0:
        tl.store(errors_ptr + example * C + c, errors / divisor, mask=c < C)
