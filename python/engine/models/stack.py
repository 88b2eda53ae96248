"""Lists of layers in the order in which they compute: their names, shapes, core operations and weights.

A *leaf* is a layer, without the models around it, or what a network computes beside its layers (`layers/leaf.py`). A *part* is
a layer or a model. Lists of either have an entry for each use of a layer, so that a layer that is used twice comes twice.
`wiring` has their connections.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import Shape, WrongTypeError, text_of_shape
from engine._base.random_state import related_seed
from engine._core_interface.cpp import Operation
from engine._data.exact_integers import Reading
from engine._tracing.extents import FullShape, full_shape, text_of_extents
from engine._tracing.recordings import LAYER_FIELDS
from engine.layers import InputLayer, Layer
from engine.layers.call_arguments import canonical_dtype
from engine.layers.hashing import CrossingHost
from engine.layers.hosts import CustomLayerHost
from engine.layers.leaf import Leaf
from engine.layers.masking import mask_sources
from engine.layers.nodes import MaskLeaf, NodeLeaf, WeightsLeaf
from engine.layers.part import Part
from engine.layers.values import ValueLayer
from engine.models.network import Network
from engine.models.wiring import Shapes, shapes_along
from engine.optimizers.variables import Tracked


def with_parts(
    starts: Sequence[InputLayer], stack: Sequence[Part], parts: Iterable[object]
) -> tuple[list[InputLayer], list[Part]]:
    """Returns the input layer, in a list, and the parts of a chain to which `parts` are added.

    Args:
        starts: a list with the input layer of the chain, if it has one.
        stack: its parts.
        parts: layers and models; the first one may be an input layer.

    Raises:
        TypeError: for something that is neither a layer nor a model.
        ValueError: for an input layer that isn't the first, or two layers of one name.
    """
    begin, found, named = list(starts), list(stack), {part.name: part for part in stack}
    for part in parts:
        if not isinstance(part, Part):
            hint = "; make an object of it: add ()" if isinstance(part, type) else ""
            msg = f"a model is made of objects of engine.layers and of models, got {part!r}{hint}"
            raise WrongTypeError(msg)
        if isinstance(part, InputLayer):
            if begin or found:
                msg = (
                    f"the input layer {part.name!r} must come first, and there can be only one: leave it out"
                )
                raise ValueError(msg)
            begin = [part]
            continue
        if named.setdefault(part.name, part) is not part:
            msg = f"two layers are named {part.name!r}: give one of them another `name`"
            raise ValueError(msg)
        _require_one_input_and_output(part)
        if not begin and not found:
            begin = [] if part._given_input_shape is None else [InputLayer(part._given_input_shape)]
        found.append(part)
    return begin, found


def _require_one_input_and_output(part: Part) -> None:
    for what, count in (("input", part._input_count), ("output", part._output_count)):
        if count != 1:
            msg = f"each layer of a Sequential has one {what}, but {part.name!r} has {count}: make a Model(inputs, outputs)"
            raise ValueError(msg)


def computes_whole_batches(network: Network) -> bool:
    """Whether Python computes a layer whose `call` can't be recorded, or may assign weights.

    Then a sample may depend on others of its batch.
    """
    calls = zip(network.leaves, network.wiring.reads, strict=True)
    # A leaf that reads nothing only holds weights.
    return any(
        reads
        and leaf._is_by_call
        and (leaf._may_be_recorded or not all(weight.trainable for weight in leaf._specs))
        for leaf, reads in calls
    )


def require_names(parts: Iterable[Part]) -> None:
    """Raises ValueError if two different layers, input layers included, have the same name."""
    named: dict[str, Part] = {}
    for part in parts:
        if named.setdefault(part.name, part) is not part:
            msg = f"two layers are named {part.name!r}: give one of them another `name`"
            raise ValueError(msg)


def first_uses(shapes: Shapes, leaves: Sequence[Leaf]) -> dict[Layer, Any]:
    """Returns each layer once, in order, with the shape of one input sample in its first use.

    Args:
        shapes: the shapes of one sample throughout the network.
        leaves: of the network.

    Raises:
        ValueError: for a layer that is used twice and would need weights of different shapes.
    """
    found: dict[Layer, Any] = {}
    for leaf, read in zip(leaves, shapes.read, strict=True):
        if not isinstance(leaf, Layer):
            continue
        sample = read[0] if read else None  # a layer that reads nothing has weights that nodes read
        first = found.setdefault(leaf, sample)
        if first == sample or first is None or sample is None:
            continue
        for one, other in zip(leaf._weight_specs_for(first), leaf._weight_specs_for(sample), strict=True):
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
            layer._note_change()
    return changed


class Lowered(NamedTuple):
    """What the core computes for a network."""

    operations: list[Operation]
    outputs: list[tuple[int, int]]
    """For each output of the network the number of the operation that computes it, and its rows in one sample."""


def lowered(
    network: Network,
    inputs: Sequence[Shape],
    learns: bool,
    *,
    trainable: Mapping[Layer, bool] | None = None,
    dtypes: Sequence[str] = (),
) -> Lowered:
    """Returns what the core computes for a network, layer by layer.

    Args:
        network: the layers and their connections.
        inputs: the shape of one sample of each input.
        learns: False if no weight is to be trained, whatever the attribute `trainable` of the layers says.
        trainable: the values to use instead of that attribute, of layers with weights.
        dtypes: of the inputs; default float32.
    """
    leaves, wiring = network.leaves, network.wiring
    lowering = Lowering(network, shapes_along(inputs, leaves, wiring), trainable, dtypes)
    for number in range(len(leaves)):
        lowering.add(number)
    found = lowering.operations
    if not learns:
        found = [{**each, "trainable": False} if "trainable" in each else each for each in found]
    outputs = []
    for number, shape in zip(wiring.outputs, lowering.shapes.outputs, strict=True):
        if isinstance(shape, FullShape):
            msg = (
                f"an output of a model has one row for each sample, (None, ...), but one has the shape {text_of_extents(shape)}: "
                "leave the batch axis out of reductions, such as by `axis=-1`, or bring it to the samples by "
                "ops.broadcast_to(). What is only a part of the loss is an argument of add_loss(), and a `train_step` of your "
                "own may use a model that returns such arrays"
            )
            raise ValueError(msg)
        source = lowering.operation_of(number)
        if source < 0:  # an output of the core is computed by an operation
            found.append({"kind": "activation", "activation": "linear", "inputs": [source]})
            source = len(found) - 1
        outputs.append((source, math.prod(shape[:-1])))
    return Lowered(found, outputs)


class Lowering:
    """The operations of a network, while they are collected. The arguments are those of `lowered`."""

    def __init__(
        self,
        network: Network,
        shapes: Shapes,
        trainable: Mapping[Layer, bool] | None,
        dtypes: Sequence[str],
    ) -> None:
        self.shapes, self.operations = shapes, list[Operation]()
        self._leaves, self._reads = network.leaves, network.wiring.reads
        self._trainable, self._arguments, self._training = (
            trainable,
            network.arguments,
            network.training_of_leaves,
        )
        self._silent, self._around = network.silent, network.around
        self._masks, self._masks_after = mask_sources(self._leaves, self._reads)
        self._uses, self._total, self._drawn = Counter[Leaf](), Counter(self._leaves), Counter[int]()
        self._sources: list[int] = []  # the operation that computes the output of each leaf, or an input
        # The dtypes of the inputs, and of the output of each leaf: layers that only move values keep integers and strings,
        # which are numbers in the core.
        self._input_dtypes = [canonical_dtype(dtype) for dtype in dtypes]
        self._output_dtypes: list[np.dtype[Any]] = []
        # The inputs that hold codes of integers, and for each leaf the input whose numbers its output holds.
        readings = readings_of_inputs(network, dtypes)
        self._coded = {-1 - place for place, each in enumerate(readings) if each is Reading.CODED}
        self._origins = _origins(network, slices=True)
        # The number of each operation in the first use of a layer, by layer, kind and number among those of this kind.
        self._firsts: dict[tuple[Leaf, str, int], int] = {}

    def operation_of(self, number: int) -> int:
        """Returns the operation that computes value `number`, or the same negative number for an input."""
        return number if number < 0 else self._sources[number]

    def is_masked(self, number: int, sample: Any) -> bool:
        """Returns whether a mask with one value for each row reaches value `number`, whose samples have the shape `sample`."""
        source = None if number < 0 else self._masks_after[number]
        if source is None:
            return False
        made, rows = full_shape(self.shapes.values[source])[:-1], full_shape(sample)[:-1]
        return [each.fixed for each in made[1:]] == [each.fixed for each in rows[1:]]

    def add(self, number: int) -> None:
        """Adds the operations of leaf `number`."""
        layer, found = self._leaves[number], self.operations
        if isinstance(layer, NodeLeaf):
            self._add_node(layer, number)
            return
        if isinstance(layer, (Layer, WeightsLeaf)) and not self._reads[number]:
            self._add_weights(layer)
            return
        training = self._training[number] if self._training else None
        samples, note, with_mask = self.shapes.read[number], *self._mask_fields(number)
        use = self._uses[layer] if self._total[layer] > 1 else None
        self._uses[layer] += 1
        read = [self.operation_of(each) for each in self._reads[number]]
        dtype = self._dtype_of(self._reads[number][0])
        if any(self._dtype_of(each).kind == "U" for each in self._reads[number]):
            _require_strings_read(layer)
        # The only input may be strings although its dtype doesn't say so.
        elif self._reads[number] != (-1,) or len(self._input_dtypes) > 1:
            _require_numbers_read(layer)
        kinds, begin, incoming = Counter[str](), len(found), read[0]
        for operation in layer._operations_for(samples, with_mask):
            kind = operation["kind"]
            if kind == "activity_regularization" and number in self._silent:
                continue
            first = self._firsts.setdefault((layer, kind, kinds[kind]), len(found))
            kinds[kind] += 1
            fields = dict[str, Any]({"first": first} if first < len(found) else {})
            if self._trainable is not None and "trainable" in operation and isinstance(layer, Layer):
                fields["trainable"] = self._trainable.get(layer, layer.trainable)
            fields |= _of_use(layer, operation, use)
            host = fields.get("host", operation.get("host"))
            if isinstance(host, CustomLayerHost):
                arguments = self._arguments[number] if self._arguments else None
                coded = self._is_coded(self._reads[number][0])
                name = dtype.name if dtype.kind != "f" else "int64" if coded else None
                fields["host"] = host._replace(
                    arguments=arguments, dtype=name, coded=coded, training=training
                )
            elif isinstance(host, CrossingHost):
                coded_ones = tuple(map(self._is_coded, self._reads[number]))
                read_dtypes = [self._dtype_of(each) for each in self._reads[number]]
                dtypes = tuple(
                    "int64" if each.kind == "f" and coded else each.name
                    for each, coded in zip(read_dtypes, coded_ones, strict=True)
                )
                fields["host"] = host._replace(dtypes=dtypes, coded=coded_ones)
            if "back" in operation:  # a node of a recorded function
                before = [len(found) - each for each in operation["back"]]
                fields["inputs"] = [each if each >= begin else incoming for each in before]
                operation = {name: value for name, value in operation.items() if name not in LAYER_FIELDS}  # noqa: PLW2901
            elif read != [len(found) - 1]:
                fields["inputs"] = read
            if training is not None:  # whatever the batch is for
                fields["training" if training else "inference"] = True
            found.append({**operation, **note, **fields})
            read = [len(found) - 1]
        self._sources.append(self._with_mask_of_input(number, read[0], found[begin:], incoming))
        moves = layer._only_moves_values and not layer._is_by_call
        self._output_dtypes.append(dtype if moves else np.dtype(np.float32))

    def _with_mask_of_input(self, number: int, output: int, own: Sequence[Operation], incoming: int) -> int:
        """Returns the operation that computes the output of leaf `number` with the mask that it passes on.

        Operations on arrays don't pass masks on, so that the mask of the input is added to what they compute.

        Args:
            number: of the leaf.
            output: the operation that computes the output without a mask.
            own: the operations of the leaf.
            incoming: the operation that computes its input.
        """
        passes = self._masks_after[number] not in (None, number)
        if (
            not passes
            or isinstance(self._leaves[number], MaskLeaf)
            or not any("input_shapes" in each for each in own)
        ):
            return output
        leaf = MaskLeaf(self.shapes.values[number], self.shapes.read[number][0])
        self.operations += [{**each, "inputs": [output, incoming]} for each in leaf._operations()]
        return len(self.operations) - 1

    def _add_node(self, leaf: NodeLeaf, number: int) -> None:
        reads = self._reads[number]
        read = [self.operation_of(each) + (pick or 0) for each, pick in zip(reads, leaf.picks, strict=True)]
        (operation,) = leaf._operations()
        owner = self._around[number][-1] if self._around and self._around[number] else None
        fields = dict[str, Any](inputs=read)
        fields |= {} if owner is None else owner._precision_of(operation["kind"])
        if "seed" in operation:  # of random numbers, which a layer that is used again draws again
            fields["seed"] = related_seed(operation["seed"], self._drawn[id(leaf.node)])
            self._drawn[id(leaf.node)] += 1
        self.operations.append({**operation, **fields})
        self._sources.append(len(self.operations) - 1)
        moves = leaf.keeps_dtype and bool(reads)
        self._output_dtypes.append(self._dtype_of(reads[0]) if moves else np.dtype(np.float32))

    def _add_weights(self, layer: Layer | WeightsLeaf) -> None:
        """Adds the weights of a layer that are read by nodes."""
        self._sources.append(len(self.operations))
        if isinstance(layer, WeightsLeaf):
            first, specs = 0, list[Any]()
            for leaf, sample in first_uses(self.shapes, self._leaves).items():
                specs = leaf._specs if sample is None else leaf._weight_specs_for(sample)
                if leaf is layer.layer:
                    break
                first += len(specs)
            self.operations += [{**node, "inputs": []} for node in layer._nodes(first, specs)]
            self._output_dtypes.append(np.dtype(np.float32))
            return
        for operation in layer._lowered_weights():
            fields = (
                {}
                if self._trainable is None
                else {"trainable": self._trainable[layer] and operation["trainable"]}
            )
            self.operations.append({**operation, **fields, "inputs": []})
        self._output_dtypes.append(np.dtype(np.float32))

    def _dtype_of(self, number: int) -> np.dtype[Any]:
        if number >= 0:
            return self._output_dtypes[number]
        return self._input_dtypes[-1 - number] if self._input_dtypes else np.dtype(np.float32)

    def _is_coded(self, number: int) -> bool:
        """Whether codes of integers may be among the numbers of a value."""
        return (number if number < 0 else self._origins[number]) in self._coded

    def _mask_fields(self, number: int) -> tuple[dict[str, Any], list[Any] | None]:
        """Returns the fields about masks for a leaf's operations, and the operations that a mask requires instead, or None."""
        layer, source, note = self._leaves[number], self._masks[number], dict[str, Any]()
        makes_mask = layer._is_by_call and self._masks_after[number] == number
        with_mask = None
        sample = self.shapes.read[number][0]
        if source is not None and (layer._reads_mask or makes_mask):
            _require_rows_of_mask(self.shapes.values[source], sample, self._leaves[source], layer)
            note["masked"] = True
        if source is not None:
            with_mask = layer._lower_masked(sample, self.shapes.values[source][:-1])
            note |= {} if with_mask is None else {"masked": True}
        if makes_mask:
            note["mask_rows"] = math.prod(self.shapes.values[number][:-1])
        return note, with_mask


