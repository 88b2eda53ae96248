"""Where each value of a prediction lies in memory: in an input, in an output, or in a part of the scratch memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from engine.export.graph import Graph
from engine.export.step import Step


class Place(NamedTuple):
    """The memory of a value: `kind` is "input", "output", "scratch" or "constant", and `number` says which of them."""

    kind: str
    number: int


class Plan(NamedTuple):
    """The memory of a prediction.

    Args:
        places: of each value, by its number.
        parts: the offset of each part of the scratch memory, counted in numbers.
        size: how many numbers of scratch memory there are.
    """

    places: dict[int, Place]
    parts: list[int]
    size: int


class _Buffer(NamedTuple):
    """Memory for values of one size, of which each replaces the one before."""

    values: list[int]
    size: int
    begin: int
    """The number of the step that writes the first value."""
    end: int
    """The number of the last step that reads a value."""

    def meets(self, other: _Buffer) -> bool:
        """Returns whether there is a step in which both are in use."""
        return self.begin <= other.end and other.begin <= self.end


InPlace = Callable[[Step, Sequence[int]], bool]
"""Whether the output of a step may replace its first input. The second argument are the values that it reads."""


def planned(graph: Graph, in_place: InPlace) -> Plan:
    """Returns the memory of a prediction.

    Args:
        graph: the model.
        in_place: says whether the output of a step may replace its first input, if both have one size.
    """
    steps = graph.steps
    origins = _origins(steps)
    outputs = [origins.get(output.value, output.value) for output in graph.outputs]
    buffers = _buffers(steps, origins, outputs, in_place)
    owners = {value: buffer for buffer in buffers for value in buffer.values}
    locations = {-1 - number: Place("input", number) for number in range(len(graph.inputs))}
    locations |= {
        number: Place("constant", number) for number, step in enumerate(steps) if step.kind == "constants"
    }
    inside = {id(buffer) for buffer in buffers}
    for number, value in enumerate(outputs):
        if value in owners and id(owners[value]) in inside:  # the second output of one value is a copy
            inside.discard(id(owners[value]))
            locations |= dict.fromkeys(owners[value].values, Place("output", number))
    scratch = [buffer for buffer in buffers if id(buffer) in inside]
    offsets = _offsets(scratch)
    parts = sorted(set(offsets))
    for buffer, offset in zip(scratch, offsets, strict=True):
        locations |= dict.fromkeys(buffer.values, Place("scratch", parts.index(offset)))
    for value, origin in origins.items():
        locations[value] = locations[origin]
    ends = (offset + buffer.size for buffer, offset in zip(scratch, offsets, strict=True))
    return Plan(locations, parts, max(ends, default=0))


def _origins(steps: Sequence[Step]) -> dict[int, int]:
    """Returns for each step that changes nothing the value that it passes on."""
    origins: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step.kind in ("identity", "reshape"):
            origins[number] = origins.get(step.reads[0], step.reads[0])
    return origins


def _buffers(
    steps: Sequence[Step], origins: dict[int, int], outputs: Sequence[int], in_place: InPlace
) -> list[_Buffer]:
    """Returns the memory of all values but inputs; a value replaces the one that is read for the last time, if it can."""
    reads = [[origins.get(origin, origin) for origin in step.reads] for step in steps]
    last = {number: number for number in range(len(steps))}
    for number, read in enumerate(reads):
        last |= dict.fromkeys(read, number)
    last |= dict.fromkeys(outputs, len(steps))
    buffers_made, owners = list[_Buffer](), dict[int, int]()
    for number, (step, read) in enumerate(zip(steps, reads, strict=True)):
        if number in origins or step.kind == "constants":
            continue
        first = read[0] if read else -1
        replaces = first in owners and last[first] == number and steps[first].size == step.size
        if replaces and in_place(step, read):
            owner = owners[number] = owners[first]
            values = [*buffers_made[owner].values, number]
            buffers_made[owner] = buffers_made[owner]._replace(values=values, end=last[number])
        else:
            owners[number] = len(buffers_made)
            buffers_made.append(_Buffer([number], step.size, number, last[number]))
    return buffers_made


def _offsets(buffers: Sequence[_Buffer]) -> list[int]:
    """Returns where each buffer begins, so that those in use at one time don't overlap. The largest are placed first."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for number in sorted(range(len(buffers)), key=lambda index: -buffers[index].size):
        buffer, offset = buffers[number], 0
        for other in sorted(placed, key=offsets.__getitem__):
            if buffers[other].meets(buffer) and offsets[other] < offset + buffer.size:
                offset = max(offset, offsets[other] + buffers[other].size)
        offsets[number] = offset
        placed.append(number)
    return offsets
