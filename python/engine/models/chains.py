"""Models of layers: stacks, and chains from an input to an output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from engine._base.checks import config_of, flag, label, require
from engine._base.registered_objects import custom_object_scope
from engine._base.spec import auto_name, snake_case
from engine.layers import InputLayer, get
from engine.layers.symbols import symbol_of
from engine.models.described import Described
from engine.models.stack import shapes_through, with_parts
from engine.utils.serialization import (
    arguments_in,
    described_parts,
    deserialize_keras_object,
    identity_of,
    is_of_model,
    layers_in,
    modes_in,
    serialize_keras_object,
    sharing,
)

if TYPE_CHECKING:
    from typing_extensions import Self


class Model(Described):
    """A model made of layers. `Model(inputs, outputs)` is the chain of layers from `inputs` to `outputs`.

    Args:
        inputs: the symbolic input, as returned by `Input` or by a layer, such as `model.input`.
        outputs: the symbolic output: what the last layer returned when the chain of layers was called on `inputs`.
        name: name of the model; default `functional` with a number.
        options: the same arguments by keyword.
    """

    _is_chain: ClassVar = True
    """Whether configs tell what each layer is called on, as they do not for a Sequential."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """A Functional, where no class of one's own is asked for."""
        del args, options
        return cast("Self", object.__new__(cast("type[Any]", Functional if cls is Model else cls)))

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, **options: Any
    ) -> None:
        given = {"inputs": symbol_of(inputs), "outputs": symbol_of(outputs)}
        for argument, value in (("inputs", inputs), ("outputs", outputs)):
            if given[argument] is None:
                msg = (
                    f"`{argument}` must be what Input() or a layer called on it has returned, one of them, as models are "
                    f"chains of layers here; got {value!r}"
                )
                raise TypeError(msg)
        if options:
            msg = f"Model takes `inputs`, `outputs` and `name`, got {', '.join(map(repr, options))}"
            raise TypeError(msg)
        first, last = given["inputs"], given["outputs"]
        if first is None or last is None or not last.comes_from(first):
            msg = "`outputs` must come from `inputs`, an Input(), through layers alone: they belong to another one"
            raise ValueError(msg)
        super().__init__(auto_name(snake_case(type(self).__name__)) if name is None else label(name))
        start: Any = InputLayer(batch_shape=first.shape) if first.layers else first.start
        self._modes = last.modes[len(first.layers) :]
        self._arguments = last.arguments[len(first.layers) :]
        self._restack(*with_parts(start, [], last.layers[len(first.layers) :]), None)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("call", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"):
            if name in vars(cls):
                msg = (
                    f"{cls.__name__} can't have a `{name}` of its own, as the core runs the layers, a chain of them, and "
                    "their training: write a layer, a loss, a metric or a callback that does this; pass `inputs` and "
                    "`outputs` to super().__init__(), or derive from Sequential"
                )
                raise TypeError(msg)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs of the model for one batch. Calling the model calls this method.

        Args:
            inputs: one batch (n, ...), or a symbolic input.
            training: whether layers such as dropout behave as in training.
        """
        return self(inputs, training)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Creates a model from its config.

        Args:
            config: what `get_config` returned. If a subclass overrides `get_config` and its result lists no layers,
                the config holds the arguments of the constructor.
            custom_objects: dict from names to custom classes and functions.

        Raises:
            TypeError: if the constructor of the subclass doesn't accept these arguments.
        """
        given = config_of(config)
        if cls not in (Model, Sequential, Functional) and "layers" not in given:
            with custom_object_scope(custom_objects):
                return _made_by_its_own(cls, given)
        chain = Functional if "output_layers" in given else Sequential
        kind: type[Any] = chain if cls is Model else cls
        with custom_object_scope(custom_objects):
            parts = _parts_from_config(config)
            model = kind._of_parts(parts, config["name"], modes_in(config), arguments_in(config))
        model._trainable = flag(config.get("trainable", True), "trainable")
        return model

    @property
    def _parts_in_order(self) -> list[Any]:
        """Layers and models in the order in which they compute, the input layer first, one as often as it is used."""
        return [*([] if self._inputs is None else [self._inputs]), *self._layers]

    @property
    def layers(self) -> list[Any]:
        """The layers in order, input layer first, each listed once. A nested model is one entry."""
        return list(dict.fromkeys(self._parts_in_order))

    @property
    def output_names(self) -> list[str]:
        """A list with the name of the one output, which is the name of the last layer."""
        return [self.output.name]

    def get_config(self) -> dict[str, Any]:
        """Returns the name and the layers as plain Python values, without the weights, for `from_config`.

        A subclass with other constructor arguments may override this method and return those arguments by name.
        """
        return self._config_of_parts()

    def _config_of_parts(self) -> dict[str, Any]:
        """The config that tells the layers, whatever `get_config` of a class of one's own returns."""
        return _config_of_chain(self)

    @classmethod
    def _of_parts(
        cls,
        parts: Sequence[Any],
        name: str | None,
        modes: Sequence[bool | None],
        arguments: Sequence[Mapping[str, Any] | None],
    ) -> Self:
        """The chain of `parts` under this `name`: an input layer, then what is called on the output before it.

        Args:
            parts: the input layer, then layers and models.
            name: of the model.
            modes: the argument `training` of each call.
            arguments: what else each is called with beside its inputs, by name.
        """
        outputs = parts[0]
        for part, mode, given in zip(parts[1:], modes, arguments, strict=True):
            if given:
                outputs = part(outputs, training=mode, **given)
            else:
                outputs = symbol_of(outputs).through(part, mode)  # type: ignore[union-attr] # checked below
        # Classes derived from it may have arguments of their own.
        kind = cls if cls.__init__ is Model.__init__ else Functional
        return cast("Self", kind(parts[0], outputs, name))


class Sequential(Model):
    """A linear stack of layers: each layer gets the outputs of the layer before it.

    Args:
        layers: the layers from first to last; models may be among them. With an input shape (an `Input`, or
            `input_shape` of the first layer) the weights are created at once, otherwise by `build` or by the first
            data.
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

    _is_chain: ClassVar = False

    def __init__(self, layers: Sequence[Any] | None = None, *, name: str | None = None) -> None:
        # Model's own __init__ is for chains, which `inputs` and `outputs` define.
        Described.__init__(self, auto_name(snake_case(type(self).__name__)) if name is None else label(name))
        require(Iterable, layers, "layers", "a list of layers")
        self._restack(*with_parts(self._inputs, self._layers, layers or []), None)

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
        with self._changing() as around:
            if layer is self or (isinstance(layer, Model) and layer._holds(self)):
                msg = f"model {self.name!r} can't be a part of itself: make another one with clone_model()"
                raise ValueError(msg)
            inputs, stack = with_parts(self._inputs, self._layers, [layer])
            self._exchange(around, inputs, stack)

    def pop(self, rebuild: bool = True) -> Any:
        """Removes the last layer and returns it with its weights. `rebuild` is ignored, as in `add`.

        Raises:
            ValueError: if there is no layer, or a model that contains this one needs it. No model is changed then.
        """
        flag(rebuild, "rebuild")
        with self._changing() as around:
            if not self._layers:
                msg = f"model {self.name!r} has no layers to pop: add some with model.add()"
                raise ValueError(msg)
            layer = self._layers[-1]
            self._exchange(around, self._inputs, self._layers[:-1])
            return layer

    @property
    def _parts_in_order(self) -> list[Any]:
        """Layers and models in the order in which they compute, one as often as it is used."""
        return list(self._layers)

    @property
    def layers(self) -> list[Any]:
        """The layers in order, without the input layer. A nested model is one entry."""
        return self._parts_in_order

    def _config_of_parts(self) -> dict[str, Any]:
        return _config_of_stack(self.name, self._trainable, self._inputs, self._layers)

    @classmethod
    def _of_parts(
        cls,
        parts: Sequence[Any],
        name: str | None,
        modes: Sequence[bool | None] = (),
        arguments: Sequence[Mapping[str, Any] | None] = (),
    ) -> Self:
        """The stack of `parts`, layers and models, under this `name`; the rest has no effect on a stack."""
        del modes, arguments
        return cls(parts, name=name)


class Functional(Model):
    """A chain of layers from one input to one output, as created by `Model(inputs, outputs)`.

    Args:
        inputs: the symbolic input, as returned by `Input` or by a layer, such as `model.input`.
        outputs: the symbolic output, as returned by the last layer.
        name: name of the model; default `functional` with a number.
        options: none are accepted.

    Raises:
        TypeError: if `inputs` or `outputs` isn't symbolic.
        ValueError: if no chain of layers leads from `inputs` to `outputs`.

    Example:
        >>> import engine as keras
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(8, activation="relu")(inputs)
        >>> outputs = keras.layers.Dense(3, activation="softmax")(hidden)
        >>> keras.Model(inputs, outputs).count_params()
        67
    """

    # Where Keras looks for the class.
    _saved_as: ClassVar = {"module": "keras.src.models.functional", "registered_name": "Functional"}


def _made_by_its_own(cls: type[Any], config: Mapping[str, Any]) -> Any:
    """An object of a class of the user's, whose `get_config` returned `config`."""
    try:
        return cls(**config)
    except TypeError as error:
        msg = (
            f"{cls.__name__} can't be made from its config, {dict(config)}: let get_config() return the arguments of "
            f"__init__, or write a class method from_config(cls, config) that takes what it returns ({error})"
        )
        raise TypeError(msg) from error


def _config_of_stack(
    name: str, trainable: bool, inputs: InputLayer | None, stack: Sequence[Any]
) -> dict[str, Any]:
    """The config of a Sequential."""
    first = [] if inputs is None else [inputs]
    built = {} if inputs is None else {"build_input_shape": inputs.batch_shape}
    config = {"name": name, "trainable": trainable, "dtype": "float32"}
    return {**config, "layers": described_parts([*first, *stack]), **built}


def _config_of_chain(model: Any) -> dict[str, Any]:
    """The config of a chain: each layer tells what it is called on, and with which `training`, each time."""
    inputs, stack = cast(InputLayer, model._inputs), model._layers
    calls: dict[Any, list[Any]] = {part: [] for part in (inputs, *stack)}
    before: list[Any] = [inputs.name, 0, 0]
    samples = shapes_through(inputs.sample_shape, stack)
    for part, sample, mode, given in zip(stack, samples, model._modes, model._arguments, strict=False):
        place = {"shape": [None, *sample], "dtype": "float32", "keras_history": before}
        options = {key: serialize_keras_object(value) for key, value in (given or {}).items()}
        options |= {} if mode is None else {"training": mode}
        calls[part].append({"args": [{"class_name": "__keras_tensor__", "config": place}], "kwargs": options})
        before = [part.name, len(calls[part]) - 1, 0]
    layers = described_parts([*calls])
    for config, (part, nodes) in zip(layers, calls.items(), strict=True):
        config |= {"name": part.name, "inbound_nodes": nodes}
    before[1] += getattr((inputs, *stack)[-1], "_is_chain", False)  # which counts itself
    ends = {"input_layers": [inputs.name, 0, 0], "output_layers": before}
    return {"name": model.name, "trainable": model._trainable, "layers": layers, **ends}


def _parts_from_config(config: object) -> list[Any]:
    """The layers, and models in their place, of a model with that config, one as often as it is used.

    Raises:
        ValueError: if it is no such config.
    """
    parts = []
    with sharing() as made:
        for each in layers_in(config):
            known = identity_of(each)
            if known not in made:
                model = is_of_model(each)
                made[known] = deserialize_keras_object({"module": "keras"} | each) if model else get(each)
            parts.append(made[known])
    return parts
