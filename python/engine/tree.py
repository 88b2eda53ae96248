"""Nested structures of lists, tuples, named tuples, deques and dicts, whose leaves are anything else, None included."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import on_first_use

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

Path = tuple[Any, ...]
# What comes after the last leaf.
_END = object()
# The types of dicts that `_rebuilt_like` can make.
_DICTS = frozenset((dict, OrderedDict, defaultdict))


class MAP_TO_NONE:  # noqa: N801 # Keras' name
    """What a function for `traverse` returns for None in the place of a structure."""


def is_nested(structure: Any) -> bool:
    """Returns whether `structure` is a list, tuple, named tuple, deque or dict, so that it is not a leaf."""
    return isinstance(structure, (list, tuple, deque)) or type(structure) in _DICTS


def flatten(structure: Any) -> list[Any]:
    """The leaves of `structure` in order; dicts go by their sorted keys, an OrderedDict by its own order.

    Args:
        structure: a leaf or a nested structure.

    Example:
        >>> import engine
        >>> engine.tree.flatten({"b": [1, (2, 3)], "a": 4})
        [4, 1, 2, 3]
    """
    if not is_nested(structure):
        return [structure]
    return [leaf for _, child in _children(structure) for leaf in flatten(child)]


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """The leaves of `structure` in the order of `flatten`, each with its path: the keys and places on the way to it."""
    if not is_nested(structure):
        return [((), structure)]
    return [
        ((key, *path), leaf) for key, child in _children(structure) for path, leaf in flatten_with_path(child)
    ]


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """A structure of what `func` returns for the leaves at the same place of all `structures`.

    Args:
        func: called with one leaf of each structure.
        *structures: nested in the same way.
        none_is_leaf: whether `func` is called for None; else None stays.

    Returns:
        A structure like the first one.

    Raises:
        TypeError: if `func` can't be called.
        ValueError: without structures, or if they are nested in different ways.
    """
    _require_callable(func)
    if not structures:
        msg = "give at least one structure"
        raise ValueError(msg)
    first, *more = structures
    if not is_nested(first):
        if any(map(is_nested, more)):
            raise _different(first, next(filter(is_nested, more)))
        return None if first is None and not none_is_leaf else func(*structures)
    for other in more:
        _require_same_node(first, other)
    branches = zip(*([child for _, child in _children(item)] for item in structures), strict=True)
    return _rebuilt_like(
        first, [map_structure(func, *siblings, none_is_leaf=none_is_leaf) for siblings in branches]
    )


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """As `map_structure`, but `func` takes whatever is at the places of the leaves of `shallow_structure`.

    Args:
        shallow_structure: whose leaves say how deep to go.
        func: called with what is there in each structure.
        *structures: nested like `shallow_structure`, or deeper.

    Raises:
        TypeError: if `func` can't be called.
        ValueError: without structures, or if one is nested in a different way or less deep.
    """
    _require_callable(func)
    if not structures:
        msg = "give at least one structure"
        raise ValueError(msg)
    if not is_nested(shallow_structure):
        return func(*structures)
    for structure in structures:
        _require_same_node(shallow_structure, structure)
    branches = zip(
        *([child for _, child in _children(item)] for item in (shallow_structure, *structures)), strict=True
    )
    mapped = [map_structure_up_to(shallow, func, *rest) for shallow, *rest in branches]
    return _rebuilt_like(shallow_structure, mapped)


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """As `map_structure` of one `structure`, but `func` takes lists and tuples of integers and None as a whole: shapes."""
    _require_callable(func)
    shape = isinstance(structure, (list, tuple)) and all(
        entry is None or isinstance(entry, int) for entry in structure
    )
    if shape or not is_nested(structure):
        return func(structure)
    return _rebuilt_like(structure, [map_shape_structure(func, child) for _, child in _children(structure)])


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """`structure` with other parts where `func` returns some.

    Args:
        func: called with each part, the whole and the leaves included. None leaves the part as it is, `MAP_TO_NONE`
            puts None in its place.
        structure: nested.
        top_down: whether a part comes before what is in it, which then is visited only if `func` returns None; else
            it comes after that.

    Raises:
        TypeError: if `func` can't be called.
    """
    _require_callable(func)
    changed = func(structure) if top_down else None
    if changed is None:
        inside = structure
        if is_nested(structure):
            inside = _rebuilt_like(
                structure, [traverse(func, child, top_down) for _, child in _children(structure)]
            )
        changed = None if top_down else func(inside)
        if changed is None:
            return inside
    return None if changed is MAP_TO_NONE else changed


def assert_same_structure(a: Any, b: Any, check_types: bool | None = None) -> None:
    """Raise ValueError unless `a` and `b` are nested in the same way, in the same types; all dicts are one type.

    Args:
        a: a structure.
        b: another one.
        check_types: without effect, and deprecated in Keras.

    Raises:
        ValueError: if they differ; the message says where.
    """
    if check_types is not None:
        warnings.warn(
            "`check_types` has no effect: use `assert_same_paths` for a comparison without types",
            DeprecationWarning,
            stacklevel=2,
        )
    map_structure(lambda _first, _second: None, a, b)


def assert_same_paths(a: Any, b: Any) -> None:
    """Raise ValueError unless the leaves of `a` and `b` have the same paths; lists and tuples may stand for each other."""
    first, second = ({path for path, _ in flatten_with_path(item)} for item in (a, b))
    if first != second:
        parts = [
            f"only in `{name}`: {', '.join(sorted(map(repr, paths)))}"
            for name, paths in (("a", first - second), ("b", second - first))
            if paths
        ]
        msg = f"`a` and `b` don't have the same paths; {'; '.join(parts)}"
        raise ValueError(msg)


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """A structure like `structure` with the leaves `flat_sequence`, in the order of `flatten`.

    Raises:
        TypeError: if `flat_sequence` can't be iterated over.
        ValueError: if it has another number of leaves than `structure`.
    """
    leaves = list(flat_sequence)
    left = iter((*leaves, _END))
    result = _packed(structure, left)
    if next(left, None) is not _END:
        leaf_count = len(flatten(structure))
        msg = f"`flat_sequence` must have {leaf_count} entries, one for each leaf of `structure`, got {len(leaves)}"
        raise ValueError(msg)
    return result


def _packed(structure: Any, leaves: Iterator[Any]) -> Any:
    """Returns a structure with the next leaves, and None in place of those that are missing."""
    if not is_nested(structure):
        return next(leaves, None)
    return _rebuilt_like(structure, [_packed(child, leaves) for _, child in _children(structure)])


def lists_to_tuples(structure: Any) -> Any:
    """`structure` with a tuple in the place of each list."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, top_down=False)


