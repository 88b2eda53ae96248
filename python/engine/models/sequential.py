"""A model as a stack of layers: how it is put together, looked into and described."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine._checks import Shape, flag, label, nearest, require
from engine._compiled import Compiled
from engine._custom import custom_object_scope
from engine._program import Operation, build
from engine._progress import print_message
from engine._spec import auto_name
from engine._summary import Counts, Layout, Style, between, table
from engine.layers import InputLayer, Layer
from engine.layers.symbols import KerasTensor
from engine.models.layered import Model
from engine.models.nested import Nested
from engine.models.stack import (
    config_of_stack,
    operations_through,
    require_free,
    require_no_mask,
    reseeded,
    rows_of,
    shapes_through,
    stack_from_config,
    tracked,
    with_layer,
    without_batch,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class Sequential(Model):
    """A stack of layers, each fed by the one before.

    Args:
        layers: the layers from first to last. With an input shape (an `Input`, or `input_shape` of the first
            layer) the weights exist at once, else from the first data or `build` on.
        name: default `sequential` with a number.

    Raises:
        TypeError: for something that is no layer.
        ValueError: for layers that don't fit together, or two of the same name.

    Example:
        >>> import engine as keras
        >>> model = keras.Sequential([
        ...     keras.Input((4,)),
        ...     keras.layers.Dense(8, activation="relu"),
        ...     keras.layers.Dense(3, activation="softmax"),
        ... ])
        >>> model.count_params()
        67
        >>> model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    """

    def __init__(self, layers: Sequence[Layer] | None = None, *, name: str | None = None) -> None:
        super().__init__(auto_name("sequential") if name is None else label(name))
        self._inputs: InputLayer | None = None
        self._operations: list[Operation] = []
        inputs, stack = self._inputs, self._layers
        require(Iterable, layers, "layers", "a list of layers")
        for layer in layers or []:
            inputs, stack = with_layer(inputs, stack, _layer_of(layer))
        self._restack(inputs, stack, None)

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Put `layer` on top; weights that exist stay as they are.

        Args:
            layer: the new last layer.
            rebuild: of no account: a model with an input shape always has its weights.

        Raises:
            ValueError: if it doesn't fit; the model is unchanged then.
        """
        flag(rebuild, "rebuild")
        with self._lock:
            self._require_idle("given other layers")
            inputs, stack = with_layer(self._inputs, self._layers, _layer_of(layer))
            self._restack(inputs, stack, self._compiled)

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the last layer off and return it, with its weights; `rebuild` is of no account, as for `add`."""
        flag(rebuild, "rebuild")
        with self._lock:
            self._require_idle("given other layers")
            if not self._layers:
                msg = f"model {self.name!r} has no layers to pop"
                raise ValueError(msg)
            layer = self._layers[-1]
            self._restack(self._inputs, self._layers[:-1], self._compiled)
            return layer

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights.

        Args:
            input_shape: with the batch axis first, such as `(None, 784)`; not needed where the model has one.

        Raises:
            ValueError: if the model has another input shape already, or no layers.
        """
        with self._lock:
            inputs = self._inputs if input_shape is None else InputLayer(without_batch(input_shape))
            if inputs is None:
                msg = (
                    "`input_shape` is missing: give it with the batch axis, such as model.build((None, 784))"
                )
                raise ValueError(msg)
            if self._inputs is not None and inputs.shape != self._inputs.shape:
                msg = (
                    f"model {self.name!r} has input shape {self.input_shape}, so it can't take {input_shape}"
                )
                raise ValueError(msg)
            if not self.built:
                self._output_shape_for(inputs.shape)
                self._restack(inputs, self._layers, self._compiled)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The output's shape for inputs of `input_shape`, both with the batch axis first."""
        return (None, *self._output_shape_for(without_batch(input_shape)))

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the input layer."""
        return list(self._layers)

    @property
    def inputs(self) -> InputLayer | None:
        """The input layer; None before the input shape is known."""
        return self._inputs

    @property
    def input(self) -> KerasTensor:
        """What the first layer is given; AttributeError before the input shape is known."""
        return self._layers[0].input

    @property
    def output(self) -> KerasTensor:
        """What the last layer gives out; AttributeError before the input shape is known."""
        return self._layers[-1].output

    @property
    def outputs(self) -> list[KerasTensor]:
        """The one output, as a list."""
        return [self.output]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer of that `name`, or at that `index`; a model, where one is in its place.

        Raises:
            ValueError: if there is none; the message lists the names.
        """
        layers = self.layers
        names = [layer.name for layer in layers]
        if (name is None) == (index is None):
            msg = "give either `name` or `index`"
            raise ValueError(msg)
        if index is not None:
            if not -len(names) <= index < len(names):
                msg = f"`index` must be less than {len(names)}, the number of layers, got {index}"
                raise ValueError(msg)
            return layers[index]
        if name not in names:
            msg = f"no layer is named {name!r}{nearest(str(name), names)} The layers are: {', '.join(names)}"
            raise ValueError(msg)
        return layers[names.index(name)]

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._program is not None

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input with None for the batch axis; AttributeError before it is known."""
        if self._inputs is None:
            msg = f"model {self.name!r} has no input shape yet"
            raise AttributeError(msg)
        return (None, *self._inputs.shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the output with None for the batch axis; AttributeError before it is known."""
        return self.compute_output_shape(self.input_shape)

    def summary(  # noqa: PLR0917 # Keras' signature
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers, their output shapes and numbers of parameters.

        Args:
            line_length: width in characters; default that of the terminal, at most 88.
            positions: where the three columns end, as shares of the line; default `[0.45, 0.8, 1.0]`.
            print_fn: gets the whole text, instead of standard output.
            expand_nested: of no effect: the layers of models within are not shown.
            show_trainable: whether a column tells which layers are trainable.
            layer_range: names of the first and the last layer to show, or regular expressions; default all.
        """
        flag(expand_nested, "expand_nested")
        layout = Layout(line_length, positions, flag(show_trainable, "show_trainable"))
        stack = self._shown()
        rows = [row[: 3 + layout.show_trainable] for row in rows_of(self._sample_shape, stack)]
        shown = between([layer.name for layer in stack], layer_range)
        style = Style.of_terminal() if print_fn is None else Style()
        text = table(self.name, rows[shown], self._counts(), layout, style)
        if print_fn is None:
            print_message(text, end="")
        else:
            print_fn(text)

    def get_config(self) -> dict[str, Any]:
        """Name and layers as plain Python values, for `from_config`; without the weights."""
        return config_of_stack(self.name, self._trainable, self._inputs, self._layers)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Make a model from what `get_config` returned.

        Args:
            config: what it returned.
            custom_objects: classes and functions of your own by name.
        """
        with custom_object_scope(custom_objects):
            return cls(stack_from_config(config), name=config["name"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        if not self._layers:
            msg = f"model {self.name!r} has no layers: add some with model.add()"
            raise ValueError(msg)
        return shapes_through(input_shape, self._layers)[-1]

    def _restack(self, inputs: InputLayer | None, stack: list[Layer], compiled: Compiled | None) -> None:
        """Become a model of these layers, all or nothing; weights that exist stay as they are."""
        require_free(stack, self)
        if compiled is not None and compiled.loss is not None:
            require_no_mask(stack)
            for layer in stack:
                if isinstance(layer, Nested):
                    layer.require_untrained()
        program, weights, output_shape = None, [], None
        operations: list[Operation] = []
        if inputs is not None and stack:
            *shapes, output_shape = shapes_through(inputs.shape, stack)
            operations = operations_through(inputs.shape, stack)
            weights = [layer.initial_weights(sample) for layer, sample in zip(stack, shapes, strict=True)]
            arrays = [array for those in weights for array in those]
            program = build(math.prod(inputs.shape), operations, arrays, math.prod(output_shape[:-1]))
            if compiled is not None:
                asks = any("host" in operation for operation in operations)
                compiled.apply(program, tracked(stack, inputs.shape), output_shape, asks)
        for layer in self._layers:
            if layer not in stack:
                layer.detach()
        if program is not None:
            first = 0
            for layer, arrays in zip(stack, weights, strict=True):
                layer.attach(self, program, first, len(arrays))
                first += len(arrays)
        self._inputs, self._layers, self._operations, self._program = inputs, stack, operations, program
        self._sample_shape, self._output_shape = None if inputs is None else inputs.shape, output_shape
        self._tokens = next((layer.tokens for layer in stack if not layer.moves_only), None)

    def _reseed(self, seeds: Sequence[int | None]) -> None:
        if reseeded(self._layers, seeds):
            self._restack(self._inputs, self._layers, self._compiled)

    def _apply(self, compiled: Compiled) -> None:
        if compiled.loss is not None:
            require_no_mask(self._layers)
        program, inputs = self._program, self._inputs
        nested = any(isinstance(layer, Nested) for layer in self._layers)
        if (
            program
            and inputs
            and not nested
            and operations_through(inputs.shape, self._layers) == self._operations
        ):
            asks = any("host" in operation for operation in self._operations)
            compiled.apply(program, tracked(self._layers, inputs.shape), self._output_shape or (), asks)
        else:  # `trainable` was assigned, or there is no program yet
            self._restack(self._inputs, self._layers, compiled)

    def _counts(self) -> Counts:
        trainable = sum(array.size for array in self.trainable_weights)
        non_trainable = sum(array.size for array in self.non_trainable_weights)
        optimizer = self.optimizer
        if optimizer is None or optimizer.iterations == 0:
            return Counts(trainable, non_trainable, None)
        state = sum(math.prod(variable.shape) for variable in optimizer.variables)
        return Counts(trainable, non_trainable, state)

    def _shown(self) -> list[Layer]:
        """The layers that a summary tells of."""
        return self._layers


def _layer_of(part: Any) -> Layer:
    """A part of a model as a layer: models are wrapped."""
    return Nested(part) if isinstance(part, Model) else part
