"""What a model of layers tells about itself."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

from engine._base.checks import LARGEST, flag, integer, listing, nearest, text_of_axes
from engine._printing.progress import print_message
from engine.layers.symbols import KerasTensor
from engine.models.layered import Layered
from engine.models.stack import rows_of


class Described(Layered):
    """Base class of models that describe their layers."""

    dtype = compute_dtype = variable_dtype = "float32"

    @property
    @abstractmethod
    def layers(self) -> list[Any]:
        """The layers in order. A nested model is one entry."""

    @property
    def input(self) -> KerasTensor:
        """The symbolic input. Raises AttributeError before the input shape is known."""
        return self._symbol_at(None)

    @property
    def output(self) -> KerasTensor:
        """The symbolic output. Raises AttributeError before the input shape is known."""
        return self._symbol_after(len(self._layers))

    @property
    def inputs(self) -> list[KerasTensor]:
        """A list with the symbolic input. Raises AttributeError before the input shape is known."""
        return [self.input]

    @property
    def outputs(self) -> list[KerasTensor]:
        """A list with the symbolic output. Raises AttributeError before the input shape is known."""
        return [self.output]

    def _symbol_at(self, layer: Any, after: int = 0) -> KerasTensor:
        """What the layer is given or, with `after`, gives out in this model, where it comes first."""
        places = [index for index, part in enumerate(self._layers) if part is layer]
        return self._symbol_after(places[0] + after if places else 0)

    def _symbol_after(self, count: int) -> KerasTensor:
        if self._inputs is None:
            msg = (
                f"model {self.name!r} has no input shape yet, and thus no defined input and output: begin it with "
                "Input(), or call build()"
            )
            raise AttributeError(msg)
        found = KerasTensor(self._inputs, self._inputs.sample_shape)
        modes, arguments = self._modes or repeat(None), self._arguments or repeat(None)
        for part, mode, given in zip(self._layers[:count], modes, arguments, strict=False):
            found = found.through(part, mode, given)
        return found

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns the layer with the given `name`, or at the given `index`. A nested model is one entry.

        Raises:
            ValueError: if there is no such layer. The message lists the names.
        """
        layers = self.layers
        names = [layer.name for layer in layers]
        if (name is None) == (index is None):
            msg = f"give either `name` or `index`, got {name=} and {index=}"
            raise ValueError(msg)
        if index is not None:
            index = integer(index, "index", -LARGEST)
            if not -len(names) <= index < len(names):
                there = f"which are {text_of_axes(len(names))}" if names else "but there are none"
                msg = f"`index` must be that of one of the layers, {there}; got {index}"
                raise ValueError(msg)
            return layers[index]
        if name not in names:
            msg = f"no layer is named {name!r}{nearest(str(name), names)} The layers are: {listing(names)}"
            raise ValueError(msg)
        return layers[names.index(name)]

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the input, with None for the batch axis. Raises AttributeError before it is known."""
        if self._inputs is None:
            msg = f"model {self.name!r} has no input shape yet: begin it with Input(), or call build()"
            raise AttributeError(msg)
        return (None, *self._inputs.sample_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Shape of the output, with None for the batch axis. Raises AttributeError before it is known."""
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
        """Prints the layers with their output shapes and numbers of parameters.

        Args:
            line_length: width in characters; default is the width of the terminal, at most 88.
            positions: ends of the three columns as fractions of the line; default `[0.45, 0.8, 1.0]`.
            print_fn: function that is called with the whole text; default prints to standard output.
            expand_nested: whether to show the layers of nested models.
            show_trainable: whether to show which layers are trainable.
            layer_range: names of the first and the last layer to show, or regular expressions for them; default all
                layers.
        """
        from engine._printing.summary_table import Counts, Layout, Style, between, table

        layout = Layout(line_length, positions, flag(show_trainable, "show_trainable"))
        layers = self._parts_in_order
        groups = list(rows_of(self._sample_shape, layers, flag(expand_nested, "expand_nested")))
        shown = groups[between([layer.name for layer in layers], layer_range)]
        rows = [row[: 3 + layout.show_trainable] for row in chain(*shown)]
        style = Style.of_terminal() if print_fn is None else Style()
        text = table(self.name, rows, Counts(*self._counts()), layout, style)
        if print_fn is None:
            print_message(text, end="")
        else:
            print_fn(text)

    def _repr_html_(self) -> str:
        """What notebooks show of the model: its summary as a table."""
        from engine._printing.summary_table import Counts, html_table

        rows = [group[0] for group in rows_of(self._sample_shape, self._parts_in_order, False)]
        return html_table(self.name, rows, Counts(*self._counts()))

    def _counts(self) -> tuple[int, int, int | None]:
        """Trainable and other weights, and what the optimizer has of its own; None before its first step."""
        trainable = sum(array.size for array in self.trainable_weights)
        non_trainable = sum(array.size for array in self.non_trainable_weights)
        optimizer = self.optimizer
        if optimizer is None or optimizer.iterations == 0:
            return trainable, non_trainable, None
        state = sum(math.prod(variable.shape) for variable in optimizer.variables)
        return trainable, non_trainable, state

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
