"""A random training as a whole, and as a program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from random_networks.layers import Network, draw_network
from random_networks.parts import Dice
from random_networks.samples import Samples, draw_samples, further_lines
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
            *further_lines(self.samples.samples, self.network.further_inputs),
            *self.network.lines,
            *self.training.model_lines(self.network.inputs, self.network.output),
        ]
        return "\n".join(lines) + "\n"

    @property
    def loop(self) -> str:
        """The part of the program that trains."""
        seeded = [f"keras.utils.set_random_seed({self.number})"] if self.draws_by_stream else []
        return "\n".join([*seeded, *self.training.loop_lines(bool(self.network.further_inputs))]) + "\n"

    @property
    def draws_by_stream(self) -> bool:
        """Whether what dropout keeps depends on the global random stream: so it is on tapes."""
        return self.training.way == "tape" and self.network.has_dropout

    def __str__(self) -> str:
        return self.definition + self.loop


def draw_case(number: int, again: int = 0) -> Case:
    """Returns the random training with this number, or another one if it is drawn `again`."""
    dice = Dice((number, again) if again else number)
    samples = draw_samples(number, dice)
    training = draw_training(samples, dice)
    network, steps = draw_network(samples, training, dice)
    training = replace(training, steps=steps)
    if steps:
        training = replace(training, class_weight=None, weighted=training.weighted or dice.chance(0.4))
    if network.has_dropout:
        training = replace(training, epochs=1)  # of which `runs` can tell what dropout keeps
    return Case(number, samples, network, training)
