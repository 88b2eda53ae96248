"""The weights of a layer: who holds them, reading, writing and counting."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import Shape, fits, text_of_shape
from engine._base.cpp import Float32, Loan, Program, read_weights
from engine._base.locks import Lock
from engine._base.spec import Spec
from engine._base.tensor_like import Tensor
from engine.constraints import Constraint
from engine.initializers import GlorotUniform, Initializer
from engine.initializers.base import as_weight
from engine.layers.weights import HasWeights
from engine.regularizers import Regularizer

# In one array: 4 TiB. More is a slip of the pen, such as a forgotten zero in `input_shape`.
MOST_WEIGHTS = 2**40

# Held while layers get their weights, or join or leave a model: once, and one after the other, whoever asks.
JOINING = Lock()


class Weight(NamedTuple):
    """One weight array of a layer, before it exists."""

    name: str
    shape: Shape
    initializer: Initializer | None
    trainable: bool = True
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None

    def start(self, layer: str) -> Float32:
        """The numbers to start from, in the layer of that name; as in Keras without an initializer."""
        initializer = self.initializer or GlorotUniform()
        return as_weight(initializer(self.shape), self.shape, f"the start of {layer}'s {self.name}")


def asked(**weights: Weight) -> dict[str, Any]:
    """The fields of a core operation that penalise and constrain its weights, by the core's names for these."""
    found: dict[str, Any] = {}
    for name, weight in weights.items():
        found |= weight.regularizer._lower(name) if weight.regularizer else {}
        if weight.constraint:
            found[f"{name}_constraint"] = weight.constraint._lower(len(weight.shape))
    return found


