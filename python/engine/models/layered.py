"""What a model of layers has of them: their weights, read, written and counted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import ArrayLike

from engine._checks import flag
from engine._program import Float32
from engine.layers import Layer
from engine.layers.base import checked_weights
from engine.models.model import TrainableModel

if TYPE_CHECKING:
    from typing_extensions import Self


class Model(TrainableModel):
    """A model whose weights are those of its layers. `Model(inputs, outputs)` is the chain of them between the two.

    Args:
        inputs: what `Input` returned.
        outputs: what the last layer returned when it was called on what came from there.
        name: default `functional` with a number.
        options: the same, by name.
    """

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """A chain of layers, where no other kind is asked for."""
        del args, options
        if cls is Model:
            from engine.models.functional import Functional

            return cast("Self", object.__new__(Functional))
        if cls.__abstractmethods__:
            msg = (
                f"{cls.__name__} can't derive from Model, as models are chains of layers here: derive from Sequential, or "
                "from layers.Layer for what a `call` of your own computes"
            )
            raise TypeError(msg)
        return object.__new__(cls)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._layers: list[Layer] = []
        self._trainable = True

    @property
    @abstractmethod
    def built(self) -> bool:
        """Whether the weights exist."""

    @property
    def trainable(self) -> bool:
        """True at first; assigning it assigns it to all layers, with effect from the next `compile` on."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = flag(value, "trainable")
        for layer in self._layers:
            layer.trainable = self._trainable

    @property
    def weights(self) -> list[Float32]:
        """Read-only live views of all weights: kernel and bias of each layer in turn."""
        return [array for layer in self._layers for array in layer.weights]

    @property
    def trainable_weights(self) -> list[Float32]:
        """The weights that training changes."""
        return [array for layer in self._layers for array in layer.trainable_weights]

    @property
    def non_trainable_weights(self) -> list[Float32]:
        """The weights that training leaves alone."""
        return [array for layer in self._layers for array in layer.non_trainable_weights]

    def get_weights(self) -> list[Float32]:
        """Copies of all weights."""
        return [array for layer in self._layers for array in layer.get_weights()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Take over `weights`, in the order of `get_weights`.

        Raises:
            ValueError: if number or shapes differ; nothing has changed then.
        """
        with self._lock:
            if self._program is None:
                raise self._not_built("set_weights()")
            values = checked_weights(weights, self.weights, self.name)
            if not values:
                return
            own: list[Float32] = []
            for layer in self._layers:
                count = len(layer.weights)
                if layer.holds_own_weights:
                    layer.set_weights(values[:count])
                else:
                    own += values[:count]
                del values[:count]
            self._program.write_variables(own)

    def count_params(self) -> int:
        """The number of weights, counted one by one."""
        if not self.built:
            raise self._not_built("count_params()")
        return sum(array.size for array in self.weights)

    @property
    def variables(self) -> list[Float32]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Float32]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Float32]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def losses(self) -> list[float]:
        """What layers have added to the loss of the last batch by `add_loss`, and the penalties on weights."""
        return [loss for layer in self._layers for loss in layer.losses]
