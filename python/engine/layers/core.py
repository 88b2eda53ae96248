"""The layers of a plain multilayer perceptron: inputs, dense layers and activations."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from engine import activations, constraints, initializers, regularizers
from engine._base.checks import (
    Shape,
    WrongTypeError,
    dtype_of,
    flag,
    integer,
    name_of_dtype,
    only_default,
    real,
    require,
    text_of_shape,
)
from engine._core_interface.operations import DenseOperation, LayerOperation, activation_operation, extended
from engine._tracing.extents import FullShape
from engine._tracing.recordings import Recording, layer_operations, lowered_function, recording
from engine.layers._outputs import shape_by_trial
from engine.layers.hosts import FunctionHost, derivative_of
from engine.layers.input_spec import InputSpec
from engine.layers.layer import Layer, register
from engine.layers.part import Part
from engine.layers.symbols import KerasTensor, ModelSymbol
from engine.layers.variable import Variable
from engine.layers.weights import WeightSpec, penalty_and_constraint_fields

__all__ = ["Activation", "ActivityRegularization", "Dense", "Input", "InputLayer"]


class _ActivationOfLayer:
    """The attribute `activation`. What the argument `activation` may be can be assigned, also None for none.

    Calls use another activation at once. `fit`, `evaluate` and `predict` of a model that has run use it from its next `compile` on.
    """

    def __get__(self, layer: Layer | None, owner: type) -> Any:
        return self if layer is None else vars(layer)["activation"]

    def __set__(self, layer: Layer, activation: object) -> None:
        vars(layer)["activation"] = activation_within(layer, activation)


@register()
class Dense(Layer):
    """Fully connected layer: `activation(x @ kernel + bias)` over the last axis.

    Args:
        units: number of units (outputs), at least 1.
        activation: name of an activation, a function from `engine.activations`, or a layer such as `LeakyReLU`;
            None applies no activation.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernel (inputs, units).
        bias_initializer: initializer of the bias (units,).
        kernel_regularizer: penalty on the kernel, such as `"l2"` or `engine.regularizers.L2(1e-4)`.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the outputs, divided by the batch size.
        kernel_constraint: constraint on the kernel, applied after every step, such as `"non_neg"`.
        bias_constraint: constraint on the bias, applied after every step.
        lora_rank: must be None; low-rank adaptation is not supported.
        lora_alpha: must be None.
        quantization_config: must be None; quantization is not supported.
        options: arguments of every `Layer`, such as `name`, `trainable`, `input_shape` and `input_dim`.
    """

    activation = _ActivationOfLayer()
    supports_masking = True

    _unsaved_arguments = (*Layer._unsaved_arguments, "lora_rank", "lora_alpha")

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        units: int,
        activation: object = None,
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        kernel_regularizer: object = None,
        bias_regularizer: object = None,
        activity_regularizer: object = None,
        kernel_constraint: object = None,
        bias_constraint: object = None,
        lora_rank: None = None,
        lora_alpha: None = None,
        quantization_config: None = None,
        **options: Any,
    ) -> None:
        only_default(lora_rank, "lora_rank", None, "low-rank adaptation")
        only_default(lora_alpha, "lora_alpha", None, "low-rank adaptation")
        self.quantization_config = only_default(
            quantization_config, "quantization_config", None, "quantization"
        )
        self.units = integer(units, "units", 1)
        self.activation = activation
        self.use_bias = flag(use_bias, "use_bias")
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.input_spec = InputSpec(min_ndim=2)

    @property
    def kernel(self) -> Variable:
        """The kernel (inputs, units)."""
        return self._weight(0, "kernel")

    @property
    def bias(self) -> Variable | None:
        """The bias (units,); None if the layer has no bias."""
        return self._weight(1, "bias") if self.use_bias else None

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of the inputs, with `units` as the last axis."""
        require_axis(self, input_shape)
        return activated_shape(self.activation, (*input_shape[:-1], self.units))

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """The kernel, then the bias, then the weights of the activation."""
        shape = (input_shape[-1], self.units)
        kernel = WeightSpec(
            "kernel", shape, self.kernel_initializer, True, self.kernel_regularizer, self.kernel_constraint
        )
        bias = WeightSpec(
            "bias", (self.units,), self.bias_initializer, True, self.bias_regularizer, self.bias_constraint
        )
        own = [kernel, bias] if self.use_bias else [kernel]
        return [*own, *weight_specs_of_activation(self.activation, (*input_shape[:-1], self.units))]

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one dense operation, which includes the activation if the core knows it."""
        operation: DenseOperation = {
            "kind": "dense",
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_l2": 0.0,
            "bias_l2": 0.0,
            "trainable": self.trainable,
        }
        own = self._weight_specs_for(input_shape)[: 1 + self.use_bias]
        of_weights = penalty_and_constraint_fields(**{weight.name: weight for weight in own})
        operation = extended(operation, of_weights)
        if not activations.in_core(self.activation):
            shape = (*input_shape[:-1], self.units)
            return [operation, *lower_activation(self.activation, shape, self.trainable)]
        return [extended(operation, activations.lower(self.activation))]


@register()
class Activation(Layer):
    """Applies an activation function to its inputs.

    Args:
        activation: name of an activation, a function from `engine.activations`, or a layer such as `LeakyReLU`.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    activation = _ActivationOfLayer()
    supports_masking = True

    def __init__(self, activation: object, **options: Any) -> None:
        self.activation = activation
        self._built_at_once = not isinstance(self.activation, Layer)  # which may have weights
        super().__init__(**options)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The outputs have the shape of the inputs."""
        if self.activation in activations.BY_ROW:
            require_axis(self, input_shape)
        return activated_shape(self.activation, input_shape)

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """The weights of the activation, if it is a layer that has some."""
        return weight_specs_of_activation(self.activation, input_shape)

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Lowers to one activation."""
        return lower_activation(self.activation, input_shape, self.trainable)


