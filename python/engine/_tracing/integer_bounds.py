"""How large the integers of a recorded step may become, so that none of them is rounded in silence.

The core computes in float32, which holds every integer up to 2**24. A sum or a product of integers is exact as long as it
stays within that. What a step computes is known, and the least and the largest integers of its arguments are found in each
call, so that bounds for all others follow by interval arithmetic.

Bounds that grow without need, as in loops, or that nothing is known of, as of floats that become integers, are replaced by
measured ones: the step computes the magnitude of these integers as a further result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._data.exact_integers import LARGEST
from engine._tracing.primitives import elementwise, reduce
from engine._tracing.trace import Computed, Input, Node, Origin, Use

INFINITY = math.inf
# The powers of integers up to this one are those of the core, rounded to an integer.
_LARGEST_POWER = 2.0**23
# Magnitudes of arguments, and whether arrays may be measured, in the order in which they are tried: to measure takes longer
# than to compute such an array.
_TRIED = (*((2**bits, measures) for measures in (False, True) for bits in (12, 8, 4)), (1, False), (1, True))


# Kinds of nodes, and of reductions, whose results may be larger than what they read.
_GROWING = frozenset(("map", "sum", "prod", "cumulative_sum", "contraction", "scatter", "host"))
_Ranges = Mapping[int, tuple[int, int]]
"""The least and the largest integer of arguments, by their numbers."""


def is_of_integers(dtype: str) -> bool:
    """Returns whether a dtype is one of integers."""
    return dtype.startswith(("int", "uint"))


def may_round_integers(entry: Node | Use, dtype: str) -> bool:
    """Returns whether an entry of a trace computes integers that may be larger than those that it reads."""
    if not is_of_integers(dtype) or not isinstance(entry, Node):
        return False
    kind: str = entry.fields.get("reduction", entry.kind)
    return kind in _GROWING


class IntegersRoundedError(Exception):
    """Raised where a step might round integers."""


class Numbers(NamedTuple):
    """What is known of the numbers of an array."""

    low: float
    high: float
    whole: bool = True
    """Whether they are known to be integers. All others are floats, which are rounded as usual."""
    exact: bool = True
    """Whether float32 has them as they are."""

    @property
    def magnitude(self) -> float:
        return max(-self.low, self.high)

    @property
    def fits(self) -> bool:
        """Whether all integers of this magnitude and below are exact."""
        return self.low >= -LARGEST and self.high <= LARGEST

    @property
    def is_zero(self) -> bool:
        return self.low == 0.0 == self.high


FLOATS = Numbers(-INFINITY, INFINITY, whole=False)
_TRUTH = Numbers(0.0, 1.0)


def integers_between(low: float, high: float) -> Numbers:
    """Returns what is known of given integers, which float32 may round."""
    return Numbers(low, high, exact=low >= -LARGEST and high <= LARGEST)


def _constant(number: float) -> Numbers:
    if math.isnan(number):
        return FLOATS
    whole = math.isinf(number) or number == math.floor(number)
    return Numbers(number, number, whole, not whole or float(np.float32(number)) == number)


class _MayRoundError(Exception):
    """Raised by the arithmetic of bounds where a result may be rounded, or wrapped around the ends of its dtype by NumPy.

    Args:
        what: the result.
        magnitude: its largest.
    """

    def __init__(self, what: str, magnitude: float) -> None:
        size = f"as large as {magnitude:,.0f}" if magnitude < _MOST_TOLD else "of any size"
        super().__init__(f"a {what} of integers may be {size}")
        # The arrays that the node reads, and what is known of arrays.
        self.inputs: list[_Key] = []
        self.known: Mapping[_Key, Numbers] = {}


class _Arithmetic:
    """The bounds of the results of instructions.

    Args:
        of_integers: whether the results are integers of the user, which must not be rounded.
    """

    def __init__(self, of_integers: bool) -> None:
        self._of_integers = of_integers

    def result(self, what: str, low: float, high: float, *operands: Numbers) -> Numbers:
        """Returns what is known of a result of arithmetic."""
        if math.isnan(low) or math.isnan(high):
            low, high = -INFINITY, INFINITY
        if not all(each.whole for each in operands):
            return Numbers(low, high, whole=False)
        found = Numbers(low, high)
        if found.fits and all(each.exact for each in operands):
            return found
        if self._of_integers:
            raise _MayRoundError(what, max(each.magnitude for each in (found, *operands)))
        return found._replace(whole=False)

    def add(self, a: Numbers, b: Numbers) -> Numbers:
        if a.is_zero or b.is_zero:
            return b if a.is_zero else a
        return self.result("sum", a.low + b.low, a.high + b.high, a, b)

    def subtract(self, a: Numbers, b: Numbers) -> Numbers:
        if b.is_zero:
            return a
        return self.result("difference", a.low - b.high, a.high - b.low, a, b)

    def multiply(self, a: Numbers, b: Numbers) -> Numbers:
        for one, other in ((a, b), (b, a)):
            if one.whole and one.magnitude <= 1.0:  # the product is the other number, its opposite or 0
                low, high = _products(one, other)
                return Numbers(low, high, other.whole, other.exact or one.is_zero)
        return self.result("product", *_products(a, b), a, b)

    def divide(self, a: Numbers, b: Numbers) -> Numbers:
        if not (a.whole and b.whole):
            return FLOATS
        if not (a.exact and b.exact):
            return self.result("quotient", -INFINITY, INFINITY, a, b)
        least = 1.0 if b.low <= 0.0 <= b.high else min(abs(b.low), abs(b.high))  # of an integer that isn't 0
        most = a.magnitude / max(least, 1.0)
        return Numbers(0.0 if a.low >= 0.0 and b.low >= 0.0 else -most, most, whole=False)

    def remainder(self, a: Numbers, b: Numbers) -> Numbers:
        whole = a.whole and b.whole
        if whole and not (a.exact and b.exact) and self._of_integers:
            raise _MayRoundError("remainder", max(a.magnitude, b.magnitude))
        low, high = min(b.low + whole, 0.0), max(b.high - whole, 0.0)
        if a.low >= 0.0 and b.low >= 0.0:
            high = min(high, a.high)
        return Numbers(low, high, whole)

    def bitwise_and(self, a: Numbers, b: Numbers) -> Numbers:
        if not (a.exact and b.exact and a.fits and b.fits):
            raise _MayRoundError("function of bits", max(a.magnitude, b.magnitude))
        highs = [each.high for each in (a, b) if each.low >= 0.0]
        return Numbers(0.0, min(highs)) if highs else _of_bits(a, b)

    def power(self, a: Numbers, b: Numbers) -> Numbers:
        if not (a.whole and b.whole and a.exact and b.exact and b.low >= 0.0):
            return FLOATS
        if a.magnitude <= 1.0:
            return Numbers(min(a.low, 0.0), 1.0)
        if b.high * math.log2(a.magnitude) > math.log2(_LARGEST_POWER) and not a.low == 2.0 == a.high:  # noqa: PLR2004
            if self._of_integers:
                raise _MayRoundError("power", min(a.magnitude, 2.0**31) ** min(b.high, 32.0))
            return FLOATS
        most = a.magnitude ** min(b.high, 1000.0)
        return Numbers(-most if a.low < 0.0 else min(a.low, 1.0), most)

    def round(self, a: Numbers) -> Numbers:
        low, high = (each if math.isinf(each) else float(round(each)) for each in (a.low, a.high))
        return Numbers(low, high, exact=a.exact)

    def floor(self, a: Numbers) -> Numbers:
        low, high = (each if math.isinf(each) else float(math.floor(each)) for each in (a.low, a.high))
        return Numbers(low, high, exact=a.exact)

    def sign(self, a: Numbers) -> Numbers:
        return Numbers(0.0 if a.low >= 0.0 else -1.0, 0.0 if a.high <= 0.0 else 1.0)

    def abs(self, a: Numbers) -> Numbers:
        return Numbers(max(a.low, -a.high, 0.0), a.magnitude, a.whole, a.exact)

    def negate(self, a: Numbers) -> Numbers:
        return Numbers(-a.high, -a.low, a.whole, a.exact)

    def minimum(self, a: Numbers, b: Numbers) -> Numbers:
        return _either(a, b)._replace(high=min(a.high, b.high))

    def maximum(self, a: Numbers, b: Numbers) -> Numbers:
        return _either(a, b)._replace(low=max(a.low, b.low))

    def select(self, condition: Numbers, a: Numbers, b: Numbers) -> Numbers:
        if condition.is_zero:
            return b
        return a if condition.low > 0.0 else _either(a, b)

    def equal(self, a: Numbers, b: Numbers) -> Numbers:
        _require_comparable(a, b)
        if a.whole and b.whole and (a.high < b.low or b.high < a.low):
            return Numbers(0.0, 0.0)
        return Numbers(1.0, 1.0) if a.low == a.high == b.low == b.high else _TRUTH

    def less(self, a: Numbers, b: Numbers) -> Numbers:
        _require_comparable(a, b)
        if not (a.whole and b.whole):
            return _TRUTH
        return Numbers(1.0, 1.0) if a.high < b.low else Numbers(0.0, 0.0) if a.low >= b.high else _TRUTH

    def less_equal(self, a: Numbers, b: Numbers) -> Numbers:
        _require_comparable(a, b)
        if not (a.whole and b.whole):
            return _TRUTH
        return Numbers(1.0, 1.0) if a.high <= b.low else Numbers(0.0, 0.0) if a.low > b.high else _TRUTH


def _of_bits(a: Numbers, b: Numbers) -> Numbers:
    """Returns what is known of integers whose bits are some of those of two others."""
    most = 2.0 ** max(max(-1 - int(each.low), int(each.high)).bit_length() for each in (a, b))
    return Numbers(0.0 if a.low >= 0.0 and b.low >= 0.0 else -most, most - 1.0)


def _products(a: Numbers, b: Numbers) -> tuple[float, float]:
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    ends = [0.0 if math.isnan(each) else each for each in ends]  # 0 times infinity
    return min(ends), max(ends)


def _either(a: Numbers, b: Numbers) -> Numbers:
    """Returns what is known of numbers each of which is one of `a` or of `b`."""
    return Numbers(min(a.low, b.low), max(a.high, b.high), a.whole and b.whole, a.exact and b.exact)


def _require_comparable(a: Numbers, b: Numbers) -> None:
    """Raises _MayRoundError if integers are compared that rounding may have made equal.

    A number that is rounded stays on its side of those that all integers beside them are exact with.
    """
    if (a.exact and b.exact) or not (a.whole and b.whole):
        return
    for one, other in ((a, b), (b, a)):
        is_infinity = math.isinf(one.low) and one.low == one.high
        if is_infinity or (one.exact and one.magnitude < LARGEST and not other.exact):
            return
    raise _MayRoundError("comparison", max(a.magnitude, b.magnitude))


_OPERANDS = 3
# Instructions whose bounds are known; the results of others are floats.
_KNOWN = frozenset(name for name in vars(_Arithmetic) if not name.startswith("_")) - {"result"}


def _of_code(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    """Returns what is known of the results of a formula."""
    arithmetic, registers = _Arithmetic(step.of_integers), list(inputs)
    fields = step.fields
    bits = dict[int, tuple[int, ...]]()  # registers with bits of two others
    for place, operation in enumerate(fields["operations"]):
        operands = tuple([each for each in fields["operands"][place * _OPERANDS :][:_OPERANDS] if each >= 0])
        number = fields["numbers"][place]
        if operation == "constant":
            registers.append(_constant(float(number)))
        elif operation == "coordinate":
            registers.append(integers_between(0.0, max(step.shape[int(number)] - 1.0, 0.0)))
        elif operation == "equal" and operands[0] == operands[1]:  # as for NaN
            registers.append(_TRUTH)
        elif operation == "bitwise_and" or _joins_bits(operation, operands, bits):
            # a | b is a + (b - (a & b)), and a ^ b is (a - (a & b)) + (b - (a & b)).
            common = bits.get(operands[1], operands)
            bits[len(registers)] = common
            found = arithmetic.bitwise_and(*(registers[each] for each in common))
            if operation != "bitwise_and":
                joined = _of_bits(*(registers[each] for each in common))
                found = arithmetic.result("function of bits", joined.low, joined.high)
            registers.append(found)
        elif operation in _KNOWN:
            registers.append(getattr(arithmetic, operation)(*(registers[each] for each in operands)))
        else:
            registers.append(FLOATS)
    return registers[-1]


def _joins_bits(operation: str, operands: Sequence[int], bits: Mapping[int, tuple[int, ...]]) -> bool:
    """Whether an instruction takes or joins bits of two numbers, of which another one has found bits."""
    if operation not in ("add", "subtract") or operands[1] not in bits:
        return False
    return operands[0] in bits[operands[1]] or bits.get(operands[0]) == bits[operands[1]]


def _of_reduction(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    (x,), kind = inputs, step.fields["reduction"]
    count = math.prod(step.input_shapes[0][axis] for axis in step.fields["axes"])
    if kind in ("argmax", "argmin"):
        _require_comparable(x, x)
        return integers_between(0.0, max(count - 1.0, 0.0))
    if kind in ("max", "min"):
        return x if count else Numbers(-INFINITY, INFINITY)
    if kind == "sum":
        return _total(step, x, count)
    most = 1.0 if x.magnitude <= 1.0 or not count else _power(x.magnitude, count)
    low = 1.0 if x.low >= 1.0 else 0.0 if x.low >= 0.0 else -most
    return _Arithmetic(step.of_integers).result("product", low, most, x)


def _power(base: float, exponent: int) -> float:
    return base**exponent if exponent * math.log2(base) < 1000.0 else INFINITY  # noqa: PLR2004 # the largest of float64


def _total(step: _Step, x: Numbers, count: int) -> Numbers:
    """The sums of so many numbers, and of some of these."""
    low, high = min(x.low * count, 0.0) if count else 0.0, max(x.high * count, 0.0) if count else 0.0
    return _Arithmetic(step.of_integers).result("sum", low, high, x)


def _of_contraction(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    a, b = inputs
    shapes = (
        zip(step.fields[name], shape, strict=True)
        for name, shape in zip(("a_letters", "b_letters"), step.input_shapes, strict=True)
    )
    lengths = dict(pair for pairs in shapes for pair in pairs)
    count = math.prod(n for letter, n in lengths.items() if letter not in step.fields["y_letters"])
    product = Numbers(*_products(a, b), a.whole and b.whole, a.exact and b.exact)
    return _total(step, product, count)


def _of_sort(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    if not step.fields["gives_places"]:
        return inputs[0]
    _require_comparable(inputs[0], inputs[0])
    return integers_between(0.0, max(step.shape[-1] - 1.0, 0.0))


def _of_scatter(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    rows, _ = inputs
    if step.fields["reduction"] == "sum":
        return _total(step, rows, math.prod(step.input_shapes[1]))
    initial = step.fields["initial"]
    return _either(rows, Numbers(initial, initial))


def _of_join(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    del step
    result = inputs[0]
    for each in inputs[1:]:
        result = _either(result, each)
    return result


def _of_host(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    name = step.fields["function"]
    if name not in ("gcd", "lcm"):
        return FLOATS
    a, b = inputs
    most = max(a.magnitude, b.magnitude) if name == "gcd" else a.magnitude * b.magnitude
    return _Arithmetic(of_integers=True).result("divisor" if name == "gcd" else "multiple", 0.0, most, a, b)


def _unchanged(step: _Step, inputs: Sequence[Numbers]) -> Numbers:
    del step
    return inputs[0]


_RULES: dict[str, Callable[[_Step, Sequence[Numbers]], Numbers]] = {
    "map": _of_code,
    "reduce": _of_reduction,
    "cumulative_sum": lambda step, inputs: _total(step, inputs[0], step.shape[step.fields["axis"]]),
    "contraction": _of_contraction,
    "sort": _of_sort,
    "join": _of_join,
    "scatter": _of_scatter,
    "random": lambda step, inputs: (
        Numbers(-INFINITY, INFINITY, whole=False)
        if step.fields["distribution"] != "uniform"
        else Numbers(step.fields["low"], step.fields["high"], whole=False)
    ),
    "host": _of_host,
    **dict.fromkeys(("reshape", "transpose", "slice", "gather", "stop_gradient"), _unchanged),
}
# Arrays that a step measures at most.
_MOST_MEASURED = 32
_MOST_VERDICTS = 256
# Larger magnitudes are those of numbers that may have any.
_MOST_TOLD = 1e30

_Key = tuple[int, int]
"""Names an array: (segment, entry), or (segment, -1 - input); nothing is known of weights."""


class _Step(NamedTuple):
    """A node of a segment."""

    key: _Key
    kind: str
    inputs: tuple[_Key, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    fields: Mapping[str, Any]
    dtype: str

    @property
    def has_integers(self) -> bool:
        return is_of_integers(self.dtype)

    @property
    def of_integers(self) -> bool:
        """Whether the results are integers of the user, or bools."""
        return self.has_integers or self.dtype == "bool"


def _key(segment: int, origin: Origin) -> _Key:
    if isinstance(origin, Computed):
        return segment, origin.entry
    return segment, -1 - origin.number if isinstance(origin, Input) else -(2**62)


class IntegerBounds:
    """Bounds for the integers of a step, which is recorded in segments.

    Args:
        traces: the segments. Their `sources` say where inputs come from that differ from call to call.
        needed: for each segment the origins of what it must return.
        results: pairs of a segment and an origin: the integers that the step returns.

    Attributes:
        limits: by the number of an argument the least and the largest integer with which nothing is rounded, if all arguments
            keep to theirs. Arguments that may hold any integers have none.
        measured: arrays of the segments, whose magnitude must be measured in each call.
        most: the largest such magnitude with which nothing is rounded.

    Raises:
        IntegersRoundedError: if integers may be rounded however small those of the arguments are.
    """

    def __init__(
        self, traces: Sequence[Any], needed: Sequence[Iterable[Origin]], results: Iterable[tuple[int, Origin]]
    ) -> None:
        self._results = [_key(*each) for each in results]
        self._known = dict[_Key, Numbers]()  # of inputs that are the same in each call
        self._arguments = dict[_Key, int]()  # the numbers of arguments by the keys of inputs
        self._of_dtype = dict[int, tuple[int, int]]()  # the least and the largest integer of arguments
        self._measured: list[_Key] = []  # arrays whose magnitude is measured
        self._steps: list[_Step] = []
        self._verdicts = dict[Any, bool]()  # by ranges and magnitudes between powers of 2
        self.limits: dict[int, tuple[int, int]] = {}
        self.measured: list[Any] = []
        self.most = 0.0
        self._prepare(traces, needed)
        if self._of_dtype or any(each.has_integers for each in self._steps):
            self._choose_limits()
        for segment, entry in self._measured:
            trace = traces[segment]
            self.measured.append(trace.symbol(trace, Computed(entry), trace.entries[entry].shape, "int32"))

    def _prepare(self, traces: Sequence[Any], needed: Sequence[Iterable[Origin]]) -> None:
        """Lists the nodes that are needed, in their order."""
        number_of = {id(trace): number for number, trace in enumerate(traces)}
        wanted = [list(origins) for origins in needed]
        earlier = dict[_Key, _Key]()  # inputs that are arrays of earlier segments
        by_segment = list[list[int]]()
        for segment in range(len(traces) - 1, -1, -1):
            trace = traces[segment]
            entries = {entry for entry, _ in trace.changes}
            entries.update(each.entry for each in wanted[segment] if isinstance(each, Computed))
            inputs = {each.number for each in wanted[segment] if isinstance(each, Input)}
            for entry in range(max(entries, default=-1), -1, -1):
                for origin, _ in trace.entries[entry].inputs if entry in entries else ():
                    if isinstance(origin, Computed):
                        entries.add(origin.entry)
                    elif isinstance(origin, Input):
                        inputs.add(origin.number)
            by_segment.append(sorted(entries))
            for number in inputs:
                key, source, array = (segment, -1 - number), trace.sources.get(number), trace.inputs[number]
                if source is None:
                    self._known[key] = _of_array(array)
                elif isinstance(source, int):
                    self._note_argument(key, source, array.dtype)
                else:
                    origin_segment = number_of[id(source.trace)]
                    wanted[origin_segment].append(source.origin)
                    earlier[key] = _key(origin_segment, source.origin)
        for segment, entries_of_segment in enumerate(reversed(by_segment)):
            trace = traces[segment]
            for entry in entries_of_segment:
                node = trace.entries[entry]
                if isinstance(node, Node):
                    keys = [_key(segment, origin) for origin, _ in node.inputs]
                    self._steps.append(
                        _Step(
                            (segment, entry),
                            node.kind,
                            tuple([earlier.get(key, key) for key in keys]),
                            tuple([_lengths(shape) for _, shape in node.inputs]),
                            _lengths(node.shape),
                            node.fields,
                            str(trace.dtypes[entry]),
                        )
                    )

    def _note_argument(self, key: _Key, number: int, dtype: str) -> None:
        if is_of_integers(dtype):
            limits = np.iinfo(dtype)
            self._arguments[key] = number
            self._of_dtype[number] = int(limits.min), int(limits.max)
        else:
            self._known[key] = _TRUTH if dtype == "bool" else FLOATS

    def _choose_limits(self) -> None:
        """Finds limits, and what must be measured to know that nothing is rounded within them."""
        if self._passes(self._of_dtype, None):
            return
        for tried, may_measure in _TRIED:
            if self._passes_within(tried, may_measure):
                self._widen(tried)
                return
        raise IntegersRoundedError(_beyond(self._failure(self._within(1), 1.0)))

    def _passes_within(self, most: int, may_measure: bool) -> bool:
        """Whether nothing is rounded if no argument and no measured integer is larger; chooses what is measured."""
        self._measured = []
        failure = self._failure(self._within(most), float(most))
        while failure is not None and may_measure and len(self._measured) < _MOST_MEASURED:
            known = failure.known
            large = [
                key
                for key in failure.inputs
                if key[1] >= 0 and known[key].whole and known[key].magnitude > most
            ]
            new = [key for key in large if key not in self._measured]
            if not new:
                break
            self._measured += new
            failure = self._failure(self._within(most), float(most))
        return failure is None

    def _widen(self, passing: int) -> None:
        """Sets the largest limits, the same for all arguments that need one, given some that pass."""
        # Exponents. Larger integers pass only where all do.
        low, high = passing.bit_length() - 1, LARGEST.bit_length()
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if self._passes(self._within(2**middle), 2.0**middle) else (low, middle)
            )
        limits, self.most = self._within(2**low), min(2.0**low, LARGEST - 1.0)
        for number, full in self._of_dtype.items():
            without = {**limits, number: full}
            if self._passes(without, self.most):
                limits = without
        self.limits = {number: each for number, each in limits.items() if each != self._of_dtype[number]}

    def _within(self, most: int) -> dict[int, tuple[int, int]]:
        return {number: (max(low, -most), min(high, most)) for number, (low, high) in self._of_dtype.items()}

    def _passes(self, ranges: _Ranges, magnitudes: Sequence[float] | float | None) -> bool:
        return self._failure(ranges, magnitudes) is None

    def _failure(self, ranges: _Ranges, magnitudes: Sequence[float] | float | None) -> _MayRoundError | None:
        """Returns what says where an integer may be rounded; None if none is. The arguments are those of `_evaluated`."""
        try:
            self._evaluated(ranges, magnitudes)
        except _MayRoundError as error:
            return error
        return None

    def _evaluated(self, ranges: _Ranges, magnitudes: Sequence[float] | float | None) -> None:
        """Goes through the nodes.

        Args:
            ranges: the least and the largest integer of arguments.
            magnitudes: of what is measured, or one for all.

        Raises:
            _MayRoundError: if an integer may be rounded.
        """
        known = dict(self._known)
        for key, number in self._arguments.items():
            known[key] = integers_between(*ranges[number])
        measured = dict[_Key, float]()
        if magnitudes is not None:
            several = [magnitudes] * len(self._measured) if isinstance(magnitudes, float) else magnitudes
            measured = dict(zip(self._measured, several, strict=True))
        for step in self._steps:
            rule = _RULES.get(step.kind)
            if rule is None:
                continue
            inputs = [known.get(key, FLOATS) for key in step.inputs]
            try:
                found = rule(step, inputs)
                if step.has_integers:
                    found = found._replace(whole=True)
                    if any(each.whole for each in inputs):  # what other floats become is up to the machine
                        _require_in_dtype(found, step.dtype)
            except _MayRoundError as error:
                error.inputs, error.known = [key for key in step.inputs if key in known], known
                raise
            if step.key in measured:
                # The measured floats may be rounded ones.
                most = max(measured[step.key], 0.0) if measured[step.key] < LARGEST else INFINITY
                found = found._replace(low=max(found.low, -most), high=min(found.high, most))
            known[step.key] = found
        for key in self._results:
            result = known.get(key, FLOATS)
            if result.whole and not result.exact:
                raise _MayRoundError("result", result.magnitude)

    def require(self, ranges: _Ranges, magnitudes: Sequence[float] | None) -> None:
        """Checks the integers of a call.

        Args:
            ranges: the least and the largest integer of each argument; any range for one that holds no integers.
            magnitudes: of the measured arrays; None before the call, which gives the benefit of the doubt.

        Raises:
            IntegersRoundedError: if some integer may be rounded.
        """
        are_within = all(
            low <= ranges[number][0] and ranges[number][1] <= high
            for number, (low, high) in self.limits.items()
        )
        if are_within and all(each <= self.most for each in magnitudes or ()):
            return
        measured = [0.0] * len(self._measured) if magnitudes is None else list(magnitudes)
        wider = {number: (-_power_above(-low), _power_above(high)) for number, (low, high) in ranges.items()}
        key = (tuple(wider.values()), magnitudes is None, tuple(map(_power_above, measured)))
        if key not in self._verdicts:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[key] = self._passes(wider, [float(each) for each in key[2]])
        if self._verdicts[key]:
            return
        failure = self._failure(ranges, measured)
        if failure is not None:
            raise IntegersRoundedError(_beyond(failure))


def magnitude_of(array: Any) -> Any:
    """Records the largest of the absolute values of an array."""
    return reduce(elementwise(lambda a: a.of("abs"), array, dtype="float32"), "max", None, keepdims=False)


def _require_in_dtype(numbers: Numbers, dtype: str) -> None:
    """Raises _MayRoundError for integers that NumPy would wrap around the ends of their dtype."""
    limits = np.iinfo(dtype)
    if -INFINITY < numbers.low < limits.min or limits.max < numbers.high < INFINITY:
        error = _MayRoundError("result", 0.0)
        error.args = (f"a result may be beyond {dtype}, where NumPy begins again at the other end",)
        raise error


def _beyond(error: _MayRoundError | None) -> str:
    return f"the core computes in float32, which holds every integer up to {LARGEST:,}, and {error}."


def _power_above(number: float) -> Any:
    """Returns the least power of 2 that isn't below a number; 0 for negative ones, and infinity for those that aren't finite."""
    if not math.isfinite(number):
        return INFINITY
    return 2 ** math.ceil(math.log2(number)) if number > 0 else 0


def _of_array(array: Any) -> Numbers:
    """Returns what is known of an input that is the same in each call."""
    if array.dtype == "bool":
        return _TRUTH
    numbers = array._numbers
    if not is_of_integers(array.dtype) or numbers is None:
        return FLOATS
    return integers_between(float(numbers.min()), float(numbers.max())) if numbers.size else Numbers(0.0, 0.0)


def are_rounded(array: Any) -> bool:
    """Returns whether float32 may round some integers of an input that is the same in each call."""
    numbers = array._numbers
    if numbers is None or not numbers.size or not is_of_integers(array.dtype):
        return False
    return bool(numbers.max() > LARGEST or numbers.min() < -LARGEST)


def _lengths(shape: Any) -> tuple[int, ...]:
    return tuple([extent.fixed for extent in shape])
