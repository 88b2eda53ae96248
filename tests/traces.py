"""Programs of traced functions, for the tests of the core: nodes as `engine` records them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import _core

Array = NDArray[Any]
Shape = tuple[Any, ...]
B = "b"  # the number of samples, as a length; (2, "b") is twice as many, (1, "b", -3) is b - 3


def extent(length: Any) -> list[int]:
    if length == B:
        return [0, 1]
    if isinstance(length, tuple):
        factor, _, fixed = (*length, 0)[:3]
        return [fixed, factor]
    return [int(length), 0]


def extents(shape: Sequence[Any]) -> list[list[int]]:
    return [extent(length) for length in shape]


class Node:
    """A node of a trace, read under a shape."""

    def __init__(self, trace: Trace, number: int, shape: Shape) -> None:
        self.trace, self.number, self.shape = trace, number, shape

    def reshape(self, *shape: Any) -> Node:
        return Node(self.trace, self.number, shape)

    def map(self, op: str, *others: Any, shape: Shape | None = None) -> Node:
        return self.trace.map(op, self, *others, shape=shape)

    def reduce(self, kind: str, *axes: int) -> Node:
        shape = tuple(length for i, length in enumerate(self.shape) if i not in axes)
        return self.trace.add("reduce", [self], shape, reduction=kind, axes=list(axes))


class Trace:
    """Nodes of a program."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []

    def add(self, kind: str, inputs: Sequence[Node], shape: Shape, **fields: Any) -> Node:
        self.nodes.append(
            {
                "kind": kind,
                "inputs": [each.number for each in inputs],
                "input_shapes": [extents(each.shape) for each in inputs],
                "shape": extents(shape),
                **fields,
            }
        )
        return Node(self, len(self.nodes) - 1, shape)

    def input(self, shape: Shape, number: int = 0) -> Node:
        return Node(self, -1 - number, shape)

    def variable(self, *shape: int) -> Node:
        self.nodes.append({"kind": "variable", "inputs": [], "shape": list(shape)})
        return Node(self, len(self.nodes) - 1, shape)

    def argument(self, index: int, shape: Shape) -> Node:
        return self.add("argument", [], shape, index=index)

    def code(
        self, inputs: Sequence[Node], shape: Shape, *instructions: tuple[str, Sequence[int], float]
    ) -> Node:
        operands = [([*operands, -1, -1, -1])[:3] for _, operands, _ in instructions]
        return self.add(
            "map",
            inputs,
            shape,
            operations=[name for name, _, _ in instructions],
            operands=[number for each in operands for number in each],
            numbers=[float(number) for _, _, number in instructions],
        )

    def map(self, op: str, *inputs: Any, shape: Shape | None = None) -> Node:
        """One instruction of nodes and numbers; the shape is that of the node with most axes."""
        nodes = [each for each in inputs if isinstance(each, Node)]
        instructions: list[tuple[str, Sequence[int], float]] = []
        operands = []
        for each in inputs:
            if isinstance(each, Node):
                operands.append(nodes.index(each))
            else:
                operands.append(len(nodes) + len(instructions))
                instructions.append(("constant", [], each))
        if shape is None:
            shape = max((node.shape for node in nodes), key=len)
        return self.code(nodes, shape, *instructions, (op, operands, 0.0))

    def product(self, equation: str, a: Node, b: Node) -> Node:
        letters, y = equation.split("->")
        of_a, of_b = letters.split(",")
        lengths = dict(zip(of_a + of_b, a.shape + b.shape, strict=True))
        shape = tuple(lengths[letter] for letter in y)
        return self.add("contraction", [a, b], shape, a_letters=of_a, b_letters=of_b, y_letters=y)

    def function(self, *results: Node, batch: int = 1) -> Any:
        return _core.Program.function(self.nodes, [node.number for node in results], batch)


def call(
    trace: Trace, results: Sequence[Node], *arguments: Array, threads: int = 1, batch: int = 1
) -> list[Array]:
    """Computes the results of a function.

    Args:
        trace: its nodes.
        results: the nodes of its results.
        arguments: its arguments.
        threads: how many threads compute it. A product that nobody needs makes it work enough for them.
        batch: samples of the batch. Arrays whose lengths they divide are kept as rows of samples.
    """
    busy = Trace()
    busy.nodes = list(trace.nodes)
    side = 200
    a = busy.argument(len(arguments), (side, side))
    outputs = [*results, busy.product("ij,jk->ik", a, a)]
    given = [np.ascontiguousarray(each, np.float32) for each in [*arguments, np.ones((side, side))]]
    _core.set_threads(threads)
    try:
        return busy.function(*outputs, batch=batch).call(given)[:-1]
    finally:
        _core.set_threads(0)
