"""Checks of scalar arguments: each returns the value as a plain Python object or says what was expected."""

from __future__ import annotations

import math
import numbers
import operator
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np

# Lengths of axes, ints; None for an axis whose length is not known, as of texts. The type checker is told less than that,
# as nearly all code sees known lengths only.
Shape = tuple[Any, ...]


# What a name must have in common with another for that to be suggested, from 0 to 1; below, suggestions are guesses.
_NEAR = 0.72
# What a suggestion loses for each word that it has and the name lacks, and the other way round: nothing is likelier
# than a slip of the keyboard, then a word left out, then one too many.
_LEFT_OUT, _TOO_MANY = 0.06, 0.15
# What abbreviations get, `rmse`, or `batch_norm` for `batch_normalization`, and what the same letters in another order.
_INITIALS, _BEGINNINGS, _SWAPPED = 0.9, 0.95, 0.95


class WrongTypeError(TypeError, ValueError):
    """An argument is of the wrong type. Keras raises the one or the other for such, so that scripts expect either."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `name`: "; did you mean 'adam'?", or "." if nothing is near."""
    found = suggestion(name, known)
    return f"; did you mean {found!r}?" if found else "."


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """The name among `known` that `name` most probably stands for; None if nothing is near."""
    words = _words(name)
    scores = [(_likeness(words, _words(other)), other) for other in known] if words else []
    best = max(scores, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= _NEAR else None


def _words(name: str) -> list[str]:
    """The words of a name in small letters, whether they are joined by `_` or begin with capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+[A-Z]?", name)]


def _likeness(given: Sequence[str], other: Sequence[str]) -> float:
    """How probably somebody who wrote the words `given` meant `other`, from 0 to 1."""
    from difflib import SequenceMatcher

    initials = "".join(word[0] for word in " ".join(other).replace("crossentropy", "cross entropy").split())
    if len(initials) > 1 and "".join(given) == initials:
        return _INITIALS
    if len(given) == len(other) and all(map(str.startswith, other, given)):
        return _BEGINNINGS if given != other else 1.0
    found = _SWAPPED if sorted("".join(given)) == sorted("".join(other)) else 0.0
    for ours in _shortened(given):
        for theirs in _shortened(other):
            missing, more = len(other) - len(theirs), len(given) - len(ours)
            if missing and more:  # two names that share a word aren't near
                continue
            lost = _LEFT_OUT * missing + _TOO_MANY * more
            matcher = SequenceMatcher(None, "".join(ours), "".join(theirs), autojunk=False)
            if matcher.quick_ratio() - lost > found:
                found = max(found, matcher.ratio() - lost)
    return found


def _shortened(words: Sequence[str]) -> list[Sequence[str]]:
    """The words, and what is left without one or two of them."""
    kept = {len(words), max(1, len(words) - 1), max(1, len(words) - 2)}
    return [part for count in sorted(kept, reverse=True) for part in combinations(words, count)]


# Kinds of NumPy's dtypes of real numbers.
REAL = "biuf"
# The same, and complex ones.
NUMBERS = "biufc"
# What the core counts with.
LARGEST, LOWEST = 2**31 - 1, -(2**31)
# Keras' guard of roots, logarithms and divisions against zero.
EPSILON = 1e-7


def integer(value: object, name: str, minimum: int, maximum: int = LARGEST) -> int:
    """`value` as an int in [minimum, maximum]; whole floats are taken for typing slips and refused."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type] # the TypeError is the check
    except TypeError:
        msg = f"`{name}` must be an integer, got {value!r}"
        raise WrongTypeError(msg) from None
    if number != minimum == maximum:
        msg = f"`{name}` must be {minimum}, got {number}"
        raise ValueError(msg)
    if number < minimum:
        msg = f"`{name}` must be at least {minimum}, got {number}"
        raise ValueError(msg)
    if number > maximum:
        msg = f"`{name}` must be at most {maximum}, got {number}"
        raise ValueError(msg)
    return number


def seed_or_none(value: object, name: str = "seed") -> int | None:
    """`value` as a seed of the core, an int in [0, 2**64), or None."""
    return None if value is None else integer(value, name, 0, 2**64 - 1)


def real(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite float in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        msg = f"`{name}` must be a number, got {value!r}"
        raise WrongTypeError(msg)
    try:
        number = float(value)
    except OverflowError:  # of an integer
        number = -math.inf if value < 0 else math.inf
    if not (math.isfinite(number) and low <= number <= high):
        msg = f"`{name}` must be {_range(low, high)}, got {number!r}"
        raise ValueError(msg)
    return number


def _range(low: float, high: float) -> str:
    """What a finite number in [low, high] is, as messages say it; either may be infinite."""
    if low == -math.inf:
        return "finite" if high == math.inf else f"a finite number of at most {high:g}"
    if high == math.inf:
        return f"a finite number of at least {low:g}"
    return f"{low:g}" if low == high else f"between {low:g} and {high:g}"


def reals(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """`value`, a list or an array, as finite floats in [low, high]."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        msg = f"`{name}` must be a list of numbers, got {value!r}"
        raise WrongTypeError(msg)
    return [real(number, f"{name}[{place}]", low, high) for place, number in enumerate(value)]


def below_one(value: object, name: str) -> float:
    """`value` as a float in [0, 1)."""
    number = real(value, name, 0.0, 1.0)
    if number == 1.0:
        msg = f"`{name}` must be less than 1, got {number!r}"
        raise ValueError(msg)
    return number


def above_zero(value: object, name: str, high: float = math.inf) -> float:
    """`value` as a finite float in (0, high]."""
    number = real(value, name, high=high)
    if number <= 0.0:
        msg = f"`{name}` must be greater than 0, got {number!r}"
        raise ValueError(msg)
    return number


def flag(value: object, name: str) -> bool:
    """`value` as a bool; 1 and 0 count as well, arrays don't."""
    if not isinstance(value, (numbers.Real, np.bool_)) or value not in (True, False):
        msg = f"`{name}` must be True or False, got {value!r}"
        raise WrongTypeError(msg)
    return bool(value)


def choice(value: Any, name: str, options: Sequence[Any]) -> Any:
    """`value` if it is one of `options`, at least one."""
    if not isinstance(value, (str, bool, int)) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        msg = f"`{name}` must be {'one of ' if len(options) > 1 else ''}{listed}, got {value!r}"
        raise ValueError(msg) if isinstance(value, str) else WrongTypeError(msg)
    return value


def _dtype_or_none(value: object) -> np.dtype[Any] | None:
    """The dtype that `value` stands for; None if it stands for none. Like all functions of NumPy it takes None for float64."""
    try:
        found: np.dtype[Any] = np.dtype(cast(Any, value))
    except (
        KeyError,
        SyntaxError,
        TypeError,
        ValueError,
    ):  # all of which NumPy raises, for texts, lists and dicts
        return None
    return found


def dtype_of(value: object, name: str, kinds: str = REAL) -> np.dtype[Any]:
    """`value`, a name or a class, as a dtype of one of these kinds: "iu" integers, "f" floats, "biuf" real numbers.

    What has fields or shapes, such as `[("x", "float32")]`, is none of them.
    """
    found = None if value is None else _dtype_or_none(value)
    if found is None or found.kind not in kinds:
        of = {"f": "floats", "iu": "integers", REAL: "real numbers"}.get(kinds, "numbers")
        example = "int32" if kinds == "iu" else "float32"
        msg = f"`{name}` must be that of {of}, such as {example!r}, got {value!r}"
        raise WrongTypeError(msg)
    return found


def float32_only(value: object) -> str:
    """The name of the one dtype there is, where `value` stands for it: by name or class, as Keras' policy, or as None."""
    config = value.get("config") if isinstance(value, Mapping) else None
    wanted = config.get("name", value) if isinstance(config, Mapping) else value
    if wanted is not None and _dtype_or_none(wanted) != np.float32:
        msg = f"`dtype` must be 'float32', in which the engine computes, or None; got {value!r}: data may have any real dtype"
        raise WrongTypeError(msg)
    return "float32"


def require(kind: Any, value: object, name: str, expected: str) -> None:
    """Raise TypeError unless `value` is of `kind`, a class or several, or `callable`; None is fine."""
    fits = callable(value) if kind is callable else isinstance(value, kind)
    if value is not None and not fits:
        msg = f"`{name}` must be {expected}, got {value!r}"
        raise WrongTypeError(msg)


def config_of(value: Any) -> Mapping[str, Any]:
    """`value`, from which an object is made."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        msg = f"`config` must be a dict of arguments by name, as get_config() returns one, got {value!r:.200}"
        raise WrongTypeError(msg)
    return value


def label(value: object) -> str:
    """`value`, the name of a layer or a model: files join such names by slashes."""
    if not isinstance(value, str):
        msg = f"`name` must be a string, got {value!r}"
        raise WrongTypeError(msg)
    if "/" in value:
        msg = f"`name` must be a string and cannot contain character `/`, got {value!r}"
        raise ValueError(msg)
    return value


def path_of(value: object, name: str) -> str:
    """`value`, a text or path, as text."""
    if not isinstance(value, (str, os.PathLike)):
        msg = f"`{name}` must be a path, got {value!r}"
        raise WrongTypeError(msg)
    return os.fspath(value)


def left_out(value: Any, name: str, default: Any, what: str) -> Any:
    """`value`, which can only be Keras' default: the feature that it belongs to is not there."""
    if value != default:
        msg = f"`{name}` must be {default}, got {value!r}: {what} is left out on purpose"
        raise ValueError(msg)
    return default


def shape(value: object, name: str) -> Shape:
    """`value` as a tuple of positive ints, and None for axes of unknown length: the shape of one sample."""
    if isinstance(value, int):
        msg = f"`{name}` must be a tuple such as ({value},), got {value}"
        raise WrongTypeError(msg)
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"`{name}` must be a tuple of integers, the shape of one sample; got {value!r}"
        raise WrongTypeError(msg)
    return tuple(
        None if size is None else integer(size, f"{name}[{place}]", 1) for place, size in enumerate(value)
    )


def fits(sample: Shape, declared: Shape) -> bool:
    """Whether samples of shape `sample` suit a `declared` shape, in which None stands for any length."""
    return len(sample) == len(declared) and all(
        wanted is None or size == wanted for size, wanted in zip(sample, declared, strict=True)
    )


def filled(sample: Shape, length: int) -> Shape:
    """The shape `sample` with `length` in the place of each None."""
    return tuple(length if size is None else size for size in sample)


def without_batch(batch_shape: int | Sequence[int | None]) -> Shape:
    """`(None, 784)` -> `(784,)`."""
    if isinstance(batch_shape, int) or (len(batch_shape) <= 1 and tuple(batch_shape) != (None,)):
        msg = f"`input_shape` must start with the batch axis, such as (None, 784), got {batch_shape!r}"
        raise ValueError(msg)
    return shape(tuple(batch_shape[1:]), "input_shape")


def integers(value: object, name: str, minimum: int) -> Shape:
    """`value`, a tuple or list, as a tuple of ints of at least `minimum`."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"`{name}` must be a tuple of integers such as (2, 1), got {value!r}"
        raise WrongTypeError(msg)
    return tuple(integer(number, f"{name}[{place}]", minimum) for place, number in enumerate(value))


def text_of_shape(sample: Shape) -> str:
    """The shape of any number of samples as messages show it: `(n, 28, 28)`."""
    return f"(n, {', '.join(map(str, sample))})" if sample else "(n,)"


def text_of_axes(count: int, first: int = 0) -> str:
    """The numbers by which `count` axes can be named, at least one, as messages show them.

    Args:
        count: how many axes there are.
        first: the number of the first; negative numbers count from the end.
    """
    if count == 1:
        return f"{first} or -1"
    return f"from {first} to {first + count - 1} or from -{count} to -1"


def listing(names: Iterable[str]) -> str:
    """Names in a sentence: "a, b", or "none"."""
    return ", ".join(names) or "none"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 array", "2 arrays"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
