"""Say in words for a learner how a value differs from the expected one."""

from collections.abc import Mapping
from textwrap import shorten
from typing import Any

import numpy as np
import torch

__all__ = ["difference", "in_words"]

# Rounding error allowed for float32, relative to the largest expected value.
_FLOAT32_LOSS = 1e-6
# For each expected dtype kind, the kinds that are accepted. "f" excludes "u", which wraps around.
_ACCEPTED_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "fi", "c": "cfi"}
_NUMBERS = (bool, int, float, complex, np.number, np.bool_)
_ARRAYS = (np.ndarray, torch.Tensor)


def in_words(value: Any) -> str:
    """Describe any value, such as "a uint8 array of shape (8, 8), values 0 to 255"."""
    if isinstance(value, _ARRAYS):
        array = _to_numpy(value)
        if array.ndim == 1 and 0 < array.size <= 6 and array.dtype.kind in "biufc":
            return f"{_kind_of(value)} [{', '.join(_number(x) for x in array)}]"
        text = f"{_kind_of(value)} of shape {array.shape}"
        if array.size and array.dtype.kind in "biuf":
            low, high = _number(array.min()), _number(array.max())
            text += f", all values {low}" if low == high else f", values {low} to {high}"
        return text
    if isinstance(value, _NUMBERS):
        return _number(value)
    if value is None or isinstance(value, str):
        return shorten(repr(value[:100] if value else value), 60)
    if isinstance(value, (tuple, list)):
        parts = ", ".join(in_words(part) for part in value[:21])  # more are longer than 60
        kind = type(value).__name__
        return f"a {kind} ({parts})" if len(parts) <= 60 else f"a {kind} of {len(value)} values"
    if name := getattr(value, "__name__", ""):
        return f"the {type(value).__name__} {name}"
    return f"an object of type {type(value).__name__}"


def difference(value: Any, expected: Any, *, tolerance: float) -> str:
    """Say how a value differs from the expected one; an empty text means that it does not.

    Arrays need the same shape, a fitting dtype and close values. A number may come from Python,
    NumPy or torch; a list or an array may stand for a tuple; floats may have any width. But
    tensors must be tensors, arrays must be arrays, and uint8 must be uint8. Tuples, lists and
    mappings are compared part by part, anything else by ``==``.

    `tolerance` is the largest absolute difference of two numbers that count as equal. For floats,
    a millionth of the largest expected value is added for the rounding of float32.
    """
    if isinstance(expected, (*_ARRAYS, *_NUMBERS)):
        return _kind_difference(value, expected) or _value_difference(value, expected, tolerance)
    if isinstance(expected, Mapping):
        if not isinstance(value, Mapping):
            return f"yours is {in_words(value)}, expected a dict"
        if missing := [key for key in expected if key not in value]:
            return f"yours has no key {missing[0]!r}"
        if extra := [key for key in value if key not in expected]:
            return f"yours has the key {extra[0]!r}, which is not expected"
        parts = ((f"under {key!r}", value[key], expected[key]) for key in expected)
        return _first_difference(parts, tolerance)
    if isinstance(expected, (tuple, list)):
        count = len(expected)
        if not _is_sequence(value):
            return f"yours is {in_words(value)}, expected a {type(expected).__name__} of {count}"
        if len(value) != count:
            return f"yours holds {len(value)} values, expected {count}"
        pairs = enumerate(zip(value, expected, strict=True), start=1)
        return _first_difference(
            ((f"value {n} of {count}", mine, theirs) for n, (mine, theirs) in pairs), tolerance
        )
    try:
        equal = bool(value == expected)
    except Exception:  # objects without a truth value are not comparable, so not equal
        equal = False
    return "" if equal else f"yours is {in_words(value)}, expected {in_words(expected)}"


def _first_difference(parts, tolerance: float) -> str:
    for place, value, expected in parts:
        if text := difference(value, expected, tolerance=tolerance):
            return f"{place}: {text}"
    return ""


