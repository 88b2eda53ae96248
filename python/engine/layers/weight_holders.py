"""Programs that hold the weights of layers and variables outside of models, so that functions can read and change them."""

from __future__ import annotations

from typing import Any

from engine._core_interface.cpp import Float32, Loan, Program


class WeightHolder:
    """Stands for a model where a layer says which programs hold its weights.

    Args:
        program: holds the weights.
    """

    layers: tuple[Any, ...] = ()

    def __init__(self, program: Program) -> None:
        self.program = program

    def _symbols_at(self, layer: Any) -> Any:
        raise LookupError(layer)


def program_of_weights(
    specs: Any, values: list[Float32] | None, loans: list[Loan], flat: bool = False
) -> Program:
    """Returns a program that holds weights.

    Args:
        specs: the description of each weight.
        values: their values; None if they are lent by another program.
        loans: of each weight the variable of another program that it shares, or empty.
        flat: whether matrices that aren't lent are stored as one row.
    """
    stored = (
        [flat] * len(specs)
        if values is not None
        else [lender.stores_flat(number) for lender, number in loans]
    )
    nodes = [variable_node(spec.shape, flat=each) for spec, each in zip(specs, stored, strict=True)]
    program: Program = Program.function(nodes, [], 1, loans if values is None else [None] * len(nodes))
    if values:
        program.write_variables(values)
    return program


def variable_node(shape: Any, flat: bool = False, **fields: Any) -> dict[str, Any]:
    """Returns a node whose output is a variable of a shape; `flat` says whether a matrix is stored as one row."""
    stored = {"flat": True} if flat and len(shape) == 2 else {}  # noqa: PLR2004 # a matrix
    return {
        "kind": "variable",
        "inputs": [],
        "input_shapes": [],
        "shape": list(shape),
        "trainable": True,
        **stored,
        **fields,
    }


def loan_of(owner: Any, index: int) -> Loan:
    """Returns where weight number `index` of a layer or variable is held, for a program that shares it."""
    program: Program = owner._held_by()
    return program, index