def _require_strings_read(layer: Leaf) -> None:
    if not layer._is_by_call and not layer._only_moves_values:
        msg = (
            f"layer {layer.name!r} takes numbers, but reads an Input() of strings: put a StringLookup, Hashing or "
            "TextVectorization before it"
        )
        raise TypeError(msg)


def _require_numbers_read(layer: Leaf) -> None:
    if isinstance(layer, ValueLayer) and layer._reads == "strings":
        msg = (
            f"layer {layer.name!r} reads strings, but gets numbers: call it on an Input(shape, dtype='string'), or take an "
            "IntegerLookup for integers"
        )
        raise TypeError(msg)


def _of_use(layer: Leaf, operation: Operation, use: int | None) -> Operation:
    """Returns the fields that differ in use number `use` of a layer: its seed and its host. None is the only use."""
    if use is None:
        return {}
    if use and "renorm_momentum" in operation:
        msg = (
            f"layer {layer.name!r} comes twice in one network, where the running averages that its second use reads with "
            "`renorm` would be those that the first has just moved: take two layers, or leave out `renorm`"
        )
        raise ValueError(msg)
    fields = {"seed": related_seed(operation["seed"], use)} if "seed" in operation else {}
    host = operation.get("host")
    return fields | ({"host": host._replace(use=use)} if isinstance(host, CustomLayerHost) else {})