def _kind_difference(value: Any, expected: Any) -> str:
    """Compare everything but the values."""
    single = not isinstance(expected, torch.Tensor) and np.ndim(expected) == 0
    if single:
        fits = isinstance(value, (*_NUMBERS, *_ARRAYS)) and _to_numpy(value).ndim == 0
    else:
        fits = isinstance(value, torch.Tensor if isinstance(expected, torch.Tensor) else np.ndarray)
    theirs = _to_numpy(expected)
    if not fits:
        wanted = "a single number" if single else f"{_kind_of(expected)} of shape {theirs.shape}"
        return f"yours is {in_words(value)}, expected {wanted}"
    mine = _to_numpy(value)
    if mine.shape != theirs.shape:
        return f"yours has shape {mine.shape}, expected {theirs.shape}"
    accepted = _ACCEPTED_KINDS.get(theirs.dtype.kind, theirs.dtype.kind)
    wrong_width = theirs.dtype == np.uint8 and mine.dtype != np.uint8 and not single
    if mine.dtype.kind not in accepted or wrong_width:
        return f"yours has dtype {mine.dtype}, expected {theirs.dtype}"
    return ""


def _value_difference(value: Any, expected: Any, tolerance: float) -> str:
    """Compare the values of two numbers or arrays of one shape."""
    mine, theirs = _to_numpy(value), _to_numpy(expected)
    if theirs.dtype.kind not in "biufc":
        wrong = np.asarray(mine != theirs)
        distance = np.where(wrong, np.inf, 0.0)
    else:
        wide = np.complex128 if "c" in mine.dtype.kind + theirs.dtype.kind else np.float64
        a, b = mine.astype(wide), theirs.astype(wide)
        with np.errstate(all="ignore"):
            distance = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
        allowed = tolerance
        finite = np.abs(b[np.isfinite(b)])
        if theirs.dtype.kind in "fc" and finite.size:
            allowed += _FLOAT32_LOSS * finite.max()
        wrong = distance > allowed
    if not wrong.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    text = f"yours is {_number(mine[first], theirs[first])}, "
    text += f"expected {_number(theirs[first], mine[first])}"
    if mine.ndim:
        count = int(wrong.sum())
        differ = "1 value differs" if count == 1 else f"{count} of {mine.size} values differ, first"
        text = f"{differ} at {list(first)}: {text}"
        worst = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
        if worst != first and np.isfinite(distance[worst]):
            text += f"; the largest difference is {_number(distance[worst])} at {list(worst)}"
    text += _other_range(mine, theirs)
    if mine.dtype.kind != theirs.dtype.kind and mine.ndim:
        text += f" (yours has dtype {mine.dtype}, expected {theirs.dtype})"
    return text


def _other_range(mine: np.ndarray, theirs: np.ndarray) -> str:
    """Say so if a picture is right but for its range, within a grey level."""
    if mine.ndim < 2 or theirs.dtype.kind not in "biuf":
        return ""
    for one, other, ranges in (
        (mine, theirs, "0..255, expected 0..1"),
        (theirs, mine, "0..1, expected 0..255"),
    ):
        if np.abs(one).max() > 25 and np.allclose(one, 255.0 * other, rtol=0, atol=1):
            return f"; yours is in {ranges}"
    return ""


def _is_sequence(value: Any) -> bool:
    return value.ndim > 0 if isinstance(value, _ARRAYS) else isinstance(value, (tuple, list))


def _kind_of(array: np.ndarray | torch.Tensor) -> str:
    dtype = str(array.dtype).removeprefix("torch.")
    noun = "torch tensor" if isinstance(array, torch.Tensor) else "array"
    return f"{'an' if dtype[0] in 'aeio' else 'a'} {dtype} {noun}"


def _to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        # NumPy has no bfloat16.
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
    return np.asarray(value)


def _number(value: Any, other: Any = None) -> str:
    """Write a number in six digits, or in all if six cannot tell it from `other`."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (float, complex)):
        return str(value)
    text = f"{value:.6g}"
    return repr(value) if other is not None and text == f"{other:.6g}" else text