class Named:
    """The names and properties of a weight array. Its subclasses say which layer the array belongs to."""

    @property
    def _origin(self) -> tuple[Weighted, Weight]:
        """The layer that the array belongs to, and the weight that it is there; every subclass overrides it."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """Name of layer and weight, such as "dense/kernel"."""
        layer, weight = self._origin
        return f"{layer.name}/{weight.name}"

    @property
    def name(self) -> str:
        """Name of the weight, such as "kernel"."""
        return self._origin[1].name

    @property
    def trainable(self) -> bool:
        """Whether training updates the weight."""
        layer, weight = self._origin
        return layer.trainable and weight.trainable

    @property
    def regularizer(self) -> Regularizer | None:
        """The penalty on it, if there is one."""
        return self._origin[1].regularizer

    @property
    def constraint(self) -> Constraint | None:
        """What it is made to be after every step, if there is something."""
        return self._origin[1].constraint


class LayerWeight(Named, Tensor):
    """A read-only copy of a weight array that knows its layer.

    What is computed from it belongs to nobody: it has no name, and can't be assigned.
    """

    _owner: weakref.ref[Weighted] | None = None
    _index = 0

    @classmethod
    def of(cls, layer: Weighted, index: int, values: Float32) -> LayerWeight:
        """`values`, weight number `index` of `layer`."""
        array = values.view(cls)
        array.flags.writeable = False
        array._owner, array._index = weakref.ref(layer), index
        return array

    @property
    def value(self) -> Float32:
        """The values as a plain array."""
        return self.view(np.ndarray)

    def assign(self, value: ArrayLike) -> None:
        """Sets the weight of the layer to `value`, of the same shape. This copy keeps its values."""
        self._origin[0]._set_weight(self._index, value)

    def assign_add(self, value: ArrayLike) -> None:
        """Adds `value` to the current weight of the layer."""
        self.assign(self._origin[0]._weight_at(self._index) + np.asarray(value))

    def assign_sub(self, value: ArrayLike) -> None:
        """Subtracts `value` from the current weight of the layer."""
        self.assign_add(-np.asarray(value))

    @property
    def _origin(self) -> tuple[Weighted, Weight]:
        layer = None if self._owner is None else self._owner()
        if layer is None:
            msg = "this array is no weight of a layer: it was computed from one, or the layer is gone"
            raise AttributeError(msg)
        return layer, layer._specs[self._index]


class Place(NamedTuple):
    """Where the program of a model has the weights of a layer: `arrays` variables from number `first` on."""

    model: weakref.ref[Any]
    program: Program
    first: int
    arrays: int

    def read(self) -> list[Float32]:
        """The weights of one moment, read-only."""
        return read_weights(self.program, self.first, self.arrays)


class Weighted(HasWeights, Spec):
    """What a layer does with its weights. They are its own until it joins a model, whose program then holds them.

    The programs of further models use the same memory, so that each of the places is as good as any.
    """

    def __init__(self) -> None:
        self._specs: list[Weight] = []
        self._weights: list[Float32] | None = None  # while no program holds them
        self._places: list[Place] = []
        self._sample_shape: Shape | None = None  # of the inputs, once known

    def _weights_for(self, input_shape: Shape) -> list[Weight]:
        """The weights that inputs of `input_shape` need, in the order of `get_weights`."""
        del input_shape
        return []

    @property
    def built(self) -> bool:
        """True if the weights have been created."""
        return bool(self._places) or self._weights is not None

    @built.setter
    def built(self, value: bool) -> None:
        """Does nothing. `build` methods of Keras set it; here it follows from the weights."""

    @property
    def weights(self) -> list[Float32]:
        """The current weights as read-only arrays; empty before the layer is built."""
        own, places = self._weights, self._places
        # The layer may join or leave a model meanwhile: it always has its weights at the one place or at the other.
        return self._as_layer_weights(places[0].read() if places else own or self._weights or ())

    def _as_layer_weights(self, arrays: Iterable[Float32]) -> list[Float32]:
        """The arrays as weights of this layer, which know that they are."""
        return [LayerWeight.of(self, index, array) for index, array in enumerate(arrays)]

    @property
    def _weight_names(self) -> list[str]:
        """Names of the weights, such as `kernel`."""
        return [weight.name for weight in self._specs]

    @property
    def trainable_weights(self) -> list[Float32]:
        """The weights that training updates, as read-only arrays."""
        return [array for array, learns in zip(self.weights, self._learns, strict=True) if learns]

    @property
    def non_trainable_weights(self) -> list[Float32]:
        """The weights that training doesn't update by gradients, as read-only arrays."""
        return [array for array, learns in zip(self.weights, self._learns, strict=True) if not learns]

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Writes the weights into `store`, a dict, under the keys "0", "1", ..., trainable ones first.

        A custom layer may override this and `load_own_variables` to save more.
        """
        weights = self.weights
        for position, index in enumerate(self._saved_order):
            store[str(position)] = weights[index]

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Sets the weights from `store`, as written by `save_own_variables`.

        Raises:
            ValueError: if the number of arrays or a shape differs. The weights are unchanged then.
        """
        order, specs = self._saved_order, self._specs
        if len(store) != len(order):
            names = [specs[index].name for index in order]
            msg = (
                f"layer {self.name!r} expected {len(order)} variables, but received {len(store)} variables during "
                f"loading. Expected: {names}"
            )
            raise ValueError(msg)
        weights = dict(zip(order, (store[str(position)] for position in range(len(order))), strict=True))
        if weights:
            self.set_weights([weights[index] for index in range(len(order))])

    @property
    def _variable_names(self) -> list[str]:
        """What the weights are called, with the layer before, in the order of `save_own_variables`."""
        return [f"{self.name}/{self._specs[index].name}" for index in self._saved_order]

    @property
    def _saved_order(self) -> list[int]:
        """Numbers of the weights in the order of Keras' files."""
        count = len(self.weights)
        return sorted(range(count), key=lambda index: not self._specs[index].trainable)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`.

        Raises:
            ValueError: if the number of arrays or a shape differs. The weights are unchanged then.
        """
        values = self._checked(weights)
        if not self._places:
            self._weights = values
        elif values:
            self._places[0].program.write_variables(values, self._places[0].first)

    def _set_weight(self, index: int, value: ArrayLike) -> None:
        """Take over `value` as the weight of that number; whatever trains the others meanwhile goes on.

        Raises:
            ValueError: if the shape differs; nothing has changed then.
        """
        weights: list[ArrayLike] = list(self.weights)
        weights[index] = value
        checked = self._checked(weights)[index]
        if self._places:
            self._places[0].program.write_variables([checked], self._places[0].first + index)
        elif self._weights is not None:
            self._weights = [*self._weights[:index], checked, *self._weights[index + 1 :]]

    def _initial_weights(self, input_shape: Shape) -> list[Float32]:
        """The weights to start from: those there are, else fresh ones."""
        wanted = self._fitting_weights(input_shape)
        weights = self.weights if self.built else [weight.start(self.name) for weight in wanted]
        self._specs = wanted
        if self._sample_shape is None or not fits(input_shape, self._sample_shape):
            self._sample_shape = input_shape
        return weights

    def _begun(self, input_shape: Shape) -> list[Float32]:
        """Its weights for inputs of `input_shape`, which it has from now on."""
        with JOINING:
            weights = self._initial_weights(input_shape)
            if not self.built:
                self._weights = weights
            return weights

    def _fitting_weights(self, input_shape: Shape) -> list[Weight]:
        """The weights that inputs of `input_shape` need; ValueError where those that there are have other shapes."""
        wanted = self._weights_for(input_shape)
        for weight in wanted:
            if None in weight.shape:
                msg = (
                    f"layer {self.name!r} would need a {weight.name} of shape {weight.shape} for inputs "
                    f"{text_of_shape(input_shape)}: the length of this axis must be known. Give Input() a number instead "
                    "of None, or put a GlobalAveragePooling1D() before the layer"
                )
                raise ValueError(msg)
            if math.prod(weight.shape) > MOST_WEIGHTS:
                msg = f"layer {self.name!r} would need a {weight.name} of shape {weight.shape}: over 2**40 numbers"
                raise ValueError(msg)
        for weight, array in zip(wanted, self.weights if self.built else (), strict=self.built):
            if weight.shape != array.shape:
                msg = (
                    f"layer {self.name!r} has a {weight.name} of shape {array.shape} but would need "
                    f"{weight.shape} here; make a new layer instead of moving this one"
                )
                raise ValueError(msg)
        return wanted

    def _shared_weights(self, model: object) -> list[Loan]:
        """The weights as the program of another living model than `model` has them; empty if there is none."""
        place = next((place for place in self._places if place.model() not in (None, model)), None)
        return [] if place is None else [(place.program, place.first + i) for i in range(place.arrays)]

    def _attach(self, model: object, program: Program, first: int, count: int) -> None:
        """Join `model`; `program` has the weights as variables `first` to `first + count`."""
        place = Place(weakref.ref(model), program, first, count)
        living = [place if old.model() is model else old for old in self._places if old.model() is not None]
        self._places = living if place in living else [*living, place]
        self._weights = None

    def _detach(self, model: object) -> None:
        """Leave `model`, with a copy of the weights if no other has them."""
        rest = [place for place in self._places if place.model() not in (None, model)]
        if not rest:
            self._weights = self.get_weights()
        self._places = rest

    def _weight_at(self, index: int) -> Float32:
        """The weight of that number as it is now, read-only."""
        return self.weights[index]

    @property
    def _trainable_specs(self) -> list[Weight]:
        """What training changes."""
        return [weight for weight, learns in zip(self._specs, self._learns, strict=True) if learns]

    @property
    def _learns(self) -> list[bool]:
        return [self.trainable and weight.trainable for weight in self._specs]

    def _weight(self, index: int, name: str) -> Float32:
        if not self.built:
            raise self._not_built(name, AttributeError)
        return self.weights[index]

    def _not_built(self, action: str, error: type[Exception] = ValueError) -> Exception:
        return error(
            f"layer {self.name!r} has no weights yet, so no {action}: give its model an input shape or call "
            "model.build((None, features))"
        )