def masked_losses(shapes: Shapes, network: Network) -> list[bool]:
    """Returns for each output whether a mask reaches it, so that the loss ignores masked rows.

    Args:
        shapes: the shapes of one sample throughout the network.
        network: the layers and their connections.

    Raises:
        ValueError: if a mask doesn't have one value for each row of an output.
    """
    leaves, wiring = network.leaves, network.wiring
    _, after = mask_sources(leaves, wiring.reads)
    found = []
    for number, shape in zip(wiring.outputs, shapes.outputs, strict=True):
        source = None if number < 0 else after[number]
        if source is not None:
            _require_rows_of_mask(shapes.values[source], shape, leaves[source], None)
        found.append(source is not None)
    return found


def _require_rows_of_mask(made: Shape, sample: Shape, maker: Leaf, user: Leaf | None) -> None:
    """Raises ValueError unless a mask has a value for each row that is read.

    Args:
        made: the shape of one output of the layer that made the mask.
        sample: the shape of one sample that is read.
        maker: that layer.
        user: the layer that reads; None for the loss.
    """
    masked, rows = made[:-1], sample[:-1]
    if masked != rows:
        reads = "the loss has one value" if user is None else f"layer {user.name!r} reads one row"
        msg = (
            f"the mask of layer {maker.name!r} has the shape {text_of_shape(masked)}, but {reads} for each of "
            f"{text_of_shape(rows)}: set `supports_masking = False` on the layer that changes the shape, or put a "
            "GlobalAveragePooling1D() before it"
        )
        raise ValueError(msg)
    if user is not None and not user._has_features_last(len(rows) + 2):
        msg = (
            f"layer {user.name!r} must have its features on the last axis, as layer {maker.name!r} before it "
            "masks rows: leave out `axis` or `data_format`"
        )
        raise ValueError(msg)


