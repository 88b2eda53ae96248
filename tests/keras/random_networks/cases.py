"""A random training as a whole, and as a program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from random_networks.layers import Network, draw_network
from random_networks.parts import Dice
from random_networks.samples import Samples, draw_samples
from random_networks.steps import Training, draw_training

IMPORTS = (
    "import tempfile",
    "import numpy as np",
    "import scipy.sparse",
    "import engine as keras",
    "from engine import ops",
)


@dataclass(frozen=True)
class Case:
    """A training of a network with samples; equal cases are equal programs."""

    number: int
    samples: Samples
    network: Network
    training: Training

    @property
    def definition(self) -> str:
        """The part of the program that ends with the compiled model."""
        lines = [
            *IMPORTS,
            *self.training.class_lines,
            f"keras.utils.set_random_seed({self.number})",
            *([f"keras.config.set_threads({self.training.threads})"] if self.training.threads else []),
            *self.samples.lines,
            *self.training.target_lines(self.samples.samples),
            *self.network.lines,
            *self.training.model_lines(self.network.output),
        ]
        return "\n".join(lines) + "\n"

    @property
    def loop(self) -> str:
        """The part of the program that trains."""
        return "\n".join(self.training.loop_lines) + "\n"

    def __str__(self) -> str:
        return self.definition + self.loop


def draw_case(number: int) -> Case:
    """Returns the random training with this number."""
    dice = Dice(number)
    samples = draw_samples(number, dice)
    training = draw_training(samples, dice)
    network, steps = draw_network(samples, training, dice)
    training = replace(training, steps=steps)
    if steps:
        training = replace(training, class_weight=None)
    if any(layer.name == "layers.Dropout" for layer in network.leaves.values()):
        # For the first epoch of these loops `runs` can tell what dropout keeps.
        way = "batches" if training.way == "batches" else "fit"
        training = replace(training, epochs=1, way=way)
    return Case(number, samples, network, training)