@register()
class InputLayer(ModelSymbol, Layer):
    """The input of a model. It holds the shape of one sample.

    Args:
        shape: shape of one sample, without the batch axis, such as `(784,)` or `(28, 28)`. None stands for an axis
            whose length differs from
            batch to batch, such as `(None,)` for texts.
        batch_size: size of the batch axis in the symbolic shape. Batches of any size are accepted.
        dtype: dtype of the data. Data of any other real dtype is accepted, too. If it is an integer dtype, a custom first
            layer gets the integers as they are, as `IntegerLookup`, `Hashing` and `HashedCrossing` do with any dtype. Where other
            layers compute with integers, as float32, one that float32 would round is refused. "string" is for data of strings,
            which layers such as `StringLookup` and `TextVectorization` read.
        sparse: whether the samples are SciPy sparse matrices. The model accepts sparse and dense data in either case.
        ragged: must be False or None; all samples have one shape.
        batch_shape: shape with the batch axis, instead of `shape`.
        input_tensor: a symbolic tensor, `KerasTensor(...)`, that is to stand for the input, with the shape and the dtype.
        optional: must be False.
        name: name of the input; default `input_layer` with a number.
        options: `input_shape` or `input_dim`, as other ways to give `shape`.

    Raises:
        ValueError: if there is no shape or more than one, or `input_tensor` has another one or belongs to a model.
    """

    _unsaved_arguments = (
        *Layer._unsaved_arguments,
        "activity_regularizer",
        "shape",
        "batch_size",
        "input_tensor",
    )

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: object = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: object = None,
        optional: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if input_tensor is not None:
            batch_shape, dtype = _of_tensor(
                input_tensor,
                shape=shape,
                batch_size=batch_size,
                batch_shape=batch_shape,
                dtype=dtype,
                sparse=sparse,
            )
            shape = batch_size = None
        given = [
            name for name, value in (("shape", shape), ("batch_shape", batch_shape)) if value is not None
        ]
        if len(given) > 1 or (batch_shape is not None and batch_size is not None):
            msg = f"give either `shape` and `batch_size` or `batch_shape`, got {shape=}, {batch_size=}, {batch_shape=}"
            raise ValueError(msg)
        require(Sequence, batch_shape, "batch_shape", "a tuple such as (None, 784)")
        if batch_shape is not None:
            batch_size, *sample = tuple(batch_shape) or (None,)
            options["input_shape"] = tuple(sample)
        if shape is not None:
            options["input_shape"] = shape
        self.sparse = sparse is not None and flag(sparse, "sparse")
        self.ragged = only_default(bool(ragged), "ragged", False, "support for samples of different shapes")
        self.optional = only_default(optional, "optional", False, "a model without its input")
        super().__init__(name=name, dtype="float32", **options)
        if self._given_shape is None:
            msg = "`shape` is missing: give the shape of one sample, such as Input(shape=(784,))"
            raise ValueError(msg)
        self.sample_shape = self._given_shape
        self.batch_size = None if batch_size is None else integer(batch_size, "batch_size", 1)
        self.shape = self.batch_shape = (self.batch_size, *self.sample_shape)
        # Keras takes Python's types for the dtypes that it computes in.
        wanted = (
            "float32"
            if dtype is None or dtype is float
            else "int32"
            if dtype is int
            else name_of_dtype(dtype)
        )
        text = wanted is str or (isinstance(wanted, str) and wanted in ("string", "str"))
        self.dtype = "string" if text else dtype_of(wanted, "dtype").name
        tensor: Any = input_tensor
        self._tensor: KerasTensor = KerasTensor(self.batch_shape, self.dtype) if tensor is None else tensor
        self._tensor.start = self

    @property
    def input(self) -> KerasTensor:
        """The symbolic input of the model."""
        return self._as_tensor

    @property
    def output(self) -> KerasTensor:
        """The symbolic input of the model, which layers can be called on."""
        return self._as_tensor

    @property
    def _as_tensor(self) -> KerasTensor:
        return self._tensor