def tracked(
    shapes: Shapes, leaves: Sequence[Leaf], learns: bool, listed: Sequence[Layer] = ()
) -> list[Tracked]:
    """Returns the weights of `leaves`, each once, as the optimizer needs them.

    Args:
        shapes: the shapes of one sample throughout the network.
        leaves: the layers.
        learns: False if no weight is to be trained.
        listed: the layers in the order in which users and files list their weights; default that of `leaves`.
    """
    places = {layer: place for place, layer in enumerate(listed)}
    return [
        Tracked(
            f"{layer.path}/{weight.name}",
            learns and layer.trainable and weight.trainable,
            weight.regularizer,
            weight.constraint,
            weight.shape,
            owner=layer,
            number=index,
            place=places.get(layer, len(places)),
        )
        for layer, sample in first_uses(shapes, leaves).items()
        for index, weight in enumerate(layer._specs if sample is None else layer._weight_specs_for(sample))
    ]


def tokens_of_inputs(network: Network, count: int) -> list[int | None]:
    """Returns for each of the inputs how many different indices it may hold; None if it isn't indices.

    Args:
        network: the layers and their connections.
        count: the number of inputs; 0 if the input shape is unknown.
    """
    found: list[int | None] = [None] * max(count, 1)
    for leaf, origins in _readers(network, slices=False):
        if origins[0] < 0 and leaf._indices_below is not None:
            known = found[-1 - origins[0]]
            found[-1 - origins[0]] = leaf._indices_below if known is None else min(known, leaf._indices_below)
    return found


