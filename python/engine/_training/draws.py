"""Where the random numbers of a model's steps come from: the global stream, and the seed generators in its attributes."""

from __future__ import annotations

from typing import Any, NamedTuple

from engine._base import random_state
from engine._base.containers import values_within
from engine.random import SeedGenerator


class DrawPosition(NamedTuple):
    """A seed and a number of draws for each source of random numbers."""

    stream: tuple[int, int]
    """Of the global stream of the engine."""
    generators: list[tuple[int, int]]
    """Of the seed generators."""


def generators_of(model: Any) -> list[SeedGenerator]:
    """Returns the seed generators in the attributes of a model and of its layers, each once."""
    holders = [model, *model._models_within(), *model._owners]
    values = values_within([list(vars(holder).values()) for holder in holders])
    return list(dict.fromkeys(value for value in values if isinstance(value, SeedGenerator)))


def draw_position(model: Any) -> DrawPosition:
    """Returns where the next random numbers of a model's steps come from."""
    return DrawPosition(
        random_state.position(), [(generator._seed, generator._draws) for generator in generators_of(model)]
    )


def go_to(model: Any, position: DrawPosition) -> None:
    """Lets the random numbers of a model's steps go on from a position that `draw_position` returned."""
    random_state.go_to(position.stream)
    for generator, (seed, draws) in zip(generators_of(model), position.generators, strict=False):
        generator._seed, generator._draws = seed, draws
