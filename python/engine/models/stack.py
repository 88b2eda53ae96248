"""How layers go on top of each other: order, names, shapes and operations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine._base.checks import Shape, text_of_shape
from engine._base.cpp import Operation
from engine.layers import InputLayer, Layer
from engine.layers._custom import CallArguments, canonical_dtype
from engine.layers.base import LayerHost
from engine.layers.masks import masks_before
from engine.optimizers.variables import Tracked

# From one use of a layer to the next: an odd number without a pattern, so that no sum of a few meets another seed.
_SEEDS_APART = 0x9E3779B97F4A7C15


def with_parts(
    inputs: InputLayer | None, stack: Sequence[Any], parts: Iterable[Any]
) -> tuple[InputLayer | None, list[Any]]:
    """Input and parts of a model with `parts` on top of its `stack`: layers, or models."""
    found, named = list(stack), {part.name: part for part in stack}
    for part in parts:
        if isinstance(part, type) or not hasattr(part, "_leaves"):
            hint = "; make an object of it: add ()" if isinstance(part, type) else ""
            msg = f"a model is made of objects of engine.layers and of models, got {part!r}{hint}"
            raise TypeError(msg)
        if isinstance(part, InputLayer):
            if inputs is not None or found:
                msg = (
                    f"the input layer {part.name!r} must come first, and there can be only one: leave it out"
                )
                raise ValueError(msg)
            inputs = part
            continue
        if named.setdefault(part.name, part) is not part:
            msg = f"two layers are named {part.name!r}: give one of them another `name`"
            raise ValueError(msg)
        if inputs is None and not found and part._given_input_shape is not None:
            inputs = InputLayer(part._given_input_shape)
        found.append(part)
    return inputs, found


def first_uses(samples: Sequence[Shape], leaves: Sequence[Layer]) -> dict[Layer, Shape]:
    """Each layer once, in order, with the shape of the samples that it is given first; arguments as of `operations_through`.

    Raises:
        ValueError: for a layer that comes twice, and whose weights would have to have different shapes.
    """
    found: dict[Layer, Shape] = {}
    for leaf, sample in zip(leaves, samples, strict=False):
        first = found.setdefault(leaf, sample)
        if first == sample:
            continue
        for one, other in zip(leaf._weights_for(first), leaf._weights_for(sample), strict=True):
            if one.shape != other.shape:
                msg = (
                    f"layer {leaf.name!r} comes twice in one network, but its {one.name} would have to have the shape "
                    f"{one.shape} for {text_of_shape(first)} and {other.shape} for {text_of_shape(sample)}: take two layers"
                )
                raise ValueError(msg)
    return found


def reseeded(leaves: Sequence[Layer], seeds: Sequence[int | None]) -> bool:
    """Give layers that draw random numbers these seeds; whether that changes anything."""
    changed = False
    for layer, seed in zip(leaves, seeds, strict=True):
        if None not in (seed, layer._seed_in_use) and seed != layer._seed_in_use:
            layer._seed_in_use, changed = seed, True
    return changed


def shapes_through(input_shape: Shape, stack: Sequence[Any]) -> list[Shape]:
    """Shapes of one sample before the first part and after each."""
    shapes = [input_shape]
    for part in stack:
        shapes.append(part._output_shape_for(shapes[-1]))
    return shapes


def operations_through(
    samples: Sequence[Shape],
    leaves: Sequence[Layer],
    learns: bool,
    *,
    trainable: Mapping[Layer, bool] | None = None,
    arguments: Sequence[CallArguments | None] = (),
    dtype: str = "float32",
) -> list[Operation]:
    """What the core computes, layer by layer. What works on rows works on the last axis.

    Args:
        samples: shapes of one before the first layer and after each.
        leaves: the layers, one as often as it is used.
        learns: False where nothing is to be trained, whatever the layers say.
        trainable: what counts in the place of the attribute of that name of each layer.
        arguments: what each layer was called with beside its inputs; default nothing.
        dtype: of the model's inputs.
    """
    found: list[Operation] = []
    sources = masks_before(leaves)
    uses, total = Counter[Layer](), Counter(leaves)
    kept = canonical_dtype(dtype)  # of the layer's inputs, as far as layers only move integers
    firsts: dict[Any, int] = {}  # numbers of operations in the first use of each layer, by kind
    for number, (layer, source) in enumerate(zip(leaves, sources, strict=False)):
        note: dict[str, Any] = {}
        use = uses[layer] if total[layer] > 1 else None
        uses[layer] += 1
        makes = layer._is_custom and sources[number + 1] == number
        if source is not None and (layer._reads_mask or makes):
            _require_rows_of_mask(samples, leaves, number, source)
            note["masked"] = True
        with_mask = None
        if source is not None:
            with_mask = layer._lower_masked(samples[number], samples[source + 1][:-1])
            note |= {} if with_mask is None else {"masked": True}
        if makes:
            note["mask_rows"] = math.prod(samples[number + 1][:-1])
        kinds = Counter[str]()
        for operation in layer._operations_for(samples[number], with_mask):
            kind = operation["kind"]
            first = firsts.setdefault((layer, kind, kinds[kind]), len(found))
            kinds[kind] += 1
            again = {"first": first} if first < len(found) else {}
            frozen = (
                {} if trainable is None or "trainable" not in operation else {"trainable": trainable[layer]}
            )
            fields = _of_use(layer, operation, use)
            host = fields.get("host", operation.get("host"))
            if isinstance(host, LayerHost):
                given = arguments[number] if arguments else None
                integers = None if kept.kind == "f" else kept.name
                fields = {**fields, "host": host._replace(arguments=given, dtype=integers)}
            found.append({**operation, **note, **again, **frozen, **fields})
        kept = kept if layer._only_moves_values and not layer._is_custom else np.dtype(np.float32)
    return (
        found if learns else [{**each, "trainable": False} if "trainable" in each else each for each in found]
    )


def _of_use(layer: Layer, operation: Operation, use: int | None) -> Operation:
    """What is different where a layer is used again, after so many times: each time it draws other random numbers."""
    if use is None:
        return {}
    if use and "renorm_momentum" in operation:
        msg = (
            f"layer {layer.name!r} comes twice in one network, where the running averages that its second use reads with "
            "`renorm` would be those that the first has just moved: take two layers, or leave out `renorm`"
        )
        raise ValueError(msg)
    fields = {"seed": (operation["seed"] + use * _SEEDS_APART) % 2**64} if "seed" in operation else {}
    host = operation.get("host")
    return fields | ({"host": host._replace(use=use)} if isinstance(host, LayerHost) else {})


def loss_is_masked(samples: Sequence[Shape], leaves: Sequence[Layer]) -> bool:
    """Whether a mask reaches the outputs, so that losses leave rows out; arguments as of `operations_through`.

    Raises:
        ValueError: if the mask is not about the rows of the outputs, one for each value of a loss.
    """
    source = masks_before(leaves)[-1]
    if source is not None:
        _require_rows_of_mask(samples, leaves, len(leaves), source)
    return source is not None


def _require_rows_of_mask(
    samples: Sequence[Shape], leaves: Sequence[Layer], number: int, source: int
) -> None:
    """Raise ValueError unless the mask of layer `source` is about rows of the inputs of layer `number`, or the loss."""
    masked, rows = samples[source + 1][:-1], samples[number][:-1]
    user = leaves[number] if number < len(leaves) else None
    if masked != rows:
        reads = "the loss has one value" if user is None else f"layer {user.name!r} reads one row"
        msg = (
            f"the mask of layer {leaves[source].name!r} has the shape {text_of_shape(masked)}, but {reads} for each of "
            f"{text_of_shape(rows)}: set `supports_masking = False` on the layer that changes the shape, or put a "
            "GlobalAveragePooling1D() before it"
        )
        raise ValueError(msg)
    last = getattr(user, "axis", -1) in (-1, len(rows) + 1)
    if user is not None and not (last and getattr(user, "data_format", "channels_last") == "channels_last"):
        msg = (
            f"layer {user.name!r} must have its features on the last axis, as layer {leaves[source].name!r} before it "
            "masks rows: leave out `axis` or `data_format`"
        )
        raise ValueError(msg)


def tracked(samples: Sequence[Shape], leaves: Sequence[Layer], learns: bool) -> list[Tracked]:
    """The weights of `leaves`, each once, as the optimizer knows them; arguments as of `operations_through`."""
    return [
        Tracked(
            f"{layer.name}/{weight.name}",
            learns and layer.trainable and weight.trainable,
            weight.regularizer,
            weight.constraint,
            weight.shape,
        )
        for layer, sample in first_uses(samples, leaves).items()
        for weight in layer._weights_for(sample)
    ]


def rows_of(input_shape: Shape | None, stack: Sequence[Any], expand: bool, depth: int = 0) -> Iterator[Any]:
    """What a summary tells of each part, in a list of rows, the others being those of layers within.

    A row is name and class, output shape, number of weights, whether it is trainable.
    """
    shapes = ["?"] * len(stack)
    if input_shape is not None:
        shapes = [str((None, *out)) for out in shapes_through(input_shape, stack)[1:]]
    mark = "   " * depth + "└ " if depth else ""
    for part, out in zip(stack, shapes, strict=True):
        given = isinstance(part, InputLayer)
        params = "0" if given else f"{part.count_params():,}" if part.built else "0 (unbuilt)"
        learns = ("Y" if part.trainable else "N") if part.weights else "-"
        rows = [(f"{mark}{part.name} ({type(part).__name__})", out, params, learns)]
        if expand and not isinstance(part, Layer):
            within = rows_of(part._sample_shape, part._parts_in_order, expand, depth + 1)
            rows += [row for each in within for row in each]
        yield rows