def readings_of_inputs(network: Network, dtypes: Sequence[str]) -> list[Reading]:
    """Returns for each of the inputs how the layers read it.

    Args:
        network: the layers and their connections.
        dtypes: of the inputs; empty if there is no input layer.
    """
    kinds = [canonical_dtype(each).kind for each in dtypes] or ["f"]
    by_value, by_number = set[int](), set[int]()
    for leaf, origins in _readers(network, slices=True):
        for origin in origins:
            if origin < 0:
                integers = kinds[-1 - origin] in "iu"
                takes = (
                    leaf._reads != "strings"
                    if isinstance(leaf, ValueLayer)
                    else leaf._is_by_call and integers
                )
                (by_value if takes else by_number).add(origin)
    origins = _origins(network, slices=True)
    by_number.update(each if each < 0 else origins[each] for each in network.wiring.outputs)

    def reading(number: int, kind: str) -> Reading:
        if kind == "U":
            return Reading.NUMBERS
        if number in by_value and number not in by_number:
            return Reading.CODED
        return Reading.EXACT if number in by_value or kind in "iu" else Reading.NUMBERS

    return [reading(-1 - place, kind) for place, kind in enumerate(kinds)]


def _readers(network: Network, *, slices: bool) -> Iterator[tuple[Leaf, list[int]]]:
    """Yields each leaf that computes with what it reads, and for each value that it reads the input that this comes from.

    The input is negative; 0 stands for a value that is computed. `slices` is that of `_moves`.
    """
    origins = _origins(network, slices=slices)
    for leaf, reads in zip(network.leaves, network.wiring.reads, strict=True):
        if reads and not _moves(leaf, reads, slices=slices):
            yield leaf, [each if each < 0 else origins[each] for each in reads]


def _origins(network: Network, *, slices: bool) -> list[int]:
    """Returns for each leaf the input, a negative number, whose numbers its output holds, or 0."""
    origins: list[int] = []
    for leaf, reads in zip(network.leaves, network.wiring.reads, strict=True):
        if _moves(leaf, reads, slices=slices):
            origins.append(reads[0] if reads[0] < 0 else origins[reads[0]])
        else:
            origins.append(0)
    return origins


def _moves(leaf: Leaf, reads: Sequence[int], *, slices: bool) -> bool:
    """Whether the output of a leaf holds the numbers of its one input as they are.

    Args:
        leaf: the leaf.
        reads: what it reads.
        slices: whether the output may hold some of them only.
    """
    if isinstance(leaf, NodeLeaf):
        return slices and leaf.keeps_dtype and len(reads) == 1
    return leaf._only_moves_values and not leaf._is_by_call and len(reads) == 1
