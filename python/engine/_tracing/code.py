"""Elementwise code: formulas written with Python's operators become the instructions of a map."""

from __future__ import annotations

import math
from typing import Any


class Code:
    """The instructions of one node "map", which computes a formula for each element.

    Registers hold numbers: first the inputs, then the result of each instruction.

    Args:
        inputs: how many arrays it reads.
    """

    def __init__(self, inputs: int) -> None:
        self.registers = inputs
        self.operations: list[str] = []
        self.operands: list[int] = []
        self.numbers: list[float] = []
        self._known: dict[Any, int] = {}

    def add(self, operation: str, *operands: int, number: float = 0.0) -> int:
        """Appends an instruction, unless the code has it already, and returns the register of its result."""
        key = (operation, operands, math.copysign(1.0, number), None if math.isnan(number) else number)
        if key not in self._known:
            self.operations.append(operation)
            self.operands += [*operands, -1, -1, -1][:3]
            self.numbers.append(float(number))
            self._known[key] = self.registers
            self.registers += 1
        return self._known[key]

    def add_copy(self, register: int) -> int:
        """Appends the instructions that copy a register, which multiply it by 1, and returns the register of the copy."""
        return self.add("multiply", register, self.add("constant", number=1.0))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the node."""
        return {"operations": self.operations, "operands": self.operands, "numbers": self.numbers}


def constant(number: float) -> Code:
    """Returns the code of a map whose elements are all one number."""
    code = Code(0)
    code.add("constant", number=number)
    return code


def copy_of_input() -> Code:
    """Returns the code of a map that copies its one input."""
    code = Code(1)
    code.add_copy(0)
    return code


class Term:
    """The result of an instruction, in a formula.

    Args:
        code: the instructions.
        register: of the result.
    """

    def __init__(self, code: Code, register: int) -> None:
        self.code, self.register = code, register

    def of(self, operation: str, *operands: Any) -> Term:
        """Returns the result of an operation on this term and others."""
        registers = [self.term(other).register for other in operands]
        return Term(self.code, self.code.add(operation, self.register, *registers))

    def term(self, value: Any) -> Term:
        """Returns a number as a term; a term as it is."""
        if isinstance(value, Term):
            return value
        return Term(self.code, self.code.add("constant", number=float(value)))

    def __add__(self, other: Any) -> Term:
        return self.of("add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Term:
        return self.of("subtract", other)

    def __rsub__(self, other: Any) -> Term:
        return self.term(other).of("subtract", self)

    def __mul__(self, other: Any) -> Term:
        return self.of("multiply", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Term:
        return self.of("divide", other)

    def __rtruediv__(self, other: Any) -> Term:
        return self.term(other).of("divide", self)

    def __neg__(self) -> Term:
        return self.of("negate")

    def __lt__(self, other: Any) -> Term:
        return self.of("less", other)

    def __le__(self, other: Any) -> Term:
        return self.of("less_equal", other)

    def __gt__(self, other: Any) -> Term:
        return self.term(other).of("less", self)

    def __ge__(self, other: Any) -> Term:
        return self.term(other).of("less_equal", self)

    def equals(self, other: Any) -> Term:
        """1 where both are equal, else 0."""
        return self.of("equal", other)

    def choose(self, yes: Any, no: Any) -> Term:
        """`yes` where this is not 0, else `no`."""
        return self.of("select", yes, no)
