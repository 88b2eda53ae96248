"""The forms in which users give and get the inputs and outputs of a model: one array, or lists, tuples and dicts of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from engine import tree
from engine._tracing.symbolic import Slot, filled_slots, sequence_like


class Structure(NamedTuple):
    """How users give and get the inputs or outputs of a model: one array, or a list, tuple or dict of arrays.

    Lists, tuples and dicts may be nested. The arrays of a dict come in the order of its sorted keys.
    """

    kind: type | None
    """list, tuple or dict; None for one array that stands for itself."""
    keys: tuple[str, ...] = ()
    """The keys of a dict of arrays, in the order of the inputs or outputs."""
    nested: Any = None
    """If there are lists, tuples or dicts within: the whole, with a slot for each array."""
    given: tuple[str, ...] = ()
    """The keys of a dict of arrays in the order in which the model was made with them."""

    def packed(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each input or output, in this form."""
        if self.kind is None:
            return values[0]
        if self.nested is not None:
            return filled_slots(self.nested, values)
        return dict(zip(self.keys, values, strict=True)) if self.kind is dict else self.kind(values)

    def as_given(self, value: Any) -> Any:
        """Returns what `packed` returned, a dict of arrays with its keys in the order in which the model was made with them."""
        return {key: value[key] for key in self.given} if self.given else value

    def unpacked(self, value: Any) -> list[Any]:
        """Returns what `packed` was given."""
        if self.kind is None:
            return [value]
        if self.nested is not None:
            found: list[Any] = self.flat(value)
            return found
        return [value[key] for key in self.keys] if self.kind is dict else list(value)

    @contextmanager
    def explained(self, names: Sequence[str]) -> Iterator[None]:
        """Adds the nested form to a message that the block raises, with the names of the inputs or outputs in it."""
        try:
            yield
        except (TypeError, ValueError) as error:
            if self.nested is None:
                raise
            msg = f"{error}. Or give it the form {self.packed(names)!r}"
            raise type(error)(msg) from None

    def flat(self, value: Any, spread: bool = False) -> Any:
        """Returns the entries of a value in this nested form as a list. A value in another form is returned as it is.

        Args:
            value: as the user gave it. Dicts may lack keys, whose entries are None.
            spread: whether one entry may stand in place of a list, tuple or dict, for all arrays in it.
        """
        if self.nested is None or not _is_nested(value):
            return value
        found = _entries_like(self.nested, value, spread)
        return value if found is None else found


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, Mapping))


def _entries_like(form: Any, value: Any, spread: bool) -> list[Any] | None:
    """Returns the entries of `value` where `form` has slots; None if it has another form."""
    if isinstance(form, Slot):
        return [value]
    if value is None or (spread and (not _is_nested(value) or "class_name" in value)):
        return [value] * len(_entries_like(form, form, False) or ())
    if isinstance(form, Mapping):
        if not isinstance(value, Mapping) or not value or not value.keys() <= form.keys():
            return None
        pairs = [(form[key], value.get(key)) for key in sorted(form, key=str)]
    else:
        if not isinstance(value, (list, tuple)) or len(value) != len(form):
            return None
        pairs = list(zip(form, value, strict=True))
    found = list[Any]()
    for inner, each in pairs:
        entries = _entries_like(inner, each, spread)
        if entries is None:
            return None
        found += entries
    return found


def arrays_of(structure: Structure, value: Any) -> list[Any]:
    """Returns the arrays in a value of this form, in the order of the inputs; an empty list for one of another form."""
    value = structure.flat(value)
    if isinstance(value, Mapping):
        return [value[key] for key in structure.keys] if value.keys() >= set(structure.keys) else []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def paths_of(structure: Structure, names: Sequence[str]) -> list[str]:
    """Returns the names of the losses of outputs, as Keras writes them: keys and places with slashes between.

    Args:
        structure: the form of the outputs.
        names: of the outputs, which stand for their places in lists.
    """
    if structure.nested is None:
        return list(names)
    found = list[str]()
    for path, _ in tree.flatten_with_path(structure.packed(range(len(names)))):
        last = names[len(found)] if isinstance(path[-1], int) else path[-1]
        found.append("/".join(map(str, (*path[:-1], last))))
    return found


def nested_structure_of(
    value: Any, is_leaf: Callable[[Any], bool] = lambda each: not _is_nested(each)
) -> Structure:
    """Returns the form of `value`, a list, tuple or dict that may have others within; the leaves are found by `is_leaf`."""
    count = 0

    def slots(part: Any) -> Any:
        nonlocal count
        if is_leaf(part) or not _is_nested(part):
            count += 1
            return Slot(count - 1)
        if isinstance(part, Mapping):
            return {key: slots(part[key]) for key in sorted(part, key=str)}
        return sequence_like(part, map(slots, part))

    if not _is_nested(value) or is_leaf(value):
        return Structure(None)
    inner = list(value.values()) if isinstance(value, Mapping) else list(value)
    if all(map(is_leaf, inner)) and not hasattr(value, "_fields"):
        return structure_of(value if isinstance(value, Mapping) else type(value)(None for _ in inner))
    return Structure(dict if isinstance(value, Mapping) else type(value), (), slots(value))


def structure_of(value: Any) -> Structure:
    """Returns the form of `value`, the argument `inputs` or `outputs` of a model. A list of one tensor is that tensor."""
    if isinstance(value, dict):
        keys = tuple(sorted(value, key=str))
        return Structure(dict, keys, given=tuple(value))
    if isinstance(value, (list, tuple)) and len(value) > 1:
        return Structure(list if isinstance(value, list) else tuple)
    return Structure(None)
