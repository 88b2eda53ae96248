"""Checks of arguments that are not arrays: numbers, flags, choices, shapes, names, dtypes and paths.

Each check returns the value as a plain Python object, or raises an error that says what came and what was expected.
All modules call these. The texts of messages, such as the nearest known name, are made here as well.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np

# The length of each axis, an int, or None for an axis of unknown length, such as the timesteps of texts. The type is
# `Any` and not `int | None`, since nearly all code works with known lengths only.
Shape = tuple[Any, ...]


# The likeness, from 0 to 1, that a known name must have with the given one to be suggested. Less would be a guess.
_NEAR = 0.72
# What the likeness loses for each word that the user left out, and for each word too many. Typing errors cost less than
# both, since they are the most frequent; words too many are the rarest.
_LEFT_OUT, _TOO_MANY = 0.06, 0.15
# The likeness of initials (`rmse`), of shortened words (`batch_norm`), and of the same letters in another order.
_INITIALS, _BEGINNINGS, _SWAPPED = 0.9, 0.95, 0.95


class WrongTypeError(TypeError, ValueError):
    """An argument is of the wrong type. It is both errors, since Keras raises sometimes one and sometimes the other."""


# Longer names stand for none: a file may hold any text in place of one, and comparing takes the square of the length.
_LONGEST_NAME = 100


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the end of a message about an unknown `name`: "; did you mean 'adam'?", or "." without a suggestion."""
    closest = suggestion(name, names)
    return f"; did you mean {closest!r}?" if closest else "."


