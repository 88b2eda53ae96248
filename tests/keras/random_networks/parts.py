"""What the parts of a program have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Around the widths of vectors (4, 8, 16), the 16 units of a narrow layer, and the 64 columns of a panel.
WIDTHS = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65)


@dataclass(frozen=True)
class Made:
    """An object that a program makes: the name of a class in `keras`, and its arguments.

    Args:
        name: such as "layers.Dense", or the name of a class that the program defines.
        options: its arguments by name.
        code: lines that define the class; none for those of `keras`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    code: tuple[str, ...] = ()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{'' if self.code else 'keras.'}{self.name}({arguments})"


class Dice:
    """Random choices, all of which one seed decides."""

    def __init__(self, seed: int | Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)

    def one(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def between(self, low: int, high: int) -> int:
        """Returns a whole number from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))
