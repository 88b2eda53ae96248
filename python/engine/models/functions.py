"""What gradient tapes have recorded, as functions of the core: programs that are compiled once for each structure.

`evaluate` computes the arrays of a trace that wait for their numbers. A `Request` selects the entries that they need,
`FunctionLowering` makes the core's operations of these, and the compiled `Function` is kept for the next request that has
the same `key`.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from engine._base.locks import Lock, Order
from engine._base.random_state import next_key
from engine._core_interface.cpp import Float32, Program, WeightArray, new_arrays, read_arrays, write_arrays
from engine._core_interface.operations import variable_node
from engine._tracing.errors import line_of_user
from engine._tracing.extents import Extent, Extents, FullShape, as_pairs, full_shape, sample_shape
from engine._tracing.integer_bounds import (
    IntegerBounds,
    IntegersRoundedError,
    are_rounded,
    is_of_integers,
    magnitude_of,
    may_round_integers,
)
from engine._tracing.lazy import (
    LazyTrace,
    PartCall,
    RecordedArray,
    TraceFunctions,
    keep_weights,
    shape_for_samples,
)
from engine._tracing.recordings import Recording
from engine._tracing.trace import Computed, Input, Node, OfWeight, Origin, TracedArray, Use
from engine._tracing.versions import Dependencies
from engine.layers.layer import Layer
from engine.layers.leaf import Leaf
from engine.layers.nodes import NodeLeaf, WeightsLeaf
from engine.layers.part import Part
from engine.layers.symbols import CallArguments
from engine.layers.weights import constraint_fields
from engine.models.network import CallMode, Flattening, Network, Value, inner_graph
from engine.models.stack import Lowering
from engine.models.wiring import Shapes, Wiring

# The number of compiled functions that are kept, those that were used last.
_MOST_FUNCTIONS = 256
# The kind of nodes that apply a formula to each element. Their field "numbers" holds the constants of the formula.
_MAP = "map"
# Kinds of operations that combine the rows of a sample, such as its timesteps.
_BY_SAMPLE = frozenset({"mean", "max", "mask", "permute", "repeat", "image_augmentation", "encoding"})


class Function(NamedTuple):
    """A compiled function."""

    program: Program
    draws: bool
    """Whether it draws random numbers."""
    changed: tuple[Layer, ...]
    """The layers with weights that it changes, such as moving averages."""
    private: tuple[tuple[Any, int, WeightArray], ...]
    """The weights that the program has copies of, since the trace keeps earlier values of them.

    Each is its owner, its number there, and the copy.
    """
    dependencies: Dependencies
    """The layers, models and variables that it was compiled from."""
    varying: Sequence[int]
    """The indices of the constants of formulas that it gets as its last arguments."""


class _KeptFunction:
    """The function for requests with one key, and how these differ in the constants of their formulas.

    Constants that were the same in all requests are compiled into the function. Once one has differed, it is an argument.

    Args:
        constants: those of the first request.
    """

    def __init__(self, constants: Sequence[float]) -> None:
        self._first, self._bytes = constants, _bytes_of(constants)
        self.varying = tuple[int, ...]()
        """The indices of the constants that have differed."""
        self.function: Function | None = None
        self.last_use = 0
        """The number of the last request for it."""

    def compare(self, constants: Sequence[float]) -> None:
        """Notes which constants of a request differ from those of the first one."""
        if _bytes_of(constants) != self._bytes:
            pairs = enumerate(zip(self._first, constants, strict=True))
            different = {index for index, (one, other) in pairs if _bytes_of([one]) != _bytes_of([other])}
            self.varying = tuple(sorted(different.union(self.varying)))


def _bytes_of(numbers: Sequence[float]) -> bytes:
    """Returns numbers in a form whose `==` tells 0.0 from -0.0, and finds NaN."""
    return np.array(numbers, np.float64).tobytes()


# By the key of their requests, which keeps alive all that it refers to.
_functions: dict[Any, _KeptFunction] = {}
_uses = count(1)
# What `masks` has found, and what that depends on, in the same way.
_masked: OrderedDict[Any, tuple[list[bool], Dependencies]] = OrderedDict()
_table = Lock("the compiled functions", Order.FUNCTIONS)


class Request:
    """What is to be computed of a trace: the entries and inputs that some results need, with new indices from 0 on.

    Args:
        trace: the trace.
        origins: what computes the results.

    Attributes:
        entries: the indices of the entries that are needed, in the trace.
        inputs: the indices of the inputs that are needed, in the trace.
        constants: those of formulas, one after the other; empty before `key` is called.
        private: the owners of weights of which the trace keeps earlier values.
    """

    def __init__(self, trace: LazyTrace, origins: Sequence[Origin]) -> None:
        self.trace, self._origins = trace, origins
        needed = {index for index, _ in trace.pending_changes}
        needed.update([origin.entry for origin in origins if type(origin) is Computed])
        used = {origin.number for origin in origins if type(origin) is Input}
        for index in range(max(needed, default=-1), -1, -1):  # what an entry needs stands before it
            if index not in needed:
                continue
            for origin, _ in trace.entries[index].inputs:
                if type(origin) is Computed:
                    needed.add(origin.entry)
                elif type(origin) is Input:
                    used.add(origin.number)
            if trace.changes:
                needed.update(self._changes_before(index))
        self.entries, self.inputs = sorted(needed), sorted(used)
        self._all_needed = len(needed) == len(trace.entries) and len(used) == len(trace.arguments)
        self._new_entries = {index: new for new, index in enumerate(self.entries)}
        self._new_inputs = {index: new for new, index in enumerate(self.inputs)}
        self.constants: list[float] = []
        self.private = tuple(trace.earlier)

    def _changes_before(self, index: int) -> list[int]:
        """Returns the entries that change weights before an entry reads them."""
        entry = self.trace.entries[index]
        read = {origin.owner for origin, _ in entry.inputs if isinstance(origin, OfWeight)}
        if isinstance(entry, Use):
            read.update(entry.part._layers_of_weights)
        return [each for each, owners in self.trace.changes if each < index and owners & read]

    def renumbered(self, origin: Origin) -> Origin:
        """Returns an origin of the trace with its new index."""
        if isinstance(origin, Computed):
            return Computed(self._new_entries[origin.entry], origin.output)
        return Input(self._new_inputs[origin.number]) if isinstance(origin, Input) else origin

    @property
    def results(self) -> list[Origin]:
        """The origins of the results, with the new indices."""
        return list(map(self.renumbered, self._origins))

    def key(self) -> tuple[Any, ...]:
        """Returns the structure of the request: requests with equal keys can share a function.

        The constants of formulas are not a part of it, and are appended to `constants`.
        """
        found: list[Any] = [tuple([self.trace.arguments[index].shape for index in self.inputs])]
        for index in self.entries:
            entry = self.trace.entries[index]
            inputs = entry.inputs
            if not self._all_needed:
                inputs = tuple([(self.renumbered(origin), shape) for origin, shape in inputs])
            if isinstance(entry, Use):
                found.append((entry.part, inputs, entry.shapes, entry.training, entry.arguments or None))
                continue
            fields: Any = entry.fields
            if entry.kind == _MAP:
                self.constants += fields["numbers"]
            found.append((entry.kind, inputs, entry.shape, fields.structure))
        return (*found, tuple(self.results), self.private)


def evaluate(trace: LazyTrace) -> None:
    """Computes all arrays of a trace that wait for their numbers."""
    by_origin = dict[Origin, list[RecordedArray]]()
    for each in trace.pending():
        if isinstance(each.origin, OfWeight):
            each.set_numbers(_weight(trace, each.origin))
        else:
            by_origin.setdefault(each.origin, []).append(each)
    if not by_origin and not trace.pending_changes:
        return
    may_round = any(map(may_round_integers, trace.entries, trace.dtypes)) or any(
        map(are_rounded, trace.inputs)
    )
    bounds = _bounds_of_integers(trace, by_origin) if may_round else None
    measured = [] if bounds is None else [magnitude_of(array).origin for array in bounds.measured]
    found = run(trace, [*by_origin, *measured])
    for numbers, arrays in zip(found, by_origin.values(), strict=False):
        for each in arrays:
            each.set_numbers(numbers)
    if bounds is not None and measured:
        try:
            bounds.require({}, [float(each.item()) for each in found[len(by_origin) :]])
        except IntegersRoundedError as error:
            _warn_of_rounding(error)


def _bounds_of_integers(
    trace: LazyTrace, by_origin: Mapping[Origin, list[RecordedArray]]
) -> IntegerBounds | None:
    """Returns bounds for the integers that are about to be computed; None, after a warning, if some may be rounded."""
    results = [
        (0, origin)
        for origin, arrays in by_origin.items()
        if any(is_of_integers(each.dtype) for each in arrays)
    ]
    try:
        return IntegerBounds([trace], [by_origin], results)
    except IntegersRoundedError as error:
        _warn_of_rounding(error)
        return None


def _warn_of_rounding(error: IntegersRoundedError) -> None:
    msg = (
        f"{line_of_user()}: integers may be rounded: {error} Compute them outside of gradient tapes, `grad` and `vmap`, or with floats "
        "where rounding doesn't matter"
    )
    warnings.warn(msg, UserWarning, stacklevel=2)


def masks(trace: LazyTrace, arrays: Sequence[TracedArray]) -> list[bool]:
    """Returns for each output of a layer or a model whether a mask reaches it, with one value for each of its rows."""
    request = Request(trace, [array.origin for array in arrays])
    key = request.key()
    with _table.held():
        known = _masked.get(key)
    if known is None or not known[1].are_unchanged:
        try:
            lowering = FunctionLowering(request, (), Dependencies())
            known = lowering.masked, lowering.dependencies
        except (
            TypeError,
            ValueError,
        ):  # what can't be computed here is computed by NumPy, or says so when it is
            return [False] * len(arrays)
        with _table.held():
            _masked[key] = known
            while len(_masked) > _MOST_FUNCTIONS:
                _masked.popitem(last=False)
    return known[0]


def _weight(trace: LazyTrace, origin: OfWeight) -> Float32:
    known = trace.earlier.get(origin.owner)
    return np.array((origin.owner._own_values if known is None else known)[origin.number], np.float32)


def run(trace: LazyTrace, origins: Sequence[Origin]) -> list[Float32]:
    """Returns the arrays that are computed at `origins` of a trace."""
    request = Request(trace, origins)
    function = _function_for(request)
    if function.changed and trace.may_differentiate:
        keep_weights(trace, function.changed)
    for owner, index, copy in function.private:
        write_arrays([copy], [trace.earlier[owner][index]])
    step = 1
    if function.draws:
        if trace.draw is None:
            trace.draw = next_key()[1] + 1
        step = trace.draw
    arguments = [trace.arguments[index] for index in request.inputs]
    arguments += [np.array(request.constants[index], np.float32) for index in function.varying]
    found: list[Float32] = function.program.call(arguments, step, 0.0)
    changed = {owner for _, owners in trace.pending_changes for owner in owners}
    for owner, index, copy in function.private:
        if owner in changed and not owner._specs[index].trainable:  # the copy has changed, and not the weight
            write_arrays([owner._stored_arrays()[index]], read_arrays([copy]))
    return found


def _function_for(request: Request) -> Function:
    """Returns the function for a request."""
    key = request.key()
    with _table.held():
        kept = _functions.get(key)
        if kept is None:
            kept = _functions[key] = _KeptFunction(request.constants)
        kept.last_use = next(_uses)
        kept.compare(request.constants)
        dropped = [_least_used() for _ in range(len(_functions) - _MOST_FUNCTIONS)]
        function, varying = kept.function, kept.varying
    del dropped  # without the lock
    if function is None or function.varying != varying or not function.dependencies.are_unchanged:
        function = _compiled(request, varying)  # without the lock, as it may run code of users
        kept.function = function
    return function


def _least_used() -> Any:
    """Takes the function that was not used for longest out of the table, and returns it with its key."""
    key = min(_functions, key=lambda each: _functions[each].last_use)
    return key, _functions.pop(key)


def _compiled(request: Request, varying: Sequence[int]) -> Function:
    lowering = FunctionLowering(request, varying, Dependencies())
    program = Program.function(lowering.operations, lowering.results, lowering.batch, lowering.arrays)
    changed = tuple(dict.fromkeys(lowering.changed))
    private = tuple(lowering.private)
    return Function(program, lowering.draws, changed, private, lowering.dependencies, varying)


class _FunctionFlattening(Flattening):
    """The leaves of functions: also layers whose gradient is written by hand are recorded.

    Args:
        dependencies: where to note the layers, models and variables before they are read.
    """

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__(inner_graph, True)
        self.dependencies = dependencies

    def _called(
        self, part: Part, inputs: Sequence[Value], mode: CallMode, arguments: CallArguments | None
    ) -> list[Value]:
        self.dependencies.add(part)
        if mode.training is None and isinstance(
            part, Layer
        ):  # as the call has no argument, the default of the layer holds
            default = part._training_default
            mode = mode._replace(training=bool(default), training_of_leaves=default)
        return super()._called(part, inputs, mode, arguments)

    def _mode_within(self, mode: CallMode, own: bool | None) -> CallMode:
        return CallMode(own, own, mode.branch) if mode.training is None else mode

    def _recording_of(
        self, part: Part, samples: Sequence[Any], training: bool | None, arguments: Any, masked: bool
    ) -> Recording | None:
        found = super()._recording_of(part, samples, training, arguments, masked)
        if found is not None or not isinstance(part, Layer):
            return found
        try:
            by_rule: Recording | None = part._recording_with_custom_gradient(samples, training, arguments)
        except Exception as error:
            raise _not_recordable(part) from error
        return by_rule


class FunctionLowering(_FunctionFlattening):
    """The core's operations for a request.

    Args:
        request: what is to be computed.
        varying: the indices of the constants that are arguments, after those of the request.
        dependencies: where to note what is read.

    Attributes:
        operations: the core's operations.
        results: the indices of the operations that compute the results.
        variables: the weights that the program has as variables, as (owner, index).
        arrays: the memory of each variable.
        private: see `Function`.
        changed: see `Function`.
        draws: see `Function`.
        batch: samples in a batch of the program; calls of layers on more samples have a multiple of it.
        masked: whether a mask reaches each result, with one value for each of its rows.
        counts: for each leaf the number of samples of the call that it belongs to; 1 for nodes outside of calls.
    """

    def __init__(self, request: Request, varying: Sequence[int], dependencies: Dependencies) -> None:
        super().__init__(dependencies)
        with dependencies.collecting():
            self._add(request, varying)

    def _add(self, request: Request, varying: Sequence[int]) -> None:
        """Adds the leaves, and lowers them."""
        trace = request.trace
        self.counts, self.sizes = list[int](), list[list[Any]]()
        self.shapes_of_leaves, self.resolved_training = list[Any](), list[bool | None]()
        self._count = 1
        self._training: bool | None = None
        # The leaves that stand for weights, by their numbers: the owner and the index of the weight.
        self._weights_of_leaves: dict[int, tuple[Any, int]] = {}
        self._weight_values: dict[tuple[Any, int], Value] = {}
        # How many constants the nodes so far have; and which argument each constant that varies is, by its index.
        self._constant_count = 0
        self._varying = {index: argument for argument, index in enumerate(varying)}
        self._batch = 0

        self._arguments = [
            self._node("argument", (), tuple(map(Extent, trace.arguments[given].shape)), index=index)
            for index, given in enumerate(request.inputs)
        ]
        first = len(self._arguments)
        self._constants = [
            self._node("argument", (), (), index=first + index) for index in range(len(varying))
        ]
        computed: list[list[Value]] = []

        def value_of(origin: Origin) -> Value:
            if isinstance(origin, Input):
                return self._arguments[origin.number]
            return (
                self._present_weight(origin)
                if isinstance(origin, OfWeight)
                else computed[origin.entry][origin.output]
            )

        for index in request.entries:
            entry = trace.entries[index]
            if isinstance(entry, Node) and entry.kind == "assign_after_batch":
                (weight, _), (new, new_shape) = entry.inputs
                value = self._viewed(value_of(request.renumbered(new)), FullShape(new_shape))
                super()._assign(weight, value, entry, None)
                computed.append([])
                continue
            read = [value_of(request.renumbered(origin)) for origin, _ in entry.inputs]
            if isinstance(entry, Node):
                computed.append([self._recorded_node(entry, read)])
            else:
                computed.append(self._used(entry, read))
        self._lower([value_of(origin) for origin in request.results], request.private)

    # Flattening.

    def _leaf(
        self,
        leaf: Leaf,
        inputs: Sequence[Value],
        shape: Any,
        arguments: CallArguments | None = None,
        training: bool | None = None,
    ) -> Value:
        self.counts.append(self._count)
        self.sizes.append([value.shape for value in inputs])
        self.shapes_of_leaves.append(shape)
        self.resolved_training.append(self._training if training is None else training)
        return super()._leaf(leaf, inputs, shape, arguments, training)

    def _node(self, kind: str, read: Sequence[Value], shape: Any, **fields: Any) -> Value:
        views = tuple((Input(place), full_shape(value.shape)) for place, value in enumerate(read))
        leaf = NodeLeaf(Node(kind, views, shape, fields), [None] * len(read))
        return self._leaf(leaf, read, FullShape(shape))

    def _recorded_node(self, entry: Node, read: Sequence[Value]) -> Value:
        """Adds a node of the trace, in which constants that vary become further inputs."""
        if entry.kind == _MAP:
            first = self._constant_count
            self._constant_count += len(entry.fields["numbers"])
            varying = [index for index in range(first, self._constant_count) if index in self._varying]
            if varying:
                read = [*read, *(self._constants[self._varying[index]] for index in varying)]
                entry = _with_inputs(entry, [index - first for index in varying])
        leaf = NodeLeaf(entry, [None] * len(read))
        return self._leaf(leaf, read, FullShape(entry.shape))

    def _used(self, entry: Use, read: Sequence[Value]) -> list[Value]:
        """Adds a call of a layer or a model."""
        count = entry.inputs[0][1][0].fixed if entry.inputs else 1
        self._batch = math.gcd(self._batch, count)
        inputs = list[Value]()
        for value, (_, shape) in zip(read, entry.inputs, strict=True):
            # A layer reads samples. A variable isn't made of samples, but a copy of it may be.
            view = self._copied if self._is_weight(value) else self._viewed
            viewed = view(value, FullShape(shape))
            inputs.append(Value(viewed.number, tuple(each.fixed for each in shape[1:])))
        self._count, self._training = count, entry.training
        outputs = self._called(entry.part, inputs, CallMode(entry.training, entry.training), entry.arguments)
        found = [
            Value(value.number, FullShape(shape_for_samples(full_shape(value.shape), count)), value.pick)
            for value in map(self.plain, outputs)
        ]
        self._count, self._training = 1, None
        return found

    def _assign(self, weight: Origin, value: Value, node: Node, branch: bool | None) -> None:
        """Assigns a weight. Each call in a function has a mode of its own, so that the branch is known here."""
        if branch is None or branch == bool(self._training):
            super()._assign(weight, value, node, None)

    def _weight(self, origin: OfWeight, shape: Any = None) -> Value:
        """Adds a leaf that stands for a weight, and returns its value.

        `_lower` replaces the leaf when all layers are known: only then is it known whether one of them has the weight as its
        variable.
        """
        del shape
        key = origin.owner, origin.number
        if key not in self._weight_values:
            self.dependencies.add(origin.owner)
            shape = tuple(map(Extent, origin.owner._specs[origin.number].shape))
            value = self._node("variable", (), shape)
            self._weights_of_leaves[value.number] = key
            self._weight_values[key] = value
        return self._weight_values[key]

    def _is_weight(self, value: Value) -> bool:
        return value.number in self._weights_of_leaves

    # Lowering.

    def _lower(self, results: Sequence[Value], private: Sequence[Any]) -> None:
        variables, firsts = self._listed_variables()
        for number, (owner, index) in self._weights_of_leaves.items():
            self.leaves[number] = self._weight_leaf(owner, index, firsts.get(owner))
        for number, leaf in enumerate(self.leaves):
            if isinstance(leaf, NodeLeaf):
                self.leaves[number] = NodeLeaf(_concrete(leaf.node, self.counts[number]), leaf.picks)
        network = Network(self.leaves, Wiring(tuple(self.reads), ()), self.arguments, self.training_of_leaves)
        lowering = Lowering(network, Shapes(self.sizes, self.shapes_of_leaves, []), None, ())
        self.operations: list[Any] = lowering.operations
        self.changed: list[Layer] = []
        self.batch = self._batch or 1
        for number, leaf in enumerate(self.leaves):
            begin = len(self.operations)
            lowering.add(number)
            if not isinstance(leaf, NodeLeaf):
                self._know_samples(begin, self.counts[number])
            if not isinstance(leaf, NodeLeaf) and self.counts[number] != self.batch:
                self._repeat(leaf, begin, self.counts[number] // self.batch)
            mode = self.resolved_training[number]
            trains = leaf._training_default if mode is None else mode
            for index in range(begin, len(self.operations)):
                if "host" in self.operations[index]:
                    raise _not_recordable(leaf)
                training = {"training": True} if trains else {}
                self.operations[index] = {"inputs": [index - 1], **self.operations[index], **training}
            if isinstance(leaf, NodeLeaf) and leaf.node.kind == "assign_after_batch":
                self.changed.append(self._weights_of_leaves[self.reads[number][0]][0])
            if trains and isinstance(leaf, Layer) and not all(weight.trainable for weight in leaf._specs):
                self.changed.append(leaf)
        self.results = [lowering.operation_of(value.number) for value in results]
        self.masked = [lowering.is_masked(value.number, value.shape) for value in results]
        self.draws = any("seed" in operation for operation in self.operations)
        self.variables = variables
        copied = set(private)
        self.arrays: list[WeightArray] = [
            _empty(owner, index) if owner in copied else owner._stored_arrays()[index]
            for owner, index in variables
        ]
        self.private = [
            (*variable, array)
            for variable, array in zip(variables, self.arrays, strict=True)
            if variable[0] in copied
        ]

    def _listed_variables(self) -> tuple[list[tuple[Any, int]], dict[Any, int]]:
        """Returns the variables of the program in order, as (owner, index), and the number of the first one of each owner.

        A weight whose layer is no leaf of the function is a variable by itself: its key is the pair (owner, index).
        """
        computing = {leaf for leaf in self.leaves if leaf._specs}
        firsts, variables = dict[Any, int](), list[tuple[Any, int]]()
        for number, leaf in enumerate(self.leaves):
            weight = self._weights_of_leaves.get(number)
            if weight is not None and weight[0] not in computing:
                firsts.setdefault(weight, len(variables))
                variables.append(weight)
            elif leaf._specs and leaf not in firsts:
                firsts[leaf] = len(variables)
                variables += [(leaf, index) for index in range(len(leaf._specs))]
        return variables, firsts

    def _know_samples(self, begin: int, count: int) -> None:
        """Gives the operations on whole arrays from number `begin` on the shapes that `count` samples have."""
        for index in range(begin, len(self.operations)):
            operation = self.operations[index]
            if "input_shapes" in operation:
                self.operations[index] = _concrete_operation(operation, count)

    def _repeat(self, leaf: Leaf, begin: int, times: int) -> None:
        """Makes the operations from number `begin` on compute `times` as many samples as the batch of the program has."""
        for index in range(begin, len(self.operations)):
            operation = self.operations[index]
            # An operation on whole arrays knows by its shapes how many samples they have.
            if "input_shapes" in operation:
                continue
            if operation["kind"] in _BY_SAMPLE:
                msg = (
                    f"layer {leaf.name!r} is called on {times * self.batch} samples, and other layers on {self.batch}: while a "
                    "gradient tape is open, call layers that work on whole samples on batches of one size"
                )
                raise ValueError(msg)
            self.operations[index] = {**operation, "groups": operation.get("groups", 1) * times}

    def _weight_leaf(self, owner: Any, index: int, first: int | None) -> NodeLeaf:
        """Returns the node that reads a weight: a variable by itself, or one of a layer's, the first of which is `first`."""
        weight = owner._specs[index]
        shape = tuple(map(Extent, weight.shape))
        if first is None:
            constraint = constraint_fields(weight.constraint, weight.shape)
            fields = variable_node(weight.shape, owner._stored_arrays()[index].is_flat, **constraint)
            return NodeLeaf(Node("variable", (), shape, fields), ())
        fields = {"variable": first + index, "shape": as_pairs(shape), "trainable": True}
        return NodeLeaf(Node("weight", (), shape, fields), ())


