"""Models with a `call` of their own: it runs once with symbols, and what it records is the model's network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine._tracing.recordings import Recording, with_tried_length
from engine._tracing.symbolic import Slot
from engine.layers.layer import Layer
from engine.layers.part import Part
from engine.layers.recorded_calls import RecordedCalls, parts_in
from engine.layers.symbols import CallArguments
from engine.models.structures import Structure, nested_structure_of
from engine.models.wiring import Wiring


class Body(Layer):
    """The method `call` of a model, as the one layer in it.

    Args:
        model: the model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        super().__init__(name=model.name)
        self._recorded_calls = RecordedCalls(model)
        self.__dict__["call"] = model.call

    @property
    def path(self) -> str:
        """The path of the model."""
        path: str = self._model.path
        return path

    def call(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """Returns the result of the model's `call`."""
        return self._model.call(inputs, *args, **options)

    def build(self, input_shape: Any) -> None:
        """Runs the method `build` of the model, if the user has written one."""
        self._model._build_of_user(input_shape)

    def _parts(self) -> Sequence[Part]:
        """The layers and models in the attributes of the model."""
        return parts_in(self._attributes_of_user, Part)

    @property
    def _attributes_of_user(self) -> dict[str, Any]:
        own_names = self._model._own_names
        return {name: value for name, value in dict(vars(self._model)).items() if name not in own_names}

    @property
    def _may_be_recorded(self) -> bool:
        return True

    def _precision_of(self, kind: str) -> dict[str, str]:
        """What the dtype policy of the model says."""
        precision: dict[str, str] = self._model._precision_of(kind)
        return precision


def dtypes_of_outputs(dtypes: Sequence[str]) -> list[str] | None:
    """Returns the dtypes that users get outputs in: those of integers and bools, else float32; None if all are float32."""
    found = [each if each.startswith(("int", "uint", "bool")) else "float32" for each in dtypes]
    return None if set(found) <= {"float32"} else found


def wiring_of(
    body: Body, samples: Sequence[Any], arguments: CallArguments | None
) -> tuple[Wiring, Structure, list[str] | None]:
    """Returns the connections of a model with a `call` of its own, the form of its outputs, and their dtypes.

    Args:
        body: the `call` of the model.
        samples: the shape of one sample of each input; None stands for unknown lengths.
        arguments: the arguments of `call`.

    Raises:
        TypeError: if `call` returns something else than symbols in lists, tuples and dicts.
    """
    body._recorded_calls.note(len(samples), arguments)
    body._build_for_samples(samples, arguments)
    found: Recording = body._recorded_calls.recording(with_tried_length(samples), None, arguments)
    reads = (tuple(-1 - number for number in range(len(samples))),)
    packed = found.packed
    if isinstance(packed, Slot):
        return (
            Wiring(reads, (packed.number,)),
            Structure(None),
            dtypes_of_outputs([found.outputs[packed.number].dtype]),
        )
    form = nested_structure_of(packed, lambda part: isinstance(part, Slot))
    if form.nested is not None:
        ends = form.unpacked(packed)
    elif isinstance(packed, dict):
        keys = tuple(sorted(packed, key=str))
        ends, form = [packed[key] for key in keys], Structure(dict, keys)
    else:
        ends, form = list(packed), Structure(tuple if isinstance(packed, tuple) else list)
    if not ends or not all(isinstance(end, Slot) for end in ends):
        msg = f"`call` of {body._model!r} must return a symbol, or lists, tuples and dicts of symbols, got {packed!r}"
        raise TypeError(msg)
    numbers = tuple(end.number for end in ends)
    return (
        Wiring(reads, numbers),
        form,
        dtypes_of_outputs([found.outputs[number].dtype for number in numbers]),
    )


def arguments_of(structure: Structure, count: int) -> CallArguments | None:
    """Returns the arguments of `call` for inputs in this form; None for one input."""
    if structure.kind is None:
        return None
    found = CallArguments()
    found.inputs = structure.packed([Slot(number) for number in range(count)])
    return found
