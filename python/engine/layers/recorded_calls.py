"""Calls of layers and models whose `call` is Python code: it runs once with symbols, and is recorded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine import tree
from engine._base.checks import Shape
from engine._base.tensor_like import Tensor, mask_of
from engine._core_interface.cpp import instances_within
from engine._tracing.extents import FullShape, full_shape
from engine._tracing.lazy import trace_for
from engine._tracing.recordings import Recording, recording, with_both_branches
from engine._tracing.symbolic import Slot, contains, current, filled_slots, mapped, sequence_like
from engine._tracing.trace import Use, as_traced
from engine.layers.call_arguments import accepts, canonical
from engine.layers.symbols import CallArguments


class RecordedCalls:
    """What the method `call` of a layer or a model has recorded, once for each kind of inputs.

    Args:
        owner: the layer or model.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._found: dict[Any, Recording | Exception] = {}  # by the arguments of `recording`
        self._masks: dict[Any, Recording] = {}  # by the arguments of `mask_recording`
        self._first_arguments: dict[
            int, CallArguments
        ] = {}  # the arguments of the first call, by the number of inputs
        self._strangers = set[str]()  # the names of the layers that `_warn_of_strangers` has told of
        self.last_error: Exception | None = None
        self.outputs = 1
        """The number of outputs of the last recording."""

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has nothing recorded, as it belongs to a copy of the layer."""
        return {**self.__dict__, "_found": {}, "_masks": {}, "last_error": None}

    @property
    def has_recorded(self) -> bool:
        """Whether a call was recorded."""
        return any(not isinstance(each, Exception) for each in self._found.values())

    def clear(self) -> None:
        """Forgets what was recorded, since the settings of the owner have changed."""
        self._found = {}
        self._masks = {}

    def note(self, inputs: int, arguments: CallArguments | None) -> None:
        """Stores the arguments of the first call with so many inputs. They are used where a call comes without arguments."""
        self._first_arguments.setdefault(inputs, CallArguments() if arguments is None else arguments)

    def arguments(self, samples: Sequence[Any], arguments: CallArguments | None) -> CallArguments | None:
        """Returns the arguments of a call with these samples: `arguments`, or else those of the first call with as many inputs."""
        return self._first_arguments.get(len(samples)) if arguments is None else arguments

    def recording(
        self,
        samples: Sequence[Any],
        training: bool | None,
        arguments: CallArguments | None,
        masked: bool = False,
    ) -> Recording:
        """Returns what a call records.

        Args:
            samples: the shape of one sample of each input.
            training: the argument `training` of the call; None follows the batch.
            arguments: the further arguments of the call.
            masked: whether the first input has a mask, which `call` gets as its argument `mask`.

        Raises:
            Exception: what `call` raised when it was given symbols.
        """
        arguments = self.arguments(samples, arguments)
        key = (tuple(samples), training, arguments, masked)
        if key not in self._found:
            try:
                self._found[key] = self._recorded(samples, training, arguments, masked)
            except Exception as error:
                self.last_error = error
                if self._owner._is_model:  # it has no other way, so that the next call tries again
                    raise
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, Exception):
            raise found
        self.outputs = len(found.outputs)
        return found

    def mask_recording(
        self, samples: Sequence[Any], arguments: CallArguments | None, masked: Sequence[bool]
    ) -> Recording | None:
        """Returns what the method `compute_mask` of the owner records; None if it returns None.

        Args:
            samples: the shape of one sample of each input.
            arguments: the arguments of the call.
            masked: whether each input has a mask.
        """
        arguments = self.arguments(samples, arguments)
        key = (tuple(samples), arguments, tuple(masked))
        if key not in self._masks:
            structure: Any = Slot(0) if arguments is None else arguments.inputs

            def run(*symbols: Any) -> Any:
                masks = [
                    mask_of_symbol(symbol) if has_mask else None
                    for symbol, has_mask in zip(symbols, masked, strict=True)
                ]
                return self._owner.compute_mask(
                    filled_slots(structure, symbols), filled_slots(structure, masks)
                )

            self._masks[key] = recording(run, samples, _dtypes_of(samples, arguments))
        found = self._masks[key]
        return found if found.outputs else None

    def _recorded(self, samples: Sequence[Any], training: bool | None, *options: Any) -> Recording:
        if not accepts(self._owner.call, "training"):
            return self._once(samples, None, *options)
        if training is not None:
            return self._once(samples, training, *options)
        return with_both_branches(self._once(samples, False, *options), self._once(samples, True, *options))

    def _once(
        self, samples: Sequence[Any], training: bool | None, arguments: CallArguments | None, masked: bool
    ) -> Recording:
        def run(*symbols: Any) -> Any:
            structure: Any = Slot(0) if arguments is None else arguments.inputs
            options = {name: filled_slots(value, symbols) for name, value in (arguments or {}).items()}
            if training is not None:
                options["training"] = training
            if masked:
                options["mask"] = mask_of_symbol(symbols[0])
            return self._owner.call(filled_slots(structure, symbols), **options)

        found = recording(run, samples, _dtypes_of(samples, arguments))
        self._warn_of_strangers(found)
        return found

    def _warn_of_strangers(self, found: Recording) -> None:
        """Warns of layers with weights that `call` uses, but the owner doesn't have."""
        own = _parts_below(self._owner)
        for entry in found.trace.entries:
            part = entry.part if isinstance(entry, Use) else None
            if part is not None and part not in own and part.name not in self._strangers and part.weights:
                self._strangers.add(part.name)
                msg = (
                    f"call() of {self._owner.name!r} uses {part.name!r}, which is no attribute of it, so that its `weights` "
                    "and files lack the weights of that layer: make it an attribute, in __init__() or build()"
                )
                warnings.warn(msg, UserWarning, stacklevel=2)