def _is_dict(structure: Any) -> bool:
    """Returns whether it is a dict, and no object of a subclass that makes other ones."""
    return type(structure) in _DICTS


def _is_named(structure: Any) -> bool:
    return isinstance(structure, tuple) and hasattr(structure, "_fields")


def _children(structure: Any) -> list[tuple[Any, Any]]:
    """Returns the parts of a nested structure, each with its key or position."""
    if isinstance(structure, OrderedDict):
        return list(structure.items())
    if _is_dict(structure):
        return [(key, structure[key]) for key in _sorted(structure)]
    return list(enumerate(structure))


def _sorted(keys: Iterable[Any]) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:  # the keys are of different types
        return sorted(keys, key=lambda key: (type(key).__qualname__, key))


def _rebuilt_like(structure: Any, children: list[Any]) -> Any:
    """Returns a structure of the same type as `structure` with other `children`, in the order of `_children`."""
    if _is_dict(structure):
        by_key = dict(zip((key for key, _ in _children(structure)), children, strict=True))
        entries = {key: by_key[key] for key in structure}
        if isinstance(structure, defaultdict):
            return defaultdict(structure.default_factory, entries)
        return type(structure)(entries)
    if isinstance(structure, deque):
        return deque(children, structure.maxlen)
    if _is_named(structure):
        return type(structure)(*children)
    return tuple(children) if isinstance(structure, tuple) else list(children)


def _require_same_node(first: Any, second: Any) -> None:
    """Raises ValueError unless both are of the same type and have the same keys."""
    same = _is_dict(first) and _is_dict(second) and set(first) == set(second)
    if not _is_dict(first) and is_nested(second):
        kinds = (type(node) if _is_named(node) else _kind(node) for node in (first, second))
        same = len(set(kinds)) == 1 and len(first) == len(second)
    if not same:
        raise _different(first, second)


def _kind(structure: Any) -> Any:
    return next((kind for kind in (list, tuple, deque) if isinstance(structure, kind)), None)


def _different(first: Any, second: Any) -> ValueError:
    return ValueError(f"the structures are not nested in the same way: {first!r:.200} and {second!r:.200}")


def _require_callable(func: Any) -> None:
    if not callable(func):
        msg = f"`func` must be a function, got {func!r}"
        raise TypeError(msg)


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
