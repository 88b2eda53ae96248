"""What layers that draw random numbers have in common."""

from __future__ import annotations

from typing import Any

from engine._base.checks import seed_or_none
from engine._base.random_state import next_seed
from engine.layers.base import Layer


class Seeded(Layer):
    """A layer that draws random numbers.

    Args:
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        self.seed = seed_or_none(seed)
        self._seed_in_use: int = next_seed() if self.seed is None else self.seed
        super().__init__(**options)
