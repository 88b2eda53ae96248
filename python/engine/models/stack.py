"""How layers go on top of each other: order, names and shapes."""

from __future__ import annotations

from collections.abc import Sequence

from engine._checks import Shape, shape
from engine._program import Operation
from engine.layers import InputLayer, Layer
from engine.optimizers._variables import Tracked


def with_layer(
    inputs: InputLayer | None, stack: list[Layer], layer: object
) -> tuple[InputLayer | None, list[Layer]]:
    """Input and layers with `layer` on top."""
    if not isinstance(layer, Layer):
        hint = "; make an object of it: add ()" if isinstance(layer, type) else ""
        msg = f"a model is made of objects of engine.layers, got {layer!r}{hint}"
        raise TypeError(msg)
    if isinstance(layer, InputLayer):
        if inputs is not None or stack:
            msg = f"the input layer {layer.name!r} must come first, and there can be only one"
            raise ValueError(msg)
        return layer, stack
    if any(layer.name == other.name for other in stack):
        msg = f"two layers are named {layer.name!r}: give one of them another `name`"
        raise ValueError(msg)
    if inputs is None and not stack and layer.given_input_shape is not None:
        inputs = InputLayer(layer.given_input_shape)
    return inputs, [*stack, layer]


def shapes_through(input_shape: Shape, stack: Sequence[Layer]) -> list[Shape]:
    """Shapes of one sample before the first layer and after each."""
    shapes = [input_shape]
    for layer in stack:
        shapes.append(layer.output_shape_for(shapes[-1]))
    return shapes


def operations_through(input_shape: Shape, stack: Sequence[Layer]) -> list[Operation]:
    """What the core computes, layer by layer. What works on rows works on the last axis."""
    shapes = shapes_through(input_shape, stack)
    pairs = zip(stack, shapes, strict=False)
    return [operation for layer, sample in pairs for operation in layer.operations_for(sample)]


def tracked(stack: Sequence[Layer], input_shape: Shape) -> list[Tracked]:
    """The weights of `stack` as its optimizer knows them."""
    return [
        Tracked(
            f"{layer.name}/{weight.name}",
            layer.trainable and weight.trainable,
            weight.regularizer,
            weight.constraint,
        )
        for layer, shape in zip(stack, shapes_through(input_shape, stack)[:-1], strict=True)
        for weight in layer.weights_for(shape)
    ]


def rows_of(input_shape: Shape | None, stack: Sequence[Layer]) -> list[tuple[str, ...]]:
    """What a summary tells of each layer: name and class, output shape, number of weights, whether it is trainable."""
    shapes = ["?"] * len(stack)
    if input_shape is not None:
        shapes = [str((None, *out)) for out in shapes_through(input_shape, stack)[1:]]
    rows: list[tuple[str, ...]] = []
    for layer, out in zip(stack, shapes, strict=True):
        params = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        learns = ("Y" if layer.trainable else "N") if layer.weights else "-"
        rows.append((f"{layer.name} ({type(layer).__name__})", out, params, learns))
    return rows


def without_batch(batch_shape: int | Sequence[int | None]) -> Shape:
    """`(None, 784)` -> `(784,)`."""
    if isinstance(batch_shape, int) or (len(batch_shape) <= 1 and tuple(batch_shape) != (None,)):
        msg = f"`input_shape` must start with the batch axis, such as (None, 784), got {batch_shape!r}"
        raise ValueError(msg)
    return shape(tuple(batch_shape[1:]), "input_shape")