def _dtypes_of(samples: Sequence[Any], arguments: CallArguments | None) -> Sequence[str]:
    """Returns the dtypes of the symbols of a call, of which there is one for each of `samples`."""
    if arguments is None or arguments.dtypes is None:
        return ["float32"] * len(samples)
    return arguments.dtypes


def _parts_below(owner: Any) -> set[Any]:
    """Returns the layers and models within a layer or model, at any depth."""
    found, left = set[Any](), [owner]
    while left:
        new = [part for part in left.pop()._parts() if part not in found]
        found.update(new)
        left += new
    return found


def mask_of_symbol(symbol: Any) -> Any:
    """Returns a symbol for the mask of an input, bool (n, ...), for inputs (n, ..., features)."""
    return symbol.trace.add("mask_as_array", (symbol,), symbol.extents[:-1], "bool")


def symbols_and_slots(inputs: Any, arguments: CallArguments) -> tuple[list[Any], CallArguments | None]:
    """Returns the symbols among the arguments of a call, and the arguments with slots in their place.

    Args:
        inputs: the first argument.
        arguments: the others by name, without `training`.

    Returns:
        The arguments are None if the call has nothing but one float32 symbol.
    """
    symbols = list[Any]()
    trace = current.get() or trace_for([inputs, arguments])

    def slot_for(value: Any) -> Slot:
        symbol = as_traced(value, trace) if trace is not None else value._as_tensor
        number = next((i for i, each in enumerate(symbols) if each is symbol), len(symbols))
        if number == len(symbols):
            symbols.append(symbol)
        return Slot(number)

    structure = mapped(slot_for, inputs)
    slots = CallArguments({name: mapped(slot_for, value) for name, value in arguments.items()})
    slots.inputs, slots.dtypes = structure, [symbol.dtype for symbol in symbols]
    return symbols, None if slots.is_plain else slots


def arguments_with_dtypes(arguments: CallArguments, dtypes: Sequence[str]) -> CallArguments | None:
    """Returns the arguments of a call that a config describes, as `symbols_and_slots` returns them.

    Args:
        arguments: the arguments by name, with the first argument as their `inputs`.
        dtypes: of the symbols that the slots stand for.
    """
    arguments.dtypes = [*dtypes]
    return None if arguments.is_plain else arguments


def shapes_in(arguments: CallArguments | None, samples: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """Returns the shapes of the first argument of a call, in its structure, as `build` gets them, and those of others by name."""
    shapes = [shape_with_batch(sample) for sample in samples]
    if arguments is None:
        return filled_slots(Slot(0), shapes), {}
    others = {name: filled_slots(value, shapes) for name, value in arguments.items() if contains(value, Slot)}
    return filled_slots(arguments.inputs, shapes), others


def shapes_of_arrays(structure: Any) -> Any:
    """Returns the shapes of arrays in a structure."""
    return tree.map_structure(np.shape, structure)


def shape_with_batch(sample: Any) -> tuple[int | None, ...]:
    """Returns a shape with None for the batch axis and other unknown lengths."""
    if isinstance(sample, FullShape):
        return tuple(None if each.per_sample else each.fixed for each in full_shape(sample))
    return (None, *sample)


def arrays_in(value: Any) -> Any:
    """Returns arrays and lists of numbers in a structure as layers get them (see `canonical`), with their masks."""
    if isinstance(value, dict):
        return {name: arrays_in(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and any(
        isinstance(each, (np.ndarray, list, tuple, dict)) for each in value
    ):
        return sequence_like(value, (arrays_in(each) for each in value))
    array, mask = canonical(np.asarray(value)), mask_of(value)
    return array if mask is None else array.view(Tensor).masked(mask)


def samples_in(structure: Any) -> list[Shape]:
    """Returns the shape of one sample of each array in a structure."""
    if isinstance(structure, dict):
        return [sample for each in structure.values() for sample in samples_in(each)]
    if isinstance(structure, (list, tuple)):
        return [sample for each in structure for sample in samples_in(each)]
    return [np.shape(structure)[1:]]


def parts_in(attributes: Mapping[str, Any], kind: type) -> list[Any]:
    """Returns the objects of a class in the attributes of an object, in lists, tuples and dicts, too; each once."""
    public = [value for name, value in dict(attributes).items() if name not in NO_PARTS]
    return instances_within(public, kind)


# Attributes of layers and models in which `parts_in` doesn't search: they hold no layers, or layers that are no parts.
NO_PARTS = frozenset(
    (
        "_containing_models",
        "_build_lock",
        "_weights",
        "_kept",
        "_recorded_calls",
        "_added",
        "_penalties",
        "_shape_arguments",
        "_library_layer",
    )
)