def _of_tensor(tensor: Any, **given: Any) -> tuple[Any, str]:
    """Returns shape and dtype of the argument `input_tensor`.

    Args:
        tensor: the argument.
        given: the arguments that may say the same.
    """
    if not isinstance(tensor, KerasTensor):
        msg = f"`input_tensor` must be a symbolic tensor such as KerasTensor((None, 784)), got {tensor!r:.80}"
        raise WrongTypeError(msg)
    if tensor._layer is not None:
        msg = f"`input_tensor` is a tensor of {tensor._layer!r} already: a model can begin with it as it is"
        raise ValueError(msg)
    batch, *sample = tensor.shape
    own = {
        "shape": tuple(sample),
        "batch_size": batch,
        "batch_shape": tensor.shape,
        "dtype": tensor.dtype,
        "sparse": False,
    }
    for name, value in given.items():
        if value is not None and own[name] != (tuple(value) if isinstance(own[name], tuple) else value):
            msg = f"`{name}` must be that of `input_tensor`, {own[name]!r}, or None; got {value!r}"
            raise ValueError(msg)
    return tensor.shape, tensor.dtype


def Input(  # noqa: N802, PLR0917 # Keras' name and signature
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: object = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: object = None,
    optional: bool = False,
) -> InputLayer:
    """Creates the symbolic input of a model.

    Args:
        shape: shape of one sample, without the batch axis, such as `(784,)` or `(28, 28)`. None stands for an axis
            whose length differs from
            batch to batch, such as `(None,)` for texts.
        batch_size: size of the batch axis in the symbolic shape. Batches of any size are accepted.
        dtype: dtype of the data. Data of any other real dtype is accepted, too. If it is an integer dtype, a custom first
            layer gets the integers as they are, as `IntegerLookup`, `Hashing` and `HashedCrossing` do with any dtype. Where other
            layers compute with integers, as float32, one that float32 would round is refused. "string" is for data of strings,
            which layers such as `StringLookup` and `TextVectorization` read.
        sparse: whether the samples are SciPy sparse matrices. The model accepts sparse and dense data in either case.
        ragged: must be False or None; all samples have one shape.
        batch_shape: shape with the batch axis, instead of `shape`.
        name: name of the input; default `input_layer` with a number.
        tensor: a symbolic tensor, `KerasTensor(...)`, that is to stand for the input, with the shape and the dtype.
        optional: must be False.

    Returns:
        An input layer, to call layers on or to put first into a `Sequential`.
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name)


def named_leaves(layers: Sequence[Part], root: str = "") -> Iterator[tuple[str, Layer]]:
    """Yields all layers but input layers, in the order in which they compute, with the names of the models around them.

    Args:
        layers: the parts of a model. Of a model among them, the layers within are yielded.
        root: prefix of all names.
    """
    for layer in layers:
        if not isinstance(layer, Layer):
            # An operation on symbols has no parts.
            yield from named_leaves(layer._parts_in_order, f"{root}{layer.name}/")
        elif not isinstance(layer, InputLayer):
            yield f"{root}{layer.name}", layer


def require_axis(layer: Layer, input_shape: Shape) -> None:
    """Raises ValueError if a sample is a single number."""
    if not input_shape:
        msg = (
            f"layer {layer.name!r} takes rows of numbers, (n, ..., features), but gets {text_of_shape(input_shape)}: "
            "write inputs of one sample as x[None], and inputs of one number each as x[:, None]"
        )
        raise ValueError(msg)


def activated_shape(activation: Any, shape: Shape) -> Shape:
    """Returns the shape of one sample after an activation, as returned by `activations.get`."""
    known = activations.in_core(activation) or isinstance(activation, Layer)
    if known:
        return shape

    def shape_for(inputs: Shape) -> Shape:
        found = recorded_activation(activation, inputs)
        return FunctionHost(activation, inputs).output_shape() if found is None else found.shapes[0]

    return shape_by_trial(shape_for, shape)


def recorded_activation(function: Any, shape: Shape) -> Recording | None:
    """Returns what a function of one array records for samples of `shape`.

    None is returned if it can't be recorded, or has a derivative that was written by hand.
    """
    if derivative_of(function) is not None:
        return None
    try:
        found = recording(function, [shape], ["float32"])
        lowered_function(found)
    except Exception:  # the function may do anything
        return None
    return None if isinstance(found.shapes[0], FullShape) else found


def function_operations(function: Any, shape: Shape) -> list[LayerOperation]:
    """Returns the operations for an activation function, which Python computes if it can't be recorded."""
    if activations.in_core(function):
        return [activation_operation(activations.lower(function))]
    found = recorded_activation(function, shape)
    if found is not None:
        nodes, _ = lowered_function(found)
        return layer_operations(nodes)  # type: ignore[return-value] # nodes
    host = FunctionHost(function, shape)
    units = math.prod(host.output_shape())
    return [{"kind": "custom", "units": units, "variables": [], "host": host, "groups": 1}]


