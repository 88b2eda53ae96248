"""`tf.strings`: functions of texts, which are arrays of `str`."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from engine.tensorflow._tensor import constant, returns_tensors

__all__ = [
    "as_string",
    "bytes_split",
    "format",
    "join",
    "length",
    "lower",
    "regex_full_match",
    "regex_replace",
    "split",
    "strip",
    "substr",
    "to_number",
    "upper",
]


def _texts(values: Any) -> Any:
    return np.asarray(values).astype(str)


@returns_tensors
def lower(input: Any, encoding: str = "", name: str | None = None) -> Any:
    """Returns texts in small letters. `name` is without effect, here and in all other functions."""
    return np.char.lower(_texts(input))


@returns_tensors
def upper(input: Any, encoding: str = "", name: str | None = None) -> Any:
    """Returns texts in capital letters."""
    return np.char.upper(_texts(input))


@returns_tensors
def strip(input: Any, name: str | None = None) -> Any:
    """Returns texts without white space at both ends."""
    return np.char.strip(_texts(input))


@returns_tensors
def length(input: Any, unit: str = "BYTE", name: str | None = None) -> Any:
    """Returns how many bytes of UTF-8, or with `unit="UTF8_CHAR"` how many characters, texts have."""
    texts = _texts(input)
    return np.char.str_len(texts if unit == "UTF8_CHAR" else np.char.encode(texts, "utf-8")).astype(np.int32)


@returns_tensors
def join(inputs: Any, separator: str = "", name: str | None = None) -> Any:
    """Joins texts of arrays, which are broadcast."""
    first, *others = map(_texts, inputs)
    for each in others:
        first = np.char.add(np.char.add(first, separator), each)
    return first


@returns_tensors
def regex_replace(
    input: Any,
    pattern: Any,
    rewrite: Any,
    replace_global: bool = True,
    name: str | None = None,
) -> Any:
    r"""Returns texts with another text in the place of what matches a pattern; `\1` is its first group."""
    compiled, count = re.compile(str(pattern)), 0 if replace_global else 1
    return _each(lambda text: compiled.sub(str(rewrite).replace("\\0", "\\g<0>"), text, count), input)


@returns_tensors
def regex_full_match(input: Any, pattern: Any, name: str | None = None) -> Any:
    """Returns whether texts match a pattern from their beginning to their end."""
    compiled = re.compile(str(pattern))
    return np.vectorize(lambda text: compiled.fullmatch(text) is not None, otypes=[bool])(_texts(input))


@returns_tensors
def substr(input: Any, pos: int, len: int, unit: str = "BYTE", name: str | None = None) -> Any:
    """Returns `len` characters from `pos` on."""
    return _each(lambda text: text[pos:][:len], input)


def _each(function: Any, texts: Any) -> Any:
    array = _texts(texts)
    return np.array([function(text) for text in array.ravel().tolist()], str).reshape(array.shape)


def split(input: Any, sep: str | None = None, maxsplit: int = -1, name: str | None = None) -> Any:
    """Returns the words of a text as a tensor, and those of several texts as a list of tensors."""
    array = _texts(input)
    if not array.ndim:
        return constant(np.array(str(array).split(sep or None, maxsplit), str))
    return [split(text, sep, maxsplit) for text in array.tolist()]


def bytes_split(input: Any, name: str | None = None) -> Any:
    """Returns the characters of a text as a tensor."""
    return constant(np.array(list(str(_texts(input))), str))


@returns_tensors
def to_number(input: Any, out_type: Any = np.float32, name: str | None = None) -> Any:
    """Returns the numbers that texts spell."""
    return _texts(input).astype(out_type)


@returns_tensors
def as_string(
    input: Any,
    precision: int = -1,
    scientific: bool = False,
    shortest: bool = False,
    width: int = -1,
    fill: str = "",
    name: str | None = None,
) -> Any:
    """Returns numbers as texts. `shortest` is without effect."""
    array = np.asarray(input)
    if array.dtype.kind not in "f":
        spec = f"{fill}{width}" if width > 0 else ""
    else:
        digits = 6 if precision < 0 else precision
        spec = f"{fill}{width if width > 0 else ''}.{digits}{'e' if scientific else 'f'}"
    flat = [_formatted(value, spec) for value in array.ravel().tolist()]
    return np.array(flat, str).reshape(array.shape)


def _formatted(value: Any, spec: str) -> str:
    return f"{str(value).lower() if isinstance(value, bool) else value:{spec}}"


def format(
    template: str, inputs: Any, placeholder: str = "{}", summarize: int = 3, name: str | None = None
) -> Any:
    """Returns a text with tensors in the place of each `placeholder`."""
    values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    for value in values:
        template = template.replace(placeholder, str(np.asarray(value)), 1)
    return constant(template)
