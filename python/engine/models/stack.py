"""Lists of layers in the order in which they compute: their names, shapes, core operations and weights.

A *leaf* is a layer, without the models around it. A *part* is a layer or a model. Both lists have an entry for each use
of a layer, so that a layer that is used twice comes twice.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine._base.checks import Shape, text_of_shape
from engine._base.cpp import Operation
from engine.layers import InputLayer, Layer
from engine.layers._call_arguments import canonical_dtype
from engine.layers._hosts import CustomLayerHost
from engine.layers.layer import Part
from engine.layers.masking import masks_before
from engine.layers.symbols import CallArguments
from engine.optimizers.variables import Tracked

# What the seed grows by from one use of a layer to the next: an odd number without a pattern, so that small multiples of
# it are no difference of two other seeds.
_SEEDS_APART = 0x9E3779B97F4A7C15


def with_parts(
    inputs: InputLayer | None, stack: Sequence[Part], parts: Iterable[object]
) -> tuple[InputLayer | None, list[Part]]:
    """Returns the input layer and the parts of a model to which `parts` are added.

    Args:
        inputs: the input layer of the model, if it has one.
        stack: its parts.
        parts: layers and models; the first one may be an input layer.

    Raises:
        TypeError: for something that is neither a layer nor a model.
        ValueError: for an input layer that isn't the first, or two layers of one name.
    """
    found, named = list(stack), {part.name: part for part in stack}
    for part in parts:
        if not isinstance(part, Part):
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
    """Returns each layer once, in order, with the shape of one input sample in its first use.

    Args:
        samples: the shapes of one sample before each leaf.
        leaves: the layers.

    Raises:
        ValueError: for a layer that is used twice and would need weights of different shapes.
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
    """Gives layers that draw random numbers these seeds, and returns whether that changes any of them."""
    changed = False
    for layer, seed in zip(leaves, seeds, strict=True):
        if None not in (seed, layer._seed_in_use) and seed != layer._seed_in_use:
            layer._seed_in_use, changed = seed, True
    return changed


def shapes_through(input_shape: Shape, stack: Sequence[Part]) -> list[Shape]:
    """Returns the shapes of one sample before the first part and after each."""
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
    """Returns the core's operations, layer by layer.

    Args:
        samples: the shapes of one sample before the first leaf and after each.
        leaves: the layers.
        learns: False if no weight is to be trained, whatever the attribute `trainable` of the layers says.
        trainable: the values to use instead of that attribute.
        arguments: the arguments that each leaf was called with beside its inputs; default none.
        dtype: of the model's inputs.
    """
    found: list[Operation] = []
    sources = masks_before(leaves)
    uses, total = Counter[Layer](), Counter(leaves)
    kept = canonical_dtype(
        dtype
    )  # of the layer's inputs: integers stay integers in layers that only move them
    # The number of each operation in the first use of a layer, by layer, kind and number among those of this kind.
    firsts: dict[tuple[Layer, str, int], int] = {}
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
            if isinstance(host, CustomLayerHost):
                given = arguments[number] if arguments else None
                integers = None if kept.kind == "f" else kept.name
                fields = {**fields, "host": host._replace(arguments=given, dtype=integers)}
            found.append({**operation, **note, **again, **frozen, **fields})
        kept = kept if layer._only_moves_values and not layer._is_custom else np.dtype(np.float32)
    return (
        found if learns else [{**each, "trainable": False} if "trainable" in each else each for each in found]
    )


def _of_use(layer: Layer, operation: Operation, use: int | None) -> Operation:
    """Returns the fields that differ in use number `use` of a layer: its seed and its host. None is the only use."""
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
    return fields | ({"host": host._replace(use=use)} if isinstance(host, CustomLayerHost) else {})


def loss_is_masked(samples: Sequence[Shape], leaves: Sequence[Layer]) -> bool:
    """Whether a mask reaches the outputs, so that the loss ignores masked rows.

    Args:
        samples: the shapes of one sample before the first leaf and after each.
        leaves: the layers.

    Raises:
        ValueError: if the mask doesn't have one value for each row of the outputs.
    """
    source = masks_before(leaves)[-1]
    if source is not None:
        _require_rows_of_mask(samples, leaves, len(leaves), source)
    return source is not None


def _require_rows_of_mask(
    samples: Sequence[Shape], leaves: Sequence[Layer], number: int, source: int
) -> None:
    """Raises ValueError unless the mask of leaf `source` has a value for each row of the inputs of leaf `number`.

    The number after that of the last leaf is the loss.
    """
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
    if user is not None and not user._has_features_last(len(rows) + 2):
        msg = (
            f"layer {user.name!r} must have its features on the last axis, as layer {leaves[source].name!r} before it "
            "masks rows: leave out `axis` or `data_format`"
        )
        raise ValueError(msg)


def tracked(samples: Sequence[Shape], leaves: Sequence[Layer], learns: bool) -> list[Tracked]:
    """Returns the weights of `leaves`, each once, as the optimizer needs them.

    Args:
        samples: the shapes of one sample before each leaf.
        leaves: the layers.
        learns: False if no weight is to be trained.
    """
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


Row = tuple[str, str, str, str]
"""A row of a summary: name and class, output shape, number of weights, whether it is trainable."""


def summary_rows(
    input_shape: Shape | None, stack: Sequence[Part], expand: bool, depth: int = 0
) -> Iterator[list[Row]]:
    """Yields for each part its row of a summary, followed by those of the layers within if `expand` is true.

    Args:
        input_shape: of one sample, if it is known.
        stack: the parts.
        expand: whether to list the layers of models.
        depth: the number of models around the parts.
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
            within = summary_rows(part._given_input_shape, part._parts_in_order, expand, depth + 1)
            rows += [row for each in within for row in each]
        yield rows