def activation_within(layer: Layer, activation: object) -> Any:
    """Returns what the argument `activation` of a layer stands for.

    Raises:
        ValueError: if it is a layer with weights, and the activation of another layer already.
    """
    found = activations.get(activation)
    if isinstance(found, Layer) and type(found)._weight_specs_for is not Layer._weight_specs_for:
        other = None if found._activated is None else found._activated()
        if other is not None:
            msg = f"{found!r}, which has weights, is the activation of {other!r} already: make one for each layer"
            raise ValueError(msg)
        found._activated = weakref.ref(layer)
    return found


def weight_specs_of_activation(activation: Any, shape: Shape) -> list[WeightSpec]:
    """Returns the weights of an activation for samples of `shape`: those of a layer such as `PReLU`, or none."""
    if not isinstance(activation, Layer):
        return []
    return [
        weight._replace(name=f"{activation.name}/{weight.name}")
        for weight in activation._weight_specs_for(shape)
    ]


def lower_activation(activation: Any, shape: Shape, trainable: bool) -> list[LayerOperation]:
    """Returns the operations for an activation, as returned by `activations.get`.

    Args:
        activation: the activation.
        shape: the shape of one sample.
        trainable: whether training updates the weights of the layer whose activation it is.
    """
    if not isinstance(activation, Layer):
        return function_operations(activation, shape)
    if activation._output_shape_for(shape) != shape:
        msg = f"{activation!r} can't be an activation, as it changes shapes: put it after as a layer"
        raise ValueError(msg)
    lowered = activation._lower(shape)
    if trainable:
        return lowered
    frozen: list[Any] = [{**each, "trainable": False} if "trainable" in each else each for each in lowered]
    return frozen


@register()
class ActivityRegularization(Layer):
    """Returns its inputs unchanged and adds a penalty on them to the loss.

    The penalty is `l1 * sum(abs(x)) + l2 * sum(x**2)`, divided by the batch size.

    Args:
        l1: factor of the L1 penalty, at least 0.
        l2: factor of the L2 penalty, at least 0.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    supports_masking = _built_at_once = True

    _unsaved_arguments = (*Layer._unsaved_arguments, "activity_regularizer")

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any) -> None:
        self.l1 = real(l1, "l1", 0.0)
        self.l2 = real(l2, "l2", 0.0)
        super().__init__(activity_regularizer=regularizers.L1L2(self.l1, self.l2), **options)
