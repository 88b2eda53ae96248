"""How layers go on top of each other: order, names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine._checks import Shape, shape
from engine._program import Operation
from engine._spec import serialize
from engine.layers import InputLayer, Layer, get
from engine.layers.masks import masks_before
from engine.optimizers.variables import Tracked


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


def require_free(stack: Sequence[Layer], owner: object) -> None:
    """Raise ValueError where a layer is in another model than `owner`."""
    for layer in stack:
        if not layer.free_for(owner):
            msg = (
                f"layer {layer.name!r} belongs to another model, and models can't share weights: make a copy "
                f"with {type(layer).__name__}.from_config(layer.get_config()), then set_weights()"
            )
            raise ValueError(msg)


def reseeded(stack: Sequence[Layer], seeds: Sequence[int | None]) -> bool:
    """Give layers that draw random numbers these seeds; whether that changes anything."""
    changed = False
    for layer, seed in zip(stack, seeds, strict=True):
        if None not in (seed, layer._seed_in_use) and seed != layer._seed_in_use:
            layer._seed_in_use, changed = seed, True
    return changed


def shapes_through(input_shape: Shape, stack: Sequence[Layer]) -> list[Shape]:
    """Shapes of one sample before the first layer and after each."""
    shapes = [input_shape]
    for layer in stack:
        shapes.append(layer.output_shape_for(shapes[-1]))
    return shapes


def operations_through(input_shape: Shape, stack: Sequence[Layer]) -> list[Operation]:
    """What the core computes, layer by layer. What works on rows works on the last axis."""
    shapes = shapes_through(input_shape, stack)
    found: list[Operation] = []
    for layer, sample, masked in zip(stack, shapes, masks_before(stack), strict=False):
        note = {"masked": True} if masked and layer.takes_mask else {}
        found += [{**operation, **note} for operation in layer.operations_for(sample)]
    return found


def require_no_mask(stack: Sequence[Layer]) -> None:
    """Raise ValueError where a loss would have to leave masked rows out."""
    if masks_before(stack)[-1]:
        msg = (
            "rows that a mask leaves out reach the outputs, and losses here count all rows: put a "
            "GlobalAveragePooling1D() before them, or drop `mask_zero` or Masking()"
        )
        raise ValueError(msg)


def tracked(stack: Sequence[Layer], input_shape: Shape) -> list[Tracked]:
    """The weights of `stack` as its optimizer knows them."""
    return [
        Tracked(
            f"{layer.name}/{weight.name}",
            layer.trainable and weight.trainable,
            weight.regularizer,
            weight.constraint,
            weight.shape,
        )
        for layer, shape in zip(stack, shapes_through(input_shape, stack)[:-1], strict=True)
        for weight in layer.weights_for(shape)
    ]


def config_of_stack(
    name: str, trainable: bool, inputs: InputLayer | None, stack: Sequence[Layer]
) -> dict[str, Any]:
    """The model of these layers as plain Python values, in Keras' form."""
    first = [] if inputs is None else [inputs]
    built = {} if inputs is None else {"build_input_shape": inputs.batch_shape}
    config = {"name": name, "trainable": trainable, "dtype": "float32"}
    return {**config, "layers": [serialize(layer) for layer in [*first, *stack]], **built}


def stack_from_config(config: object) -> list[Layer]:
    """The layers of such a config.

    Raises:
        ValueError: if it is no such config.
    """
    if not isinstance(config, Mapping) or "name" not in config or not isinstance(config.get("layers"), list):
        msg = f"a config of a model must be a dict with 'name' and 'layers', a list; got {config!r}"
        raise ValueError(msg)
    layers = [get(layer) for layer in config["layers"]]
    shape = config.get("build_input_shape")
    if shape and layers and not isinstance(layers[0], InputLayer):
        layers.insert(0, InputLayer(batch_shape=shape))
    return layers


def rows_of(input_shape: Shape | None, stack: Sequence[Layer]) -> list[tuple[str, ...]]:
    """What a summary tells of each layer: name and class, output shape, number of weights, whether it is trainable."""
    shapes = ["?"] * len(stack)
    if input_shape is not None:
        shapes = [str((None, *out)) for out in shapes_through(input_shape, stack)[1:]]
    rows: list[tuple[str, ...]] = []
    for layer, out in zip(stack, shapes, strict=True):
        given = layer.starts_with is not None
        params = "0" if given else f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
        learns = ("Y" if layer.trainable else "N") if layer.weights else "-"
        kind = type(getattr(layer, "shown_as", layer)).__name__
        rows.append((f"{layer.name} ({kind})", out, params, learns))
    return rows


def without_batch(batch_shape: int | Sequence[int | None]) -> Shape:
    """`(None, 784)` -> `(784,)`."""
    if isinstance(batch_shape, int) or (len(batch_shape) <= 1 and tuple(batch_shape) != (None,)):
        msg = f"`input_shape` must start with the batch axis, such as (None, 784), got {batch_shape!r}"
        raise ValueError(msg)
    return shape(tuple(batch_shape[1:]), "input_shape")
