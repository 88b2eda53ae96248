"""What every layer is: shapes, weights, and the core operations it turns into."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from engine import constraints, initializers, regularizers
from engine._base.checks import (
    Shape,
    fits,
    flag,
    float32_only,
    integer,
    label,
    shape,
    text_of_shape,
    without_batch,
)
from engine._base.cpp import Operation, build
from engine._base.random_state import next_sampling
from engine._base.spec import Registry, auto_name, snake_case
from engine._base.tensor_like import Tensor
from engine._data.array_conversion import readable, require_finite, sample_shape_of_none, shaped
from engine._data.lazy_rows import require_tokens
from engine.layers._custom import (
    CallArguments,
    CustomWeight,
    accepts,
    call_arguments,
    canonical,
    checked_output,
    default_of,
    given_mask,
    layer_within,
    refuse_overrides,
    shape_by_trial,
    shape_of_outputs,
    with_mask,
)
from engine.layers._hosts import LayerHost
from engine.layers._state import JOINING, Weight, asked
from engine.layers.symbols import KerasTensor, Linked, symbol_of

__all__ = ["JOINING", "MOST_TOKENS", "Layer", "LayerHost", "Weight", "asked", "get", "register"]

# Indices reach the core as float32, which holds every integer up to this.
MOST_TOKENS = 2**24


Build = Callable[[Any, tuple[Any, ...]], None]


def _once(build: Build) -> Build:
    """`build` of a layer as anyone may call it: it makes the weights that aren't there yet.

    The library calls what it wraps, and `super().build()` within that is such a call as well.
    """

    @functools.wraps(build)
    def build_once(self: Layer, input_shape: tuple[int | None, ...]) -> None:
        if self._built_by == threading.get_ident():
            build(self, input_shape)
        else:
            self._begun(without_batch(input_shape))

    return build_once


class Layer(Linked):
    """Base class of all layers, including custom layers written in NumPy.

    A custom layer creates its weights in `build` with `add_weight` and computes its outputs in `call`. To be
    trained it also needs `gradient`, which computes gradients: there is no automatic differentiation here, unlike
    in Keras. Attributes that `call` sets are available in `gradient`, even if a model uses the layer several times.

    Args:
        activity_regularizer: penalty on the outputs, divided by the batch size.
        trainable: whether training updates the weights. Assign it before `compile`.
        dtype: None or "float32", the only supported dtype.
        autocast: Ignored, as there is a single dtype.
        name: name of the layer, unique within a model; default the name of the class with a number.
        input_shape: shape of one input sample, for the first layer of a model.
        input_dim: the same as `input_shape=(input_dim,)`.
        batch_input_shape: `input_shape` with the batch axis before it.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> class Scale(keras.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")
        ...     def call(self, inputs):
        ...         return inputs * self.factor
        ...     def gradient(self, inputs, upstream):
        ...         return upstream * self.factor, np.sum(upstream * inputs, axis=0)
        >>> Scale()(np.ones((1, 2), "float32")).tolist()
        [[1.0, 1.0]]
    """

    # The model's config holds them.
    _unsaved_arguments: ClassVar[tuple[str, ...]] = (
        "autocast",
        "input_shape",
        "input_dim",
        "batch_input_shape",
    )
    _config_may_lack_arguments = True
    _unknown_argument_error: ClassVar[type[Exception]] = ValueError
    _tokens: int | None = None
    """Where inputs are indices: how many there are."""
    _only_moves_values = False
    """Whether outputs are inputs, at other places."""

    _training_by_default = False
    """What `training` is in a call of the layer that doesn't say, also in a model that is called so."""

    _samplings = 0

    _shape_arguments: CallArguments | None = None
    """What a layer of the user's was first called with on an Input(), beside that."""
    _seed_in_use: int | None = None
    """Of a layer that draws random numbers."""
    _built_by: int | None = None
    """The thread in which `build` of the user's makes the weights."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls):
            cls._training_by_default = default_of(cls.call, "training") is True
        if cls._lower is not Layer._lower:
            refuse_overrides(cls, "call", "build", "compute_mask")
        if "build" in vars(cls):
            cls.build = _once(cls.build)  # type: ignore[method-assign] # what Keras does as well

    def __init__(
        self,
        *,
        activity_regularizer: object = None,
        trainable: bool = True,
        dtype: object = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
    ) -> None:
        super().__init__(activity_regularizer)
        if input_dim is not None:
            input_shape = (integer(input_dim, "input_dim", 1),)
        if batch_input_shape is not None:
            input_shape = tuple(batch_input_shape)[1:]
        self._given_input_shape = None if input_shape is None else shape(input_shape, "input_shape")
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        self.trainable = trainable
        self.dtype = float32_only(dtype)
        flag(autocast, "autocast")
        if self._is_custom and type(self).compute_mask is not Linked.compute_mask:
            self.supports_masking = True

    # What the layers of the package say about themselves; shapes are those of one sample, without the batch axis.

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`; ValueError where that doesn't fit."""
        return (
            self._custom_output_shape(input_shape)
            if self._is_custom
            else super()._output_shape_for(input_shape)
        )

    def _weights_for(self, input_shape: Shape) -> list[Weight]:
        """The weights that inputs of `input_shape` need, in the order of `get_weights`."""
        if self._is_custom:
            self._build_for(input_shape)
            return self._specs
        return []

    def _lower(self, input_shape: Shape) -> list[Operation]:
        """The layer as the core reads it, for inputs of `input_shape`.

        An operation that works on rows, such as a product, works on the last axis.
        """
        if not self._is_custom:
            return []
        outputs = self._custom_output_shape(input_shape)
        variables = [
            {"shape": list(weight.shape), "trainable": weight.trainable, **asked(weight=weight)}
            for weight in self._specs
        ]
        operation = {"kind": "custom", "units": math.prod(outputs), "variables": variables, "groups": 1}
        return [operation | {"trainable": self.trainable, "host": LayerHost(ref(self), input_shape, outputs)}]

    def _lower_masked(self, input_shape: Shape, mask_shape: Shape) -> list[Operation] | None:
        """The layer as the core reads it where it is given a mask, of `mask_shape` for a sample; None for the same as without."""
        del input_shape, mask_shape
        return None

    def _operations_for(
        self, input_shape: Shape, lowered: Sequence[Operation] | None = None
    ) -> list[Operation]:
        """What `_lower` returns, or `lowered`, with the rows that a sample is made of."""
        rows = {} if len(input_shape) < 2 else {"groups": math.prod(input_shape[:-1])}  # noqa: PLR2004 # one row
        lowered = self._lower(input_shape) if lowered is None else lowered
        operations: list[Operation] = [rows | dict(operation) for operation in lowered]
        if self.activity_regularizer is None:
            return operations
        return [*operations, self._penalty_on_outputs(self._output_shape_for(input_shape))]

    # What a layer of your own says about itself; shapes have a batch axis of None.

    @_once
    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights. Custom layers override it and call `add_weight`.

        Args:
            input_shape: shape of the inputs, `(None, ...)`.

        Raises:
            ValueError: if the layer doesn't support such inputs, or is built for another shape.
        """

    def get_build_config(self) -> dict[str, Any] | None:
        """`{"input_shape": (None, ...)}`, for `build_from_config`; None before the layer is built."""
        return None if self._sample_shape is None else {"input_shape": (None, *self._sample_shape)}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Make the weights for what `get_build_config` returned.

        Args:
            config: with the key `input_shape`; None or empty does nothing.
        """
        if config:
            self.build(tuple(config["input_shape"]))

    def call(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """Computes the outputs for `inputs`. Custom layers override it.

        Args:
            inputs: float32 array (n, ...). It holds integers if the layer is called on an array of them, or if it is the
                first of a model whose `Input` has an integer dtype.
            args: `training` (bool) and `mask` (bool array (n, ...)), if the method of the subclass has these
                parameters, and the further arguments of the call. `gradient` gets those that it has parameters for.
            options: the same by keyword.

        Returns:
            An array (n, ...).
        """
        return self(inputs, *args, **options)

    def add_weight(  # noqa: PLR0917 # Keras' signature
        self,
        shape: Sequence[int] = (),
        initializer: object = None,
        dtype: object = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: object = None,
        constraint: object = None,
        aggregation: str = "none",
        name: str | None = None,
    ) -> CustomWeight:
        """Creates a weight. Call it in `build` or `__init__`.

        Args:
            shape: shape of the weight.
            initializer: initializer of the weight, default "glorot_uniform".
            dtype: None or "float32".
            trainable: whether training updates it. `gradient` must return a gradient for each trainable weight.
            autocast: Ignored, as there is a single dtype.
            regularizer: penalty on the weight.
            constraint: constraint on the weight, applied after every step.
            aggregation: Ignored. It is for distributed training.
            name: name of the weight; default its number.

        Returns:
            The weight. NumPy functions accept it as an array of its current values.
        """
        del autocast, aggregation
        float32_only(dtype)
        if self._places:
            msg = f"layer {self.name!r} is in a model already, so `add_weight` comes too late: call it in build() or __init__()"
            raise RuntimeError(msg)
        sizes = tuple(integer(size, "shape", 1) for size in shape)
        weight = Weight(
            name or str(len(self._specs)),
            sizes,
            initializers.get("glorot_uniform" if initializer is None else initializer),
            flag(trainable, "trainable"),
            regularizers.get(regularizer),
            constraints.of_a_row(constraints.get(constraint), sizes),
        )
        value = weight.start(self.name)
        self._specs.append(weight)
        self._weights = [*(self._weights or []), value]
        return CustomWeight(self, len(self._specs) - 1)

    def add_variable(  # noqa: PLR0917 # Keras' signature
        self,
        shape: Sequence[int],
        initializer: object,
        dtype: object = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: object = None,
        constraint: object = None,
        name: str | None = None,
    ) -> CustomWeight:
        """Another name of `add_weight`.

        Args:
            shape: shape of the weight.
            initializer: how it starts.
            dtype: None or "float32".
            trainable: whether training changes it.
            autocast: Ignored, as there is a single dtype.
            regularizer: penalty on the weight.
            constraint: constraint on the weight, applied after every step.
            name: for messages.
        """
        return self.add_weight(
            shape, initializer, dtype, trainable, autocast, regularizer, constraint, name=name
        )

    @property
    def _is_custom(self) -> bool:
        """Whether Python computes the layer."""
        return type(self).call is not Layer.call

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """Returns the outputs for `inputs`, or the symbolic output for a symbolic input.

        Args:
            inputs: samples (n, ...), or a symbolic input, as returned by `Input` or a layer. Custom layers get integers
                as integers.
            args: `training`: whether the layer behaves as in training. The default is False, but True for layers that
                augment images. If the input is symbolic, the model uses this value when it is called without
                `training`. `mask`: bool array (n, ...), False for timesteps to ignore, for layers that use masks; default
                the mask of the previous layer. Then what the `call` of a custom layer has as further parameters: arrays,
                numbers or other values. If the input is symbolic, the model passes them on in every batch.
            options: the same by keyword.

        Raises:
            TypeError: for arguments that the layer does not have.
            ValueError: for a symbolic input among `args` or `options`.
        """
        if not self._is_custom:
            unknown = ", ".join(repr(name) for name in options if name not in ("training", "mask"))
            if unknown:
                msg = f"layer {self.name!r} takes `training` and `mask` beside its inputs, got {unknown}: leave it out"
                raise TypeError(msg)
            return self._called_in_core(inputs, *args, **options)
        arguments = call_arguments(self, args, options)
        training, mask = arguments.pop("training", None), arguments.pop("mask", None)
        symbol = symbol_of(inputs)
        if symbol is not None and arguments:
            return self._recorded(symbol, training, arguments)
        if symbol is None:
            rows = shaped(inputs, np.shape(inputs)[1:], "inputs")
            if arguments or rows.dtype.kind != "f":
                return self._computed(inputs, rows, training, mask, arguments)
        return self._called_in_core(inputs, training, mask)

    def _computed(
        self, inputs: Any, rows: NDArray[Any], training: bool | None, mask: Any, arguments: CallArguments
    ) -> Tensor:
        """The outputs of a layer of the user's without the core, which has no integers and no other arguments."""
        noisy = self._training_by_default if training is None else flag(training, "training")
        given = canonical(rows)
        if given.dtype.kind == "f":
            require_finite(given, rows, "inputs")
        mask = given_mask(self, inputs, given.shape[:-1], mask)
        self._begun(given.shape[1:])
        masked_after = self.compute_mask(given, mask) if self.supports_masking else None
        with self._adding() as added:
            outputs = self._called(given, noisy, mask, arguments)
        self._added = added
        if self.activity_regularizer is not None:
            self._note_penalty(outputs)
        result: Tensor = canonical(outputs).view(Tensor).masked(masked_after)
        return result

    def _recorded(self, symbol: KerasTensor, training: bool | None, arguments: CallArguments) -> KerasTensor:
        """What the layer will give out, called with `arguments` in this use."""
        mode = None if training is None else flag(training, "training")
        first, self._shape_arguments = self._shape_arguments, arguments
        try:
            found = symbol.through(self, mode, arguments)
        finally:
            self._shape_arguments = first
        if first is None:
            self._shape_arguments = arguments
        elif (expected := self.compute_output_shape(symbol.shape)) != found.shape:
            msg = (
                f"layer {self.name!r} makes {expected} of {symbol.shape}, and with other arguments {found.shape}: take two "
                "layers"
            )
            raise ValueError(msg)
        return found

    def _called_in_core(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        noisy = self._training_by_default if training is None else flag(training, "training")
        symbol = symbol_of(inputs)
        if symbol is not None:
            return symbol.through(self, None if training is None else noisy)
        nothing = sample_shape_of_none(inputs, "inputs")
        if nothing is not None:
            self._begun(nothing)
            return np.zeros((0, *self._output_shape_for(nothing)), np.float32).view(Tensor)
        rows = readable(shaped(inputs, np.shape(inputs)[1:], "inputs"))
        require_tokens(rows, self._tokens, "inputs")
        mask = given_mask(self, inputs, rows.shape[:-1], mask)
        sample = rows.shape[1:]
        output_shape = self._output_shape_for(sample)
        operations = self._operations_for(sample)
        weights = self._begun(sample)
        masked_after = self.compute_mask(rows, mask) if self.supports_masking else None
        if mask is not None and self._reads_mask:
            rows, operations = with_mask(rows, mask, operations)
        program = build(math.prod(rows.shape[1:]), operations, weights)
        outputs = program.predict(rows, None, False, noisy, next_sampling(self) if noisy else 0)
        if noisy:  # running averages follow the batch
            for index, weight in enumerate(self._specs):
                if not weight.trainable:
                    self._set_weight(index, program.read_variables(index, 1)[0])
        shaped_outputs = outputs.reshape(len(rows), *output_shape)
        if self.activity_regularizer is not None:
            self._note_penalty(shaped_outputs)
        return shaped_outputs.view(Tensor).masked(masked_after)

    def __setattr__(self, name: str, value: object) -> None:
        if self._is_custom and isinstance(value, Layer):
            raise layer_within(type(self), name)
        super().__setattr__(name, value)

    def _build_for(self, sample: Shape) -> None:
        known = self._sample_shape
        if known is None:
            with JOINING:
                known = self._started_for(sample)
        if sample != known and self._specs and not fits(sample, known) and not fits(known, sample):
            msg = (
                f"layer {self.name!r} was built for {text_of_shape(known)} but gets "
                f"{text_of_shape(sample)}: make a new layer instead of moving this one"
            )
            raise ValueError(msg)

    def _started_for(self, sample: Shape) -> Shape:
        if self._sample_shape is not None:  # another thread was quicker
            return self._sample_shape
        count = len(self._specs)
        self._built_by = threading.get_ident()
        try:
            self.build((None, *sample))
        except BaseException:
            del self._specs[count:]
            self._weights = None if self._weights is None else self._weights[:count]
            raise
        finally:
            self._built_by = None
        self._weights = self._weights or []
        self._sample_shape = sample
        return sample

    def _custom_output_shape(self, sample: Shape) -> Shape:
        self._build_for(sample)
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            given = tuple(self.compute_output_shape((None, *sample)))
            return shape(given[1:], "compute_output_shape")
        masked = accepts(self.call, "mask")
        with self._adding():
            return shape_by_trial(lambda inputs: shape_of_outputs(self._called, inputs, masked), sample)

    def _called(
        self,
        inputs: NDArray[Any],
        training: bool,
        mask: NDArray[np.bool_] | None,
        arguments: CallArguments | None = None,
    ) -> NDArray[Any]:
        """What `call` gives; without `arguments` with those that the shape of the outputs is found with."""
        given = {"training": training, "mask": mask}
        options = {name: value for name, value in given.items() if accepts(self.call, name)}
        options |= (self._shape_arguments or {}) if arguments is None else arguments
        return checked_output(f"call() of layer {self.name!r}", self.call(inputs, **options), len(inputs))


_registry: Registry[Layer] = Registry("layer", Layer)
register = _registry.register
get = _registry.get
deserialize = _registry.deserialize