def suggestion(name: str, names: Iterable[str]) -> str | None:
    """Returns the name among `names` that `name` most probably stands for; None if none is similar enough."""
    words = _words(name) if len(name) <= _LONGEST_NAME else []
    scores = [(_likeness(words, _words(other)), other) for other in names] if words else []
    best = max(scores, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= _NEAR else None


def _words(name: str) -> list[str]:
    """Returns the words of a snake_case or CamelCase name in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+[A-Z]?", name)]


def _likeness(words: Sequence[str], other: Sequence[str]) -> float:
    """Returns how similar the words `words` of a user are to those of a known name, from 0 to 1."""
    from difflib import SequenceMatcher

    initials = "".join(word[0] for word in " ".join(other).replace("crossentropy", "cross entropy").split())
    if len(initials) > 1 and "".join(words) == initials:
        return _INITIALS
    if len(words) == len(other) and all(map(str.startswith, other, words)):
        return _BEGINNINGS if words != other else 1.0
    likeness = _SWAPPED if sorted("".join(words)) == sorted("".join(other)) else 0.0
    for ours in _shortened(words):
        for theirs in _shortened(other):
            missing, more = len(other) - len(theirs), len(words) - len(ours)
            if missing and more:  # different words on both sides make different names
                continue
            lost = _LEFT_OUT * missing + _TOO_MANY * more
            matcher = SequenceMatcher(None, "".join(ours), "".join(theirs), autojunk=False)
            if matcher.quick_ratio() - lost > likeness:
                likeness = max(likeness, matcher.ratio() - lost)
    return likeness


def _shortened(words: Sequence[str]) -> list[Sequence[str]]:
    """Returns the words, and the words without each one or two of them, but always at least one word."""
    counts = {len(words), max(1, len(words) - 1), max(1, len(words) - 2)}
    return [part for count in sorted(counts, reverse=True) for part in combinations(words, count)]


# The values of `dtype.kind` for real numbers.
REAL = "biuf"
# The same, and complex numbers.
NUMBERS = "biufc"
# The range of the core's integers, int32.
LARGEST, LOWEST = 2**31 - 1, -(2**31)
# Keras' epsilon, which keeps logarithms and divisions away from zero.
EPSILON = 1e-7


def integer(value: object, name: str, minimum: int, maximum: int = LARGEST) -> int:
    """Returns `value` as an int in [minimum, maximum]. Floats such as 3.0 are refused: they are mostly mistakes."""
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
    """Returns `value` as a seed for the core, an int in [0, 2**64), or None."""
    return None if value is None else integer(value, name, 0, 2**64 - 1)


def real(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Returns `value` as a finite float in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        msg = f"`{name}` must be a number, got {value!r}"
        raise WrongTypeError(msg)
    try:
        number = float(value)
    except OverflowError:  # an int beyond float64
        number = -math.inf if value < 0 else math.inf
    if not (math.isfinite(number) and low <= number <= high):
        msg = f"`{name}` must be {_range(low, high)}, got {number!r}"
        raise ValueError(msg)
    return number


def _range(low: float, high: float) -> str:
    """Returns the text for "a finite number in [low, high]" in a message; both ends may be infinite."""
    if low == -math.inf:
        return "finite" if high == math.inf else f"a finite number of at most {high:g}"
    if high == math.inf:
        return f"a finite number of at least {low:g}"
    return f"{low:g}" if low == high else f"between {low:g} and {high:g}"


def reals(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Returns `value`, a list or an array, as a list of finite floats in [low, high]."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        msg = f"`{name}` must be a list of numbers, got {value!r}"
        raise WrongTypeError(msg)
    return [real(number, f"{name}[{index}]", low, high) for index, number in enumerate(value)]


def below_one(value: object, name: str) -> float:
    """Returns `value` as a float in [0, 1)."""
    number = real(value, name, 0.0, 1.0)
    if number == 1.0:
        msg = f"`{name}` must be less than 1, got {number!r}"
        raise ValueError(msg)
    return number


def above_zero(value: object, name: str, high: float = math.inf) -> float:
    """Returns `value` as a finite float in (0, high]."""
    number = real(value, name, high=high)
    if number <= 0.0:
        msg = f"`{name}` must be greater than 0, got {number!r}"
        raise ValueError(msg)
    return number


def flag(value: object, name: str) -> bool:
    """Returns `value` as a bool. The numbers 1 and 0 are accepted, arrays are not."""
    if not isinstance(value, (numbers.Real, np.bool_)) or value not in (True, False):
        msg = f"`{name}` must be True or False, got {value!r}"
        raise WrongTypeError(msg)
    return bool(value)


def choice(value: Any, name: str, options: Sequence[Any]) -> Any:
    """Returns `value` if it is one of `options`, of which there is at least one."""
    if not isinstance(value, (str, bool, int)) or value not in options:
        listed = ", ".join(repr(option) for option in options)
        msg = f"`{name}` must be {'one of ' if len(options) > 1 else ''}{listed}, got {value!r}"
        raise ValueError(msg) if isinstance(value, str) else WrongTypeError(msg)
    return value


def name_of_dtype(value: object) -> object:
    """Returns the name of a dtype of another library, such as `tf.float32` or `torch.float32`; other values as they are."""
    if isinstance(value, (str, type, np.dtype)):
        return value
    text = str(value) if type(value).__module__ == "torch" else getattr(value, "name", None)
    return text.removeprefix("torch.") if isinstance(text, str) else value


def _dtype_or_none(value: object) -> np.dtype[Any] | None:
    """Returns the dtype that `value` stands for in NumPy, where None stands for float64; None if it is no dtype."""
    try:
        dtype: np.dtype[Any] = np.dtype(cast(Any, name_of_dtype(value)))
    except (
        KeyError,
        SyntaxError,
        TypeError,
        ValueError,
    ):
        # NumPy raises all of them, for texts, lists and dicts.
        return None
    return dtype


def dtype_of(value: object, name: str, kinds: str = REAL) -> np.dtype[Any]:
    """Returns the dtype that `value`, a name or a class, stands for, if it is of one of these kinds.

    Args:
        value: what the user gave. Structured dtypes such as `[("x", "float32")]` are refused.
        name: the name of the argument, for messages.
        kinds: the accepted values of `dtype.kind`: "iu" for integers, "f" for floats, "biuf" for real numbers.
    """
    dtype = None if value is None else _dtype_or_none(value)
    if dtype is None or dtype.kind not in kinds:
        of = {"f": "floats", "iu": "integers", REAL: "real numbers"}.get(kinds, "numbers")
        example = "int32" if kinds == "iu" else "float32"
        msg = f"`{name}` must be that of {of}, such as {example!r}, got {value!r}"
        raise WrongTypeError(msg)
    return dtype


def float32_only(value: object) -> str:
    """Returns "float32" if `value` is its name or class, the dtype policy for it or its config, or None; else raises."""
    value = getattr(value, "compute_dtype", value)
    config = value.get("config") if isinstance(value, Mapping) else None
    dtype = config.get("name", value) if isinstance(config, Mapping) else value
    if dtype is not None and _dtype_or_none(dtype) != np.float32:
        msg = f"`dtype` must be 'float32', in which the engine computes, or None; got {value!r}: data may have any real dtype"
        raise WrongTypeError(msg)
    return "float32"


def of_integers(value: object) -> str | None:
    """Returns the name of an integer dtype, or of the dtype policy of that name; None for everything else."""
    dtype = _dtype_or_none(getattr(value, "compute_dtype", value))
    return None if dtype is None or dtype.kind not in "iu" else dtype.name


def require(kind: Any, value: object, name: str, expected: str) -> None:
    """Raises TypeError unless `value` is None or an instance of `kind`, a class or a tuple of classes.

    The function `callable` as `kind` accepts everything that can be called.
    """
    fits = callable(value) if kind is callable else isinstance(value, kind)
    if value is not None and not fits:
        msg = f"`{name}` must be {expected}, got {value!r}"
        raise WrongTypeError(msg)


def checked_config(value: Any) -> Mapping[str, Any]:
    """Returns `value`, a config from which an object is made, if it is a dict whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        msg = f"`config` must be a dict of arguments by name, as get_config() returns one, got {value!r:.200}"
        raise WrongTypeError(msg)
    return value


def label(value: object) -> str:
    """Returns `value`, the name of a layer or a model. It may contain no slash: files join such names by slashes."""
    if not isinstance(value, str):
        msg = f"`name` must be a string, got {value!r}"
        raise WrongTypeError(msg)
    if "/" in value:
        msg = f"`name` must be a string and cannot contain character `/`, got {value!r}"
        raise ValueError(msg)
    return value


def path_of(value: object, name: str) -> str:
    """Returns `value`, a string or a path, as a string."""
    if not isinstance(value, (str, os.PathLike)):
        msg = f"`{name}` must be a path, got {value!r}"
        raise WrongTypeError(msg)
    return os.fspath(value)


def only_default(value: Any, name: str, default: Any, subject: str) -> Any:
    """Returns `value` if it is Keras' default; else raises, since the engine lacks the feature that the argument controls.

    Args:
        value: the argument.
        name: its name.
        default: the only value that is accepted.
        subject: the feature, as the message calls it.
    """
    if value != default:
        msg = f"`{name}` must be {default}, got {value!r}: {subject} is left out on purpose"
        raise ValueError(msg)
    return default


def shape(value: object, name: str) -> Shape:
    """Returns `value`, the shape of one sample, as a tuple of positive ints, with None for axes of unknown length."""
    if isinstance(value, int):
        msg = f"`{name}` must be a tuple such as ({value},), got {value}"
        raise WrongTypeError(msg)
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"`{name}` must be a tuple of integers, the shape of one sample; got {value!r}"
        raise WrongTypeError(msg)
    return tuple(
        None if size is None else integer(size, f"{name}[{index}]", 1) for index, size in enumerate(value)
    )


def fits(sample: Shape, declared: Shape) -> bool:
    """Returns whether the shape `sample` agrees with the `declared` one, in which None stands for any length."""
    return len(sample) == len(declared) and all(
        expected is None or size == expected for size, expected in zip(sample, declared, strict=True)
    )


def filled(sample: Shape, length: int) -> Shape:
    """Returns the shape `sample` with each None replaced by `length`."""
    return tuple(length if size is None else size for size in sample)


def without_batch(batch_shape: int | Sequence[int | None]) -> Shape:
    """Returns the shape of one sample for a shape with the batch axis: `(None, 784)` becomes `(784,)`."""
    if isinstance(batch_shape, int) or (len(batch_shape) <= 1 and tuple(batch_shape) != (None,)):
        msg = f"`input_shape` must start with the batch axis, such as (None, 784), got {batch_shape!r}"
        raise ValueError(msg)
    return shape(tuple(batch_shape[1:]), "input_shape")


def integers(value: object, name: str, minimum: int) -> Shape:
    """Returns `value`, a tuple or list, as a tuple of ints of at least `minimum`."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"`{name}` must be a tuple of integers such as (2, 1), got {value!r}"
        raise WrongTypeError(msg)
    return tuple(integer(number, f"{name}[{index}]", minimum) for index, number in enumerate(value))


def text_of_shape(sample: Shape) -> str:
    """Returns the shape of n samples as messages show it: `(n, 28, 28)`."""
    return f"(n, {', '.join(map(str, sample))})" if sample else "(n,)"


def text_of_axes(count: int, first: int = 0) -> str:
    """Returns the valid numbers of axes as messages show them: "from 0 to 2 or from -3 to -1".

    Args:
        count: how many axes there are, at least one.
        first: the number of the first axis.
    """
    if count == 1:
        return f"{first} or -1"
    return f"from {first} to {first + count - 1} or from -{count} to -1"


def listing(names: Iterable[str]) -> str:
    """Returns the names for a message: "a, b", or "none" if there are none."""
    return ", ".join(names) or "none"


def with_noun(count: int, noun: str) -> str:
    """Returns a number with its noun: "1 array", "2 arrays"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


_MATRIX = 2  # its number of axes


def require_matrices(shape: Sequence[Any], square: bool = False, text: Callable[[Any], str] = str) -> None:
    """Raises ValueError unless a shape is one of matrices (..., m, n).

    Args:
        shape: of an array, or the extents of one that is recorded.
        square: whether m and n must be equal.
        text: writes a shape in a message.
    """
    if len(shape) < _MATRIX:
        msg = f"expected an array of at least two axes, got shape {text(shape)}"
        raise ValueError(msg)
    if square and shape[-1] != shape[-2]:
        msg = f"expected square matrices, got shape {text(shape)}"
        raise ValueError(msg)


def solves_vectors(a: Sequence[Any], b: Sequence[Any], text: Callable[[Any], str] = str) -> bool:
    """Returns whether the right sides of systems of equations `a @ x = b` are vectors, and not matrices, by their shapes.

    Args:
        a: the shape (..., n, n) of the matrices.
        b: the shape (..., n) or (..., n, k) of the right sides.
        text: writes a shape in a message.

    Raises:
        ValueError: if the shapes don't go together.
    """
    vectors = len(b) == len(a) - 1
    if not b or (len(b) < len(a) and not vectors):
        msg = f"`b` must have as many axes as `a`, or one less, got shapes {text(a)} and {text(b)}"
        raise ValueError(msg)
    if b[-1 if vectors else -2] != a[-1]:
        msg = f"`a` and `b` must have as many rows, got shapes {text(a)} and {text(b)}"
        raise ValueError(msg)
    return vectors
