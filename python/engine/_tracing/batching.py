"""Batching: what a function has recorded for one element is recorded again, for all elements of a batch at once.

A `Region` takes the entries that a function records out of the trace. `Region.replayed` then appends them again, with arrays
of a batch in the place of the function's arguments. What depends on these gets the axis of the batch in front of its own, by
the rule for its kind of node; all else is recorded once, as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from engine._base.random_state import related_seed
from engine._tracing.custom_gradients import FIRST_READ, OUTPUT, UPSTREAM, forget, give_rule, rule_fields
from engine._tracing.errors import CannotRecordError, line_of_user
from engine._tracing.extents import ONE, Extent, Extents
from engine._tracing.lazy import LazyTrace
from engine._tracing.primitives import broadcast_to, join, part
from engine._tracing.trace import Computed, Node, Origin, Trace, TracedArray, Use


class _Value(NamedTuple):
    """An array of the replay."""

    array: TracedArray
    batched: bool
    """Whether the axis of the batch is its first one."""


class _LeftBehind(LazyTrace):
    """The trace of arrays of a region after it has ended. Nothing can be done with them."""

    computes = False

    def __init__(self, what: str) -> None:
        super().__init__()
        self.region = what

    def append(self, entry: Node | Use, dtype: str) -> Computed:
        msg = f"{line_of_user()}: an array of a function that {self.region} maps was used outside of it: let the function return it"
        raise CannotRecordError(msg)


class Region:
    """A part of a trace that is recorded for one element, and then replayed for all. Within its block it is recorded.

    Args:
        trace: the trace. After the block it has no entries of the region, so that their symbols can't be used any more.
        what: what maps the function, for messages, such as "vmap".
    """

    def __init__(self, trace: Trace, what: str) -> None:
        self._trace, self._what = trace, what
        self._entries: list[Node | Use] = []
        self._dtypes: list[str] = []

    def __enter__(self) -> Region:
        trace = self._trace
        self._first, self._losses = len(trace.entries), len(trace.losses)
        if isinstance(trace, LazyTrace):
            self._around = trace.computes, trace.region
            trace.computes, trace.region = False, self._what  # a placeholder has no numbers
            self._waiting = len(trace.waiting)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        trace = self._trace
        self._entries, self._dtypes = trace.entries[self._first :], trace.dtypes[self._first :]
        if isinstance(trace, LazyTrace):
            trace.computes, trace.region = self._around
            for array in (reference() for reference in trace.waiting[self._waiting :]):
                if array is not None:  # as the function has left it somewhere
                    array.trace = _LeftBehind(self._what)
            del trace.waiting[self._waiting :]
        forget(trace, self._first)
        if error is None and len(trace.losses) > self._losses:
            msg = f"{line_of_user()}: {self._what} can't map a function that calls add_loss()"
            raise CannotRecordError(msg)

    def placeholder(self, shape: Extents, dtype: str) -> TracedArray:
        """Returns a symbol that stands for an element of a batch."""
        return self._trace.add("upstream", (), shape, dtype)

    def replayed(
        self, count: Extent, batches: Mapping[Origin, TracedArray], results: Sequence[TracedArray]
    ) -> list[tuple[TracedArray, bool]]:
        """Records the region for all elements of a batch, and returns its results.

        Args:
            count: the number of elements.
            batches: arrays (count, ...) by the origins of the placeholders that stand for their elements.
            results: symbols of the region, or of the trace around it.

        Returns:
            For each result an array and whether it has the axis of the batch in front of its own, since it depends on the
            elements.
        """
        replay = _Replay(self._trace, self._first, self._entries, self._dtypes)
        return replay.results(count, batches, results)


class _Replay:
    """Records the entries of a region again.

    Args:
        trace: where.
        first: the number that the first entry had.
        entries: the entries.
        dtypes: of their results.
    """

    def __init__(
        self, trace: Trace, first: int, entries: Sequence[Node | Use], dtypes: Sequence[str]
    ) -> None:
        self._trace, self._first, self._entries, self._dtypes = trace, first, entries, dtypes

    def results(
        self, count: Extent, batches: Mapping[Origin, TracedArray], results: Sequence[TracedArray]
    ) -> list[tuple[TracedArray, bool]]:
        needed = self._needed([result.origin for result in results])
        batched = self._batched(needed, set(batches))
        if batched is None:
            return self._unrolled(count, batches, needed, results)
        rules = _Rules(self._trace, count)
        values = {origin: _Value(array, True) for origin, array in batches.items()}
        for number in needed:
            origin = Computed(number)
            if origin in values:
                continue
            entry: Any = self._entries[number - self._first]
            if isinstance(entry, Use):
                self._call_again(number, entry, values)
                continue
            inputs = [self._read(values, each) for each, _ in entry.inputs]
            shapes = [shape for _, shape in entry.inputs]
            value = rules.node(entry.kind, inputs, shapes, entry.shape, self._dtype(number), entry.fields)
            if origin in batched and not value.batched:
                value = rules.spread(value, entry.shape)
            values[origin] = value
        found = list[tuple[TracedArray, bool]]()
        for result in results:
            array, is_batched = self._read(values, result.origin)
            shape = (count, *result.extents) if is_batched else result.extents
            found.append((array.reshaped(shape).as_dtype(result.dtype), is_batched))
        return found

    def _dtype(self, number: int) -> str:
        return self._dtypes[number - self._first]

    def _is_within(self, origin: Origin) -> bool:
        return isinstance(origin, Computed) and origin.entry >= self._first

    def _read(self, values: Mapping[Origin, _Value], origin: Origin) -> _Value:
        """Returns what an origin has become; one from before the region stays what it is."""
        return (
            values[origin]
            if self._is_within(origin)
            else _Value(self._trace.symbol(self._trace, origin, (), "float32"), False)
        )

    def _needed(self, origins: Sequence[Origin]) -> list[int]:
        """Returns the numbers of the entries that compute origins."""
        found, waiting = set[int](), list(origins)
        while waiting:
            origin = waiting.pop()
            if isinstance(origin, Computed) and origin.entry >= self._first and origin.entry not in found:
                found.add(origin.entry)
                waiting += [each for each, _ in self._entries[origin.entry - self._first].inputs]
        return sorted(found)

    def _batched(self, needed: Sequence[int], placeholders: set[Origin]) -> set[Origin] | None:
        """Returns the origins that get the axis of the batch; None if the region can't be batched, but unrolled.

        They are those that depend on placeholders, and what the batch is differentiated by: the derivative of the sum over
        a batch by an array that each element has a copy of is that of each element.
        """
        batched = set(placeholders)
        while True:
            before = len(batched)
            for number in needed:
                entry, origin = self._entries[number - self._first], Computed(number)
                reads = any(each in batched for each, _ in entry.inputs)
                if isinstance(entry, Use):
                    if reads:
                        return None
                    continue
                if not reads and not ("seed" in entry.fields and entry.kind == "random"):
                    continue
                if entry.kind not in _BATCHED_KINDS:
                    return None
                batched.add(origin)
                if entry.kind == "gradients":
                    sources = [each for each, _ in entry.inputs[1:]]
                    if not all(map(self._is_within, sources)):
                        return None
                    batched.update(sources)
            if len(batched) == before:
                return batched

    def _call_again(self, number: int, use: Use, values: dict[Origin, _Value]) -> None:
        """Records the call of a layer or a model again."""
        views = []
        for origin, shape in use.inputs:
            views.append(self._read(values, origin).array.reshaped(shape).view)
        outputs = self._trace.append_call(use._replace(inputs=tuple(views)))
        values.update({Computed(number, place): _Value(array, False) for place, array in enumerate(outputs)})

    def _unrolled(
        self,
        count: Extent,
        batches: Mapping[Origin, TracedArray],
        needed: Sequence[int],
        results: Sequence[TracedArray],
    ) -> list[tuple[TracedArray, bool]]:
        """Records the region once for each element, and joins the results."""
        if count.static is None:
            msg = (
                f"{line_of_user()}: a function that calls layers, or that differentiates by weights, is mapped over a known "
                "number of elements only"
            )
            raise CannotRecordError(msg)
        rounds = list[list[TracedArray]]()
        for index in range(count.fixed):
            values = dict[Origin, _Value]()
            for origin, array in batches.items():
                element = part(array, 0, Extent(index), ONE).reshaped(array.extents[1:])
                values[origin] = _Value(element, False)
            for number in needed:
                if Computed(number) in values:
                    continue
                entry: Any = self._entries[number - self._first]
                if isinstance(entry, Use):
                    self._call_again(number, entry, values)
                    continue
                reads = [self._read(values, origin).array.reshaped(shape) for origin, shape in entry.inputs]
                fields = dict(entry.fields)
                if "seed" in fields:
                    fields["seed"] = related_seed(fields["seed"], index)
                array = self._trace.add(entry.kind, reads, entry.shape, self._dtype(number), **fields)
                values[Computed(number)] = _Value(array, False)
            rounds.append(
                [self._read(values, each.origin).array.reshaped((ONE, *each.extents)) for each in results]
            )
        return [
            (join([each.as_dtype(result.dtype) for each in column], 0), True)
            for column, result in zip(zip(*rounds, strict=True), results, strict=True)
        ]


class _Rules:
    """How each kind of node gets the axis of a batch, in front of those that it has.

    Args:
        trace: where nodes are recorded.
        count: the number of elements of the batch.
    """

    def __init__(self, trace: Trace, count: Extent) -> None:
        self._trace, self._count = trace, count

    def node(  # noqa: PLR0917 # what a node consists of
        self,
        kind: str,
        inputs: Sequence[_Value],
        shapes: Sequence[Extents],
        shape: Extents,
        dtype: str,
        fields: Mapping[str, Any],
    ) -> _Value:
        """Records a node, for all elements of the batch if one of its inputs differs between these.

        Args:
            kind: of the node.
            inputs: its inputs.
            shapes: the shapes under which it reads them for one element.
            shape: of its output for one element.
            dtype: of its output.
            fields: its fields for one element.
        """
        draws = kind == "random" and "seed" in fields
        if not draws and not any(each.batched for each in inputs):
            reads = [each.array.reshaped(own) for each, own in zip(inputs, shapes, strict=True)]
            return _Value(self._trace.add(kind, reads, shape, dtype, **fields), False)
        rule: Callable[..., TracedArray] | None = getattr(self, f"_{kind}", None)
        if rule is not None:
            return _Value(rule(inputs, shapes, shape, dtype, fields), True)
        reads = [self.spread(each, own).array for each, own in zip(inputs, shapes, strict=True)]
        changed = _with_axis_in_front(kind, fields)
        return _Value(self._trace.add(kind, reads, (self._count, *shape), dtype, **changed), True)

    def spread(self, value: _Value, shape: Extents) -> _Value:
        """Returns an array (count, ...), a copy for each element if it is the same for all."""
        if value.batched:
            return _Value(self._viewed(value, shape), True)
        one = value.array.reshaped((ONE, *shape))
        return _Value(broadcast_to(one, (self._count, *shape)), True)

    def _viewed(self, value: _Value, shape: Extents) -> TracedArray:
        return value.array.reshaped((self._count, *shape) if value.batched else shape)

    def _map(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        reads = [
            self._viewed(each, ((ONE,) * (len(shape) - len(own)) if each.batched else ()) + own)
            for each, own in zip(inputs, shapes, strict=True)
        ]
        changed = _with_axis_in_front("map", fields)
        return self._trace.add("map", reads, (self._count, *shape), dtype, **changed)

    def _gather(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        (x, indices), (x_shape, places) = inputs, shapes
        axes = fields["batch_axes"]
        if not x.batched and axes == 0:
            reads = x.array.reshaped(x_shape), self._viewed(indices, places)
        else:
            reads, axes = (self.spread(x, x_shape).array, self.spread(indices, places).array), axes + 1
        return self._trace.add("gather", reads, (self._count, *shape), dtype, batch_axes=axes)

    def _scatter(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        rows, indices = (self.spread(each, own).array for each, own in zip(inputs, shapes, strict=True))
        changed = dict(fields) | {"batch_axes": fields["batch_axes"] + 1}
        return self._trace.add("scatter", (rows, indices), (self._count, *shape), dtype, **changed)

    def _contraction(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        import string

        (a, b), letters = inputs, [fields[name] for name in ("a_letters", "b_letters", "y_letters")]
        new = next(letter for letter in string.ascii_letters if letter not in "".join(letters))
        a_letters, b_letters, y_letters = (
            new + own if batched else own
            for own, batched in zip(letters, (a.batched, b.batched, True), strict=True)
        )
        reads = [self._viewed(each, own) for each, own in zip(inputs, shapes, strict=True)]
        return self._trace.add(
            "contraction", reads, (self._count, *shape), dtype,
            a_letters=a_letters, b_letters=b_letters, y_letters=y_letters,
        )  # fmt: skip

    def _gradients(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        reads = [self._viewed(each, own) for each, own in zip(inputs, shapes, strict=True)]
        return self._trace.add("gradients", reads, shape, dtype, **fields)

    def _gradient(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        del shapes
        return self._trace.add("gradient", [inputs[0].array], (self._count, *shape), dtype, **fields)

    def _host(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        reads = [self.spread(each, own).array for each, own in zip(inputs, shapes, strict=True)]
        arguments = reads[: fields["arguments"]]
        own_fields = {name: value for name, value in fields.items() if name not in ("nodes", "by", "results")}
        y = self._trace.add("host", arguments, (self._count, *shape), dtype, **{**own_fields, "by_row": True})
        if "nodes" in fields:

            def rule(upstream: TracedArray) -> list[TracedArray | None]:
                found = dict(self._gradients_by_rule(fields, shapes, reads, upstream, y))
                return [found.get(index) for index in range(len(arguments))]

            give_rule(y, arguments, rule)
        return y

    def _custom_gradient(
        self, inputs: Any, shapes: Any, shape: Extents, dtype: str, fields: Mapping[str, Any]
    ) -> TracedArray:
        y, *reads = (self.spread(each, own).array for each, own in zip(inputs, shapes, strict=True))
        trace, first = self._trace, len(self._trace.entries)
        upstream = trace.add("upstream", (), y.extents, dtype)
        found = self._gradients_by_rule(fields, shapes[1:], reads, upstream, None)
        gradients = [(reads[index], gradient) for index, gradient in found]
        entries = trace.entries[first:]
        forget(trace, first)
        read, changed = rule_fields(trace, first, entries, gradients, None, reads)
        return trace.add("custom_gradient", (y, *read), (self._count, *shape), dtype, **changed)

    def _gradients_by_rule(  # what a rule reads
        self,
        fields: Mapping[str, Any],
        shapes: Sequence[Extents],
        reads: Sequence[TracedArray],
        upstream: TracedArray,
        output: TracedArray | None,
    ) -> Iterator[tuple[int, TracedArray]]:
        """Yields for each gradient of a rule the number of the array that it is by, and the gradient for the batch.

        Args:
            fields: the rule.
            shapes: of the arrays that it reads, for one element.
            reads: these arrays, for the batch.
            upstream: the gradient by the output, for the batch.
            output: the output, for the batch.
        """
        values = list[_Value]()

        def value_of(number: int) -> _Value:
            if number in (UPSTREAM, OUTPUT):
                array: Any = upstream if number == UPSTREAM else output
                return _Value(array, True)
            return values[number] if number >= 0 else _Value(reads[FIRST_READ - number], True)

        for node in fields["nodes"]:
            own = {
                name: value
                for name, value in node.items()
                if name not in ("kind", "inputs", "input_shapes", "shape")
            }
            values.append(
                self.node(
                    node["kind"],
                    [value_of(number) for number in node["inputs"]],
                    [tuple(Extent(*pair) for pair in pairs) for pairs in node["input_shapes"]],
                    tuple(Extent(*pair) for pair in node["shape"]),
                    "float32",
                    own,
                )
            )
        for by, result in zip(fields["by"], fields["results"], strict=True):
            yield by, self.spread(value_of(result), shapes[by]).array


def _with_axis_in_front(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a node whose arrays get another axis in front of the others."""
    changed = dict(fields)
    if kind == "map":
        changed["numbers"] = [
            number + 1.0 if operation == "coordinate" else number
            for operation, number in zip(fields["operations"], fields["numbers"], strict=True)
        ]
    elif kind == "reduce":
        changed["axes"] = [axis + 1 for axis in fields["axes"]]
    elif kind == "transpose":
        changed["axes"] = [0, *(axis + 1 for axis in fields["axes"])]
    elif kind == "slice":
        changed |= {"begin": [[0, 0], *fields["begin"]], "step": [1, *fields["step"]]}
    elif kind in ("join", "cumulative_sum"):
        changed["axis"] = fields["axis"] + 1
    return changed


# The kinds of nodes that have a rule. Those that are not listed here read layers or change weights.
_BATCHED_KINDS = frozenset((
    "map", "random", "reduce", "cumulative_sum", "reshape", "transpose", "slice", "join", "gather", "scatter", "contraction",
    "stop_gradient", "choose", "gradients", "gradient", "host", "custom_gradient",
))  # fmt: skip