def _empty(owner: Any, index: int) -> WeightArray:
    """Returns an array like that of a weight."""
    (array,) = new_arrays([np.zeros(owner._specs[index].shape, np.float32)])
    return array


def _not_recordable(leaf: Leaf) -> TypeError:
    return TypeError(
        f"layer {leaf.name!r} has a `call`, a `gradient` written by hand, or a function that only NumPy can compute, so a "
        "gradient tape can't record it: write them with keras.ops"
    )


def _with_inputs(entry: Node, instructions: Sequence[int]) -> Node:
    """Returns a map node in which further inputs take the place of the constants that some instructions make.

    Such an instruction becomes `maximum(input, input)`, which copies the input.

    Args:
        entry: the node.
        instructions: their indices in its code.
    """
    code, count, more = entry.fields, len(entry.inputs), len(instructions)
    operations, operands, numbers = list(code["operations"]), list(code["operands"]), list(code["numbers"])
    # Registers are numbered after the inputs, so that they move up.
    operands = [each + more if each >= count else each for each in operands]
    for added, index in enumerate(instructions, count):
        operations[index] = "maximum"
        operands[3 * index : 3 * index + 3] = [added, added, -1]
        numbers[index] = 0.0
    inputs = (*entry.inputs, *((Input(0), ()) for _ in instructions))
    fields = {**code, "operations": operations, "operands": operands, "numbers": numbers}
    return entry._replace(inputs=inputs, fields=fields)


