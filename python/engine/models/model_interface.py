"""What the functions beside `Model` ask of a model: its layers, its program, and what it was compiled with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from engine._base.checks import Shape
    from engine._training.compile_arguments import Compiled
    from engine._training.recovery import FittedModel
    from engine._training.runner import ModelWithSteps
    from engine.layers.layer import ModelOfLayer
    from engine.layers.part import Part
    from engine.layers.symbols import Call, KerasTensor
    from engine.models.built_graph import BuiltGraph
    from engine.models.input_data import InputData
    from engine.models.lock import ModelLock
    from engine.models.own_call import Body

    class ModelInterface(ModelWithSteps, FittedModel, ModelOfLayer, Protocol):
        """A model, for the functions that build it, predict with it, draw it and export it."""

        # The layers, and what was built from them.
        _built_graph: BuiltGraph
        _body: Body | None
        _outers: Any
        _is_sequential: bool
        _trainable: bool
        _own_input_spec: Any
        _device: str | None
        _samplings: int

        # What it was compiled with, and what it does.
        _steps_per_execution: int
        _checked_to_learn: Compiled | None
        _may_hold_nan: bool
        _fitting: Any
        _lock: ModelLock

        @property
        def device(self) -> str:
            """Where the model computes."""

        @property
        def path(self) -> str:
            """The name, after those of the models around."""

        @property
        def _input_data(self) -> InputData: ...

        @property
        def _names_of_outputs(self) -> list[str]: ...

        @property
        def _parts_in_order(self) -> list[Part]: ...

        @property
        def _has_predict_step(self) -> bool: ...

        @classmethod
        def _user_overrides(cls, *names: str) -> bool: ...

        def predict_step(self, data: Any) -> Any:
            """Returns the outputs for one batch."""

        def _symbols(self) -> tuple[list[KerasTensor], list[KerasTensor], list[Call]]: ...

        def _require_compiled(self) -> Compiled: ...

        def _require_idle(self, action: str) -> None: ...

        def _require_built(self, action: str) -> None: ...

        def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]: ...

        def _build_for_inputs(self, samples: Sequence[Shape]) -> None: ...

        def _note_change(self) -> None: ...

        def _warn_of_weights(self, action: str) -> None: ...
