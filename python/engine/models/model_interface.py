"""What the functions beside `Model` ask of a model: its layers, its program, and what it was compiled with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeVar

    from engine._base.checks import Shape
    from engine._core_interface.cpp import Operation, Program, Rows
    from engine._data.exact_integers import Reading
    from engine._data.lazy_rows import LazyRows
    from engine._training.compile_arguments import Compiled
    from engine._training.recovery import FittedModel
    from engine._training.runner import ModelWithSteps
    from engine.layers import InputLayer, Layer
    from engine.layers.layer import ModelOfLayer, Part
    from engine.layers.symbols import Call, CallArguments, KerasTensor
    from engine.models.input_data import InputData
    from engine.models.lock import ModelLock
    from engine.models.network import Network
    from engine.models.output_data import OutputData
    from engine.models.programs_by_shape import ProgramsByShape
    from engine.models.recorded import Body
    from engine.models.structures import Structure
    from engine.models.wiring import Wiring

    Also = TypeVar("Also")

    class ModelInterface(ModelWithSteps, FittedModel, ModelOfLayer, Protocol):
        """A model, for the functions that build it, predict with it, draw it and export it."""

        # The graph of layers.
        _starts: list[InputLayer]
        _layers: list[Part]
        _listing: list[Part]
        _wiring: Wiring
        _network: Network
        _structures: tuple[Structure, Structure]
        _modes: list[bool | None]
        _arguments: list[CallArguments | None]
        _calls: list[Call]
        _body: Body | None
        _outers: Any
        _is_sequential: bool
        _trainable: bool
        _has_declared_shape: bool
        _given_input_spec: Any

        # The program, and what follows from it.
        _program: Program | None
        _by_shape: ProgramsByShape | None
        _operations: list[Operation]
        _device: str | None
        _sample_shape: Shape | None
        _output_shapes: list[Shape]
        _output_shape: Shape | None
        _output_dtypes: list[str] | None
        _tokens: list[int | None]
        _readings: Sequence[Reading]
        _takes_strings: bool
        _reads_values: bool
        _penalised: list[Layer]
        _mixed: bool
        _draws: bool
        _predicts_whole_batches: bool
        _samplings: int

        # What it was compiled with, and what it does.
        _compiles_again: bool
        _steps_per_execution: int
        _trained_with: Compiled | None
        _suspect: bool
        _fitting: Any
        _lock: ModelLock

        @property
        def device(self) -> str:
            """Where the model computes."""

        @property
        def path(self) -> str:
            """The name, after those of the models around."""

        def _output_symbols(self) -> list[KerasTensor]: ...

        @property
        def _input_data(self) -> InputData: ...

        @property
        def _names_of_outputs(self) -> list[str]: ...

        @property
        def _parts_in_order(self) -> list[Part]: ...

        @property
        def _is_graph(self) -> bool: ...

        @property
        def _has_predict_step(self) -> bool: ...

        def predict_step(self, data: Any) -> Any:
            """Returns the outputs for one batch."""

        def _symbols(self) -> tuple[list[KerasTensor], list[KerasTensor], list[Call]]: ...

        def _require_compiled(self) -> Compiled: ...

        def _require_idle(self, action: str) -> None: ...

        def _require_built(self, action: str) -> None: ...

        def _begin_training(self) -> Compiled: ...

        def _read(
            self, read: Callable[[InputData], tuple[Rows | LazyRows, Also]]
        ) -> tuple[Rows | LazyRows, Also]: ...

        def _output_shapes_of(self, sample: Shape) -> list[Shape]: ...

        def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]: ...

        def _output_data(self, compiled: Compiled) -> OutputData: ...

        def _build_for_inputs(self, samples: Sequence[Shape]) -> None: ...

        def _compiled_for(
            self, optimizer: object, *by_output: Any, outputs: Sequence[str], by_key: bool = False
        ) -> Compiled: ...

        def _names_of_ends(self, count: int) -> list[str]: ...

        def _without_layers(self) -> ValueError: ...

        def _forget_penalties(self) -> None: ...

        def _warn_of_weights(self, action: str) -> None: ...
