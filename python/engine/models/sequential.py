"""`Sequential`, a model that is a list of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from engine._base.checks import WrongTypeError, flag, require
from engine._base.spec import auto_name
from engine.layers.part import Part
from engine.layers.symbols import Call, first_call_of
from engine.models.building import changing, enclosing_models, replace_layers, set_graph
from engine.models.functional_config import config_of_stack
from engine.models.layer_graph import LayerGraph
from engine.models.model import Model
from engine.models.stack import with_parts
from engine.models.wiring import chain_of

if TYPE_CHECKING:
    from typing_extensions import Self


class Sequential(Model):
    """A linear stack of layers: each layer gets the outputs of the layer before it.

    Args:
        layers: the layers from first to last; models may be among them. With an input shape (an `Input`, or
            `input_shape` of the first layer) the weights are created at once, otherwise by `build` or by the first
            data.
        trainable: whether training updates the weights. False leaves the layers' own `trainable` as it is.
        name: name of the model; default `sequential` with a number.

    Raises:
        TypeError: if an entry is not a layer or a model.
        ValueError: if the shapes of layers don't match, or two layers have the same name.

    Example:
        >>> import engine as keras
        >>> model = keras.Sequential([
        ...     keras.Input((4,)),
        ...     keras.layers.Dense(8, activation="relu"),
        ...     keras.layers.Dense(3, activation="softmax"),
        ... ])
        >>> model.count_params()
        67
        >>> model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    """

    _is_functional = False
    _is_sequential = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls):
            msg = (
                f"{cls.__name__} can't have a `call` of its own, as a Sequential calls one layer after the other: derive from Model, "
                "and make the layers attributes"
            )
            raise TypeError(msg)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Raises WrongTypeError for layers that are not in a list."""
        if cls.__init__ is Sequential.__init__ and args and isinstance(args[0], Part):
            msg = f"Sequential takes its layers in a list: write Sequential([first, second, ...]), got {args[0]!r} as `layers`"
            raise WrongTypeError(msg)
        return super().__new__(cls, *args, **options)

    def __init__(
        self, layers: Sequence[Any] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        self._begin(name)  # the constructor of Model takes inputs and outputs
        self._trainable = flag(trainable, "trainable")
        require(Iterable, layers, "layers", "a list of layers")
        first, parts = with_parts((), (), layers or [])
        graph = LayerGraph(input_layers=first, layers=parts, wiring=chain_of(len(parts)))
        set_graph(self, graph, None)
        self._count_as_functional()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Adds a layer at the end.

        Existing weights keep their values. Models that contain this one get the layer too.

        Args:
            layer: a layer or a model.
            rebuild: Ignored. A model with a known input shape always has its weights.

        Raises:
            ValueError: if the layer doesn't fit in this model or in a model that contains it. No model is changed
                then.
        """
        flag(rebuild, "rebuild")
        around = enclosing_models(self)
        with changing(self, around):
            if layer is self or (isinstance(layer, Model) and self in layer._models_within()):
                msg = f"model {self.name!r} can't be a part of itself: make another one with clone_model()"
                raise ValueError(msg)
            first, parts = with_parts(self._built_graph.input_layers, self._built_graph.layers, [layer])
            replace_layers(self, around, first, parts)
            self._count_as_functional()

    def pop(self, rebuild: bool = True) -> Any:
        """Removes the last layer and returns it with its weights. `rebuild` is ignored, as in `add`.

        Raises:
            ValueError: if there is no layer, or a model that contains this one needs it. No model is changed then.
        """
        flag(rebuild, "rebuild")
        around = enclosing_models(self)
        with changing(self, around):
            if not self._built_graph.layers:
                msg = f"model {self.name!r} has no layers to pop: add some with model.add()"
                raise ValueError(msg)
            layer = self._built_graph.layers[-1]
            replace_layers(self, around, self._built_graph.input_layers, self._built_graph.layers[:-1])
            self._count_as_functional()
            return layer

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Creates the weights.

        Args:
            input_shape: shape of the inputs with the batch axis first, such as `(None, 784)`. Not needed if the model
                knows it.

        Raises:
            ValueError: if the model already has another input shape, or has no layers.
        """
        before = self.built
        super().build(input_shape)
        if not before:
            self._count_as_functional()

    def _count_as_functional(self) -> None:
        """Takes a default name of functional models, so that those of later ones have the numbers that they have in Keras.

        Keras makes a functional model within a Sequential each time that it gets its layers.
        """
        if self.built:
            auto_name("functional")

    @property
    def layers(self) -> list[Any]:
        """The layers in order, without the input layer. A nested model is one entry."""
        return self._parts_in_order

    @property
    def _parts_in_order(self) -> list[Part]:
        return list(self._built_graph.layers)

    def _call_around(self) -> Call | None:
        for outer in self._outers:
            if outer._built_graph.input_layers:
                outer._symbols()  # a Sequential has no calls before it is asked for them
        return first_call_of(self)

    def _config_of_parts(self) -> dict[str, Any]:
        return config_of_stack(self.name, self._trainable, self._dtype_in_config, self._built_graph)

    @classmethod
    def _of_parts(cls, parts: Sequence[Part], name: str | None) -> Self:
        """Returns the Sequential of `parts`."""
        return cls(parts, name=name)


Model._sequential = Sequential
