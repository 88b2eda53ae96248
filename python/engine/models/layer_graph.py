"""The graph of layers of a model, as its user defined it: which layers there are, and what each of them is called on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import repeat
from typing import Any, TypeVar

from engine._base.checks import Shape
from engine._base.computed_once import computed_once
from engine.layers import InputLayer, Layer
from engine.layers.part import Part
from engine.layers.symbols import CallArguments
from engine.models.structures import Structure
from engine.models.wiring import Shapes, Wiring, chain_of, shapes_along, values_along

_Value = TypeVar("_Value")

_NOTHING, _PLAIN = chain_of(0), Structure(None)


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """The layers of a model, and how they are connected. It never changes: a model whose layers change gets a new one."""

    input_layers: Sequence[InputLayer] = ()
    """One for each input; empty before the input shape is known."""
    has_declared_shape: bool = True
    """Whether the user said what the inputs are; False if the first data did."""
    layers: Sequence[Part] = ()
    """The other layers, and models, in the order in which they compute, each as often as it is called."""
    wiring: Wiring = _NOTHING
    """What each of `layers` reads, and the outputs."""
    training_of_calls: Sequence[bool | None] = ()
    """The argument `training` of each call; empty if no call has arguments."""
    arguments: Sequence[CallArguments | None] = ()
    """The other arguments of each call, in the same way."""
    listed: Sequence[Part] = ()
    """Of a Functional the input layers and the other layers, each once, in Keras' order; of other models empty."""
    input_form: Structure = _PLAIN
    """The form in which users give the inputs."""
    output_form: Structure = _PLAIN
    """The form in which users get the outputs."""
    output_dtypes: list[str] | None = None
    """The dtype in which users get each output; None if all are float32."""

    def changed(self, **values: Any) -> LayerGraph:
        """Returns a graph with other `values` of some fields, by name, and nothing of what was built from this one."""
        return LayerGraph(**self.definition | values)

    @property
    def definition(self) -> dict[str, Any]:
        """The fields that define the graph, by name."""
        return {each.name: getattr(self, each.name) for each in fields(LayerGraph)}

    def run(
        self,
        inputs: Sequence[_Value],
        call: Callable[[Part, list[_Value], bool | None, CallArguments | None], Iterable[_Value]],
    ) -> list[_Value]:
        """Calls the layers in their order, and returns the outputs.

        Args:
            inputs: a value for each input, of any kind: symbols, shapes, arrays, ...
            call: gets a part, the values that it reads, and the arguments `training` and others of its call; it returns a
                value for each output of the part.
        """
        calls = zip(
            self.layers, self.training_of_calls or repeat(None), self.arguments or repeat(None), strict=False
        )

        def call_next(read: list[_Value]) -> Iterable[_Value]:
            part, training, arguments = next(calls)
            return call(part, read, training, arguments)

        return values_along(*self.wiring, inputs, call_next)[1]

    @property
    def input_shapes(self) -> list[Shape]:
        """The shape of one sample of each input, with None for unknown lengths."""
        return [each.sample_shape for each in self.input_layers]

    @property
    def shapes(self) -> Shapes:
        """The shapes of one sample throughout the graph, with None for unknown lengths."""
        return shapes_along(self.input_shapes, self.layers, self.wiring)

    @property
    def has_branches(self) -> bool:
        """Whether a model made of symbols is more than a chain of layers with one input and one output each."""
        several = len(self.input_layers) > 1 or any(part._output_count > 1 for part in self.layers)
        return bool(self.listed) and (several or not self.wiring.is_chain)

    @property
    def owners(self) -> list[Layer]:
        """The layers, without the models around them, each once, in the order in which users and files list their weights."""
        found = (leaf for part in dict.fromkeys(self.layers) for leaf in part._layers_of_weights)
        return list(dict.fromkeys(found))

    @computed_once
    def trains_by_default(self) -> bool:
        """Whether some layer, at any depth, may behave as in training in a call without `training`."""
        return any(
            part._trains_by_default if own is None else own
            for part, own in zip(self.layers, self.training_of_calls or repeat(None), strict=False)
        )

    @computed_once
    def may_make_mask(self) -> bool:
        """Whether some layer, at any depth, may make a mask, which the outputs may then have."""
        return any(part._may_make_mask for part in self.layers)


def without_layers(name: str) -> ValueError:
    """Returns the error for a model, here with a name, that computes something before it has layers."""
    return ValueError(f"model {name!r} has no layers: add some with model.add()")