def concrete_fields(kind: str, fields: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Returns the fields of a node with lengths for `count` samples."""
    fields = dict(fields)
    if "begin" in fields:
        fields["begin"] = _known_pairs(fields["begin"], count)
    if kind == _MAP and "samples" in fields["operations"]:
        names, numbers = list(fields["operations"]), list(fields["numbers"])
        for index, name in enumerate(names):
            if name == "samples":
                names[index], numbers[index] = "constant", float(count)
        fields |= {"operations": names, "numbers": numbers}
    if "nodes" in fields:  # of a gradient rule
        fields["nodes"] = [_concrete_operation(each, count) for each in fields["nodes"]]
    return fields


def _concrete_operation(operation: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Returns an operation on whole arrays with shapes for `count` samples."""
    return {
        **concrete_fields(operation["kind"], operation, count),
        "shape": _known_pairs(operation["shape"], count),
        "input_shapes": [_known_pairs(shape, count) for shape in operation["input_shapes"]],
    }


def _known_pairs(pairs: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    return [[fixed + per_sample * count, 0] for fixed, per_sample in pairs]


def _concrete(node: Node, count: int) -> Node:
    """Returns a node with shapes for `count` samples."""
    fields = concrete_fields(node.kind, node.fields, count)
    inputs = tuple(
        (origin, shape_for_samples(full_shape(sample_shape(shape)), count)) for origin, shape in node.inputs
    )
    return Node(node.kind, inputs, shape_for_samples(node.shape, count), fields)


class _KnownPartCall(NamedTuple):
    """What is known of a call of a layer or a model."""

    shapes: tuple[Extents, ...]
    may_make_mask: bool
    changed: weakref.WeakSet[Any]
    """The owners of weights that it changes. The part may be among them, and must not be kept alive."""
    changed_count: int
    """How many these are."""
    dependencies: Dependencies


# By the part, and then by the shapes of the inputs and the argument `training`.
_part_calls: weakref.WeakKeyDictionary[Any, dict[Any, _KnownPartCall]] = weakref.WeakKeyDictionary()
# The number of calls that are kept for each part.
_MOST_CALLS_OF_PART = 64


def call_of_part(part: Any, inputs: Sequence[TracedArray], training: bool | None, arguments: Any) -> PartCall:
    """Returns what a call of a layer or a model computes and changes. Its weights are created.

    Args:
        part: the layer or model.
        inputs: its inputs.
        training: the argument `training` of the call.
        arguments: the further arguments of the call.
    """
    calls = _part_calls.get(part)
    if calls is None:
        calls = _part_calls.setdefault(part, {})
    key = (*[array.extents for array in inputs], training)
    known = None if arguments is not None else calls.get(key)
    if known is not None and known.dependencies.are_unchanged and len(known.changed) == known.changed_count:
        return PartCall(known.shapes, frozenset(known.changed), known.may_make_mask)
    samples = [array._sample for array in inputs]
    dependencies, was_built = Dependencies(), part._has_weights
    with dependencies.collecting():
        dependencies.add(part)
        shapes = part._output_shapes_for(samples)
        if not part._has_weights:
            part._build_for_inputs(samples)
        batch = inputs[0].extents[0].fixed
        lengths = tuple(shape_for_samples(full_shape(shape), batch) for shape in shapes)
        found = PartCall(
            lengths, _changed_by(part, samples, training, arguments, dependencies), part._may_make_mask
        )
    if arguments is None and was_built:  # or else there may be parts that were not there before
        if len(calls) >= _MOST_CALLS_OF_PART:
            calls.clear()
        changed = weakref.WeakSet(found.changed)
        calls[key] = _KnownPartCall(lengths, found.may_make_mask, changed, len(changed), dependencies)
    return found


def _changed_by(
    part: Any, samples: Sequence[Any], training: bool | None, arguments: Any, dependencies: Dependencies
) -> frozenset[Any]:
    """Returns the owners of the weights that a call of a layer or a model changes.

    Args:
        part: the layer or model.
        samples: the shape of one sample of each input.
        training: the argument `training` of the call.
        arguments: the further arguments of the call.
        dependencies: where to note what is read.
    """
    if all(weight.trainable for layer in part._layers_of_weights for weight in layer._specs):
        return frozenset()
    search = _FunctionFlattening(dependencies)
    inputs = [Value(-1 - number, sample) for number, sample in enumerate(samples)]
    try:
        search._called(part, inputs, CallMode(training, training), arguments)
    except Exception:  # nor can it be computed, which says why
        return frozenset()
    found = set[Any]()
    for leaf, reads, forced in zip(search.leaves, search.reads, search.training_of_leaves, strict=True):
        if isinstance(leaf, Layer):
            own = training if forced is None else forced
            trains = leaf._training_default if own is None else own
            found.update([leaf] if trains and leaf.trainable and leaf._moves_averages and reads else [])
        elif (
            isinstance(leaf, NodeLeaf)
            and leaf.node.kind == "assign_after_batch"
            and leaf.node.fields["when"] != _OTHER_BRANCH[bool(training)]
        ):
            owner = search.leaves[reads[0]]
            found.add(owner.layer if isinstance(owner, WeightsLeaf) else owner)
    return frozenset(found)


# In training, the assignments that only predictions make; and the other way round.
_OTHER_BRANCH = {True: "predictions", False: "training"}

LazyTrace.functions = TraceFunctions(evaluate, masks, call_of_part)
