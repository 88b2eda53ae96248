"""What saving, loading and backups need of a model. `engine.models.Model`, which imports these modules, has it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard

from engine.layers.layer import Layer
from engine.layers.part import Part
from engine.layers.variable import Variable
from engine.optimizers.optimizer import Optimizer


class SavedModel(Protocol):
    """A model that is written to a file, or read from one."""

    name: str
    stop_training: bool
    _compiled: Any
    _body: Any
    """The layer that has the weights of the model itself, if its class has a `call`; else None."""

    @property
    def _attributes_of_user(self) -> Any:
        """The attributes of a user's class that hold its layers; None if `layers` lists them."""

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes of the inputs in their form, under "input_shape"."""
        ...

    @property
    def built(self) -> bool:
        """Whether the weights have been created."""

    @property
    def layers(self) -> list[Any]:
        """The layers, each listed once. A nested model is one entry."""

    @property
    def weights(self) -> list[Variable]:
        """The weights."""

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer; None before `compile`."""

    @property
    def input_shape(self) -> Any:
        """The shape of the input, with None for the batch axis; a list for several inputs."""

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Creates the weights."""

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`."""

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles the model with what `get_compile_config` returned."""

    @property
    def _parts_in_order(self) -> list[Part]:
        """The layers and models in it, each as often as it is used."""

    def _models_within(self) -> Sequence[SavedModel]:
        """The models in it, at any depth."""

    @property
    def _facts(self) -> dict[str, Any]:
        """What a file stores beside config and weights, such as the form of the targets."""

    def _restore_facts(self, facts: Mapping[str, Any]) -> None:
        """Takes over what `_facts` returned."""


def is_model(part: object) -> TypeGuard[SavedModel]:
    """Returns whether an object is a model: what may contain layers, and is none itself."""
    return isinstance(part, Part) and not isinstance(part, Layer)
