"""What building a model gives: the program that computes its layers, and what follows from these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine._base.checks import Shape
from engine._core_interface.cpp import Operation, Program, WeightArray
from engine._data.exact_integers import Reading
from engine._data.several_arrays import inputs_in
from engine._tracing.versions import Dependencies
from engine._training.compile_arguments import Compiled
from engine.layers import Layer
from engine.layers.part import Part
from engine.models.layer_graph import LayerGraph
from engine.models.network import Network
from engine.models.programs_by_shape import ProgramsByShape
from engine.models.wiring import chain_of, shapes_along


class Agreement(NamedTuple):
    """Whether a program computes what its layers would compute now."""

    in_predictions: bool = True
    in_training: bool = True


class Settings:
    """What layers say about themselves when a program is built from them: it can change afterwards.

    Args:
        parts: the layers and models. Those within are read, too.
    """

    def __init__(self, parts: Sequence[Part] = ()) -> None:
        self._parts, self._agreement = parts, Agreement()
        self.has_run = False
        """Whether the program has trained, evaluated or predicted."""
        self._dependencies = self._present()

    def _present(self) -> Dependencies:
        found = Dependencies()
        for part in self._parts:
            found.add(part)
        return found

    def collecting(self) -> AbstractContextManager[Any]:
        """Within the block, in which the program is built, changes by this thread don't count."""
        return self._dependencies.collecting()

    def agreement(self, compare: Callable[[], Agreement]) -> Agreement:
        """Returns what `compare` does; it is called after a change alone."""
        if not self._dependencies.are_unchanged:
            present = self._present()
            self._agreement = compare()
            # Last, so that another thread finds no agreement of before the change.
            self._dependencies = present
        return self._agreement


@dataclass(frozen=True, eq=False)
class BuiltGraph(LayerGraph):
    """The graph of layers of a model, and what was built from it. It never changes: building makes a new one.

    So a thread that reads `model._built_graph` once has layers, program and shapes that belong together, whatever other threads
    build meanwhile, and a model whose building fails has what it had before.
    """

    network: Network = field(default_factory=lambda: Network([], chain_of(0)))
    """The layers without the models around them."""
    program: Program | None = None
    """What the core computes, for samples of the shape that it was built for; None before the input shape is known."""
    by_shape: ProgramsByShape | None = None
    """The programs for samples of all other shapes, if an axis of the samples has no fixed length."""
    operations: Sequence[Operation] = ()
    """The operations of the program."""
    program_outputs: Sequence[tuple[int, int]] = ()
    """For each output the number of the operation that computes it, and its rows in one sample."""
    arrays: Sequence[WeightArray] = ()
    """The weights that the program uses."""
    settings: Settings = field(default_factory=Settings)
    """What the layers said about themselves when it was built."""
    sample_shape: Shape | None = None
    """Of one sample as the core reads it: several inputs lie side by side. None before it is known, or without a fixed length."""
    output_shapes: list[Shape] = field(default_factory=list)
    """The shape of one sample of each output, with None for lengths that depend on those of the samples."""
    output_shape: Shape | None = None
    """That of a model with one array as input and one as output."""
    tokens: Sequence[int | None] = ()
    """For each input that is indices: how many different ones there are."""
    readings: Sequence[Reading] = ()
    """For each input how layers read it."""
    takes_strings: bool = False
    """Whether an input is strings."""
    reads_values: bool = True
    """Whether an input holds strings or integers; True before it is known."""
    penalised: Sequence[Layer] = ()
    """The layers with a penalty on their outputs."""
    draws: bool = False
    """Whether predictions depend on random numbers."""
    rows_at_once: int = 0
    """The most samples that `predict` may compute in one call of the core, whatever a batch is."""
    predicts_whole_batches: bool = False
    """Whether predictions can't be computed in parts, as they combine samples or change weights."""

    def program_for(self, shape: Shape, compiled: Compiled | None = None) -> Program | None:
        """Returns the program for samples of a shape, compiled with `compiled` if it is given; None before the graph is built."""
        return self.program if self.by_shape is None else self.by_shape.program(shape, compiled)

    def output_shapes_for(self, sample: Shape) -> list[Shape]:
        """Returns the shape of each output for samples of a shape that the inputs can have."""
        if not any(None in shape for shape in self.output_shapes):
            return self.output_shapes
        return shapes_along(inputs_in(sample), self.layers, self.wiring).outputs

    def forget_penalties(self) -> None:
        """Drops the penalties on outputs that a call of the model has stored for `losses`, as Keras does."""
        for leaf in self.penalised:
            leaf._penalties = []
