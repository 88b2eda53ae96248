"""What Python sees of `engine.cython_api`; its purpose is to be cimported by Cython."""

from engine.models.model import Model

class Predictor:
    inputs: int
    outputs: int
    together: int
    def __init__(
        self, model: Model, *, inputs: int | None = None, outputs: int | None = None, together: int = 1
    ) -> None: ...
    def refresh(self) -> None: ...
