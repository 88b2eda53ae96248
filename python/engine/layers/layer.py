"""`Layer`, the base class of all layers."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import constraints, initializers, regularizers, tree
from engine._base.checks import (
    REAL,
    Shape,
    fits,
    flag,
    float32_only,
    integer,
    label,
    of_integers,
    seed_or_none,
    shape,
    text_of_shape,
    without_batch,
)
from engine._base.constructor_arguments import arguments_by_name, is_plain, plain_arguments
from engine._base.locks import Lock, Order
from engine._base.random_state import next_sampling, next_seed
from engine._base.registered_objects import is_of_engine, overrides
from engine._base.spec import Registry, Spec, auto_name, snake_case
from engine._base.tensor_like import Tensor, mask_of
from engine._core_interface.cpp import (
    Float32,
    Operation,
    Program,
    WeightArray,
    build,
    instances_within,
    new_arrays,
    read_weights,
    write_arrays,
)
from engine._core_interface.operations import (
    ActivityRegularizationOperation,
    CustomVariable,
    LayerOperation,
    extended,
    variable_node,
)
from engine._data.array_conversion import readable, sample_shape_of_empty, shaped
from engine._data.lazy_rows import require_tokens
from engine._tracing.errors import CannotRecordError, NeedsValuesError
from engine._tracing.extents import FullShape, full_shape
from engine._tracing.lazy import (
    RecordedArray,
    apply_pending_changes,
    on_trial,
    prepare_for_change,
    recorded_inputs,
    recorded_masks,
    trace_for,
)
from engine._tracing.recordings import numbered, recording, shapes_by_trial, with_tried_length
from engine._tracing.symbolic import (
    Slot,
    Symbolic,
    apply,
    contains,
    contains_symbolic,
    current,
    filled_slots,
    mapped,
    outside_of_traces,
    sequence_like,
)
from engine._tracing.trace import as_traced
from engine.dtype_policies import FLOAT32
from engine.dtype_policies import get as policy_of
from engine.layers._outputs import (
    SeveralOutputsError,
    checked_output,
    scalar,
    shape_by_trial,
    shape_of_outputs,
)
from engine.layers.call_arguments import (
    accepts,
    call_arguments,
    canonical,
    default_of,
    require_no_symbols,
    training_argument,
    training_of,
    within_call,
)
from engine.layers.hosts import CustomLayerHost, PenaltyHost, with_mask
from engine.layers.input_spec import InputSpec, require_compatible
from engine.layers.leaf import Leaf
from engine.layers.part import Part, is_name_of_library, paths_within
from engine.layers.recorded_calls import (
    NO_PARTS,
    RecordedCalls,
    arrays_in,
    parts_in,
    samples_in,
    shapes_in,
    shapes_of_arrays,
    symbols_and_slots,
)
from engine.layers.symbols import CallArguments, KerasTensor, called_on, first_call_of, symbols_of
from engine.layers.variable import Variable, own_variables
from engine.layers.weights import (
    IN_TRAINING,
    MOST_WEIGHTS,
    WeightSpec,
    checked_weights,
    penalty_and_constraint_fields,
)
from engine.metrics.metric import Metric

if TYPE_CHECKING:
    from typing_extensions import Self

# The largest number of tokens. Indices reach the core as float32, which holds every integer up to this.
MOST_TOKENS = 2**24


# The arguments of `add_loss` in calls that are running, by the id of the layer. Each thread has its own dict.
_losses_in_calls: ContextVar[Mapping[int, list[float]]] = ContextVar("_losses_in_calls", default={})  # noqa: B039 # it is never changed

Build = Callable[[Any, tuple[Any, ...]], None]


class ModelOfLayer(Protocol):
    """A model, as its layers know it."""

    @property
    def layers(self) -> list[Part]:
        """The layers in order. A nested model is one entry."""

    def _symbols_at(self, layer: Part) -> tuple[Sequence[KerasTensor], Sequence[KerasTensor]]:
        """The symbolic inputs and outputs of the first call of the layer in the model."""


def _building_once(build: Build) -> Build:
    """Wraps `build` of a layer class, so that a call by a user creates only weights that aren't there yet.

    The library runs the wrapped function itself while it builds the layer, and so does `super().build()` in it.
    """

    @functools.wraps(build)
    def build_once(self: Layer, *shapes: Any, **by_name: Any) -> None:
        if self._built_by == threading.get_ident():
            build(self, *shapes, **by_name)
        else:
            self._build_for_user(inspect.signature(build), shapes, by_name)

    return build_once


def _specs_of(shapes: Any) -> Any:
    """Returns a symbolic tensor for each shape in a structure of them, which may also be a single shape."""
    if isinstance(shapes, dict):
        return {name: _specs_of(each) for name, each in shapes.items()}
    if any(isinstance(each, (list, tuple, dict)) for each in shapes):
        return sequence_like(shapes, map(_specs_of, shapes))
    return KerasTensor(tuple(shapes))


def _shapes_within(shapes: Any) -> list[Any]:
    """Returns the shapes in a structure of them, which may also be a single shape or None."""
    if isinstance(shapes, dict):
        return [shape for each in shapes.values() for shape in _shapes_within(each)]
    if isinstance(shapes, (list, tuple)) and any(isinstance(each, (list, tuple, dict)) for each in shapes):
        return [shape for each in shapes for shape in _shapes_within(each)]
    return [] if shapes is None else [shapes]


class Layer(Part, Leaf, Spec):
    """Base class of all layers, including custom layers.

    A custom layer creates its weights in `build` with `add_weight`, and computes its outputs in `call`, by operators,
    `keras.ops`, NumPy and the layers that it has as attributes. `call` is run once with symbols and recorded, so that the core
    computes and differentiates it. What needs numbers, such as a branch on values, runs in Python in every batch; to be trained,
    the layer then needs a method `gradient`, which computes gradients. A `gradient` that is written by hand is always
    used. Attributes that `call` sets are available in it, even if a model uses the layer several times.

    Args:
        activity_regularizer: penalty on the outputs, divided by the batch size.
        trainable: whether training updates the weights. Assign it before `compile`.
        dtype: a dtype policy or its name: "float32", "mixed_bfloat16" or "mixed_float16"; None is the policy that
            `engine.config.set_dtype_policy` has set. It says how a GPU multiplies for the layer; weights and outputs are float32
            in any case. A custom layer may name an integer dtype, as for indices, which is what its attribute `dtype` then says.
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
        >>> Scale()(np.ones((1, 2), "float32")).tolist()
        [[1.0, 1.0]]
    """

    input_spec: InputSpec | Sequence[InputSpec] | None = None
    """What inputs the layer accepts. Layers of the library check their inputs themselves."""

    _library_class: ClassVar[type[Layer] | None] = None
    """The layer of the library that a class of the user derives from, if it has a `call` of its own."""
    _library_layer: Layer | None = None
    """A layer of that class, which `super().call` runs."""

    # The model's config holds these.
    _unsaved_arguments: ClassVar[tuple[str, ...]] = (
        "autocast",
        "input_shape",
        "input_dim",
        "batch_input_shape",
    )
    _config_may_lack_arguments = True
    _unknown_argument_error: ClassVar[type[Exception]] = ValueError

    _built_at_once = False
    """Whether `built` is True from the start, as for many layers without weights in Keras."""
    _merges_inputs = False
    """Whether a call takes a list of inputs."""
    _moves_averages = False
    """Whether a call in training changes moving averages of the layer."""
    _further_call_arguments: ClassVar[tuple[str, str]] = ("training", "mask")
    """The arguments of a call after the inputs, in Keras' order, of a layer of the library."""
    _masks_statistics = False
    """Whether masked timesteps don't contribute to the statistics that the layer computes in training."""
    _seed_in_use: int | None = None
    """The seed of a layer that draws random numbers."""
    _samplings = 0
    """The number of calls so far that drew random numbers."""
    _shape_arguments: CallArguments | None = None
    """The arguments of the first symbolic call of a custom layer; the shape of its outputs is found with them."""
    _activated: weakref.ref[Layer] | None = None
    """The layer whose activation this one is, if it has weights."""
    _built_by: int | None = None
    """The thread in which `build` is running."""
    _weights: list[Variable] | None
    """The weights, whose memory programs of models and functions use, too; None before they are created."""
    _containing_models: list[weakref.ref[ModelOfLayer]]
    """The models that compute with the layer."""
    _constructed_with: Mapping[str, Any] = MappingProxyType({})
    """The arguments of the constructor of a user's class."""
    _has_operations: ClassVar[bool] = False
    """Whether the core has operations for the class: it is a layer of the library, or derives from one."""
    _takes_scalars = False
    """Whether samples are often single numbers, so that a shape of one axis given to `build` is that of a batch."""
    _built_for_any_shape = False
    """Whether `build` was called with None in place of a shape, so that the layer takes inputs of every shape."""

    # Construction.

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._has_operations = (
            next(filter(is_of_engine, cls.__mro__)) is not Layer or cls._lower is not Layer._lower
        )
        if cls._lower is not Layer._lower:
            own = overrides(cls, "call") or overrides(cls, "build")
            if own and cls._weight_specs_for is Layer._weight_specs_for:
                _compute_in_python(cls)
            _refuse_overrides(cls, "call", "build", "compute_mask")
        if "build" in vars(cls):
            cls.build = _building_once(cls.build)  # type: ignore[method-assign] # what Keras does as well

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Notes the arguments for the config if the class is the user's, whose constructor may create weights first of all."""
        made = super().__new__(cls, *args, **options)
        if not is_of_engine(cls):
            made._constructed_with = arguments_by_name(cls, args, options)
        made._weights, made._containing_models = None, []
        return made

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
        self._build_lock = Lock("a layer that is being built", Order.OBJECT)
        self._sample_shape: Shape | None = None  # of the inputs, once it is known
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._added: list[float] = []  # the arguments of `add_loss` in the last call, or batch
        self._penalties: list[float] = []  # on the outputs of the last call
        self._recorded_calls = RecordedCalls(self)
        # If a network uses the layer several times: the attributes that `call` assigned, by the number of the use.
        self._kept: dict[int, dict[str, Any]] = {}
        if input_dim is not None:
            input_shape = (integer(input_dim, "input_dim", 1),)
        if batch_input_shape is not None:
            input_shape = tuple(batch_input_shape)[1:]
        self._given_shape = None if input_shape is None else shape(input_shape, "input_shape")
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)
        self.trainable = trainable
        integers = of_integers(dtype) if self._is_by_call else None
        self._dtype_policy = FLOAT32 if integers else policy_of(dtype)
        self.dtype = integers or self.variable_dtype
        self.autocast = flag(autocast, "autocast")
        if self._has_own_mask:
            self.supports_masking = True
        if not is_of_engine(type(self)):
            self._own_names = frozenset((*vars(self), "_own_names"))

    def __setattr__(self, name: str, value: object) -> None:
        private = name.startswith("_")
        if current.get() is not None or (private and self._is_own_name(name)):
            super().__setattr__(name, value)
            return
        of_user = not self._is_by_operations
        if of_user and not private:
            self._adopt_variables(value)
        before = self.__dict__.get(name, self)
        super().__setattr__(name, value)
        calls = self.__dict__.get("_recorded_calls")
        # What was recorded may depend on it. The properties of the library's layers, such as `trainable`, note changes themselves.
        if calls is not None and before is not value and (of_user or name in self.__dict__):
            calls.clear()
            self._note_change()

    def _is_own_name(self, name: str) -> bool:
        """Whether a private attribute is one of the library, and not one that the class of a user has."""
        own = self.__dict__.get("_own_names")
        return own is None or name in own or is_name_of_library(type(self), name)

    def _adopt_variables(self, value: object) -> None:
        """Makes the variables in an attribute weights of this layer, if they belong to none."""
        for variable in instances_within(value, Variable):
            if variable._layer_or_none is None and not variable._is_view:
                if self._is_in_model:
                    msg = f"layer {self.name!r} is in a model already, so that {variable!r} comes too late: create it in __init__() or build()"
                    raise RuntimeError(msg)
                before = self._weights or []
                variable._adopt(self, len(before))
                self._weights = [*before, variable]

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has its own weights, with the present values, and is in no model."""
        state = {**self.__dict__, "_containing_models": [], "_kept": {}}
        state["_weights"] = None if self._weights is None else (self._weights, self._own_values)
        state["_activated"] = None if self._activated is None else self._activated()
        return state

    def __copy__(self) -> Self:
        return copy.deepcopy(self)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_weights"] is not None:
            self._weights, values = state["_weights"]
            for weight, array in zip(self._weights, new_arrays(values), strict=True):
                weight._array = array
        if state["_activated"] is not None:
            self._activated = weakref.ref(state["_activated"])

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    @property
    def metrics(self) -> list[Any]:
        """The metrics that are attributes of the layer, or in lists and dicts of them, and those of layers within it."""
        return instances_within([vars(self), *holders_of_metrics(self._parts())], Metric)

    # Weights: creation.

    @_building_once
    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights. Custom layers override it and call `add_weight`.

        Args:
            input_shape: shape of the inputs, `(None, ...)`.

        Raises:
            ValueError: if the layer doesn't support such inputs, or is built for another shape.
        """

    @property
    def built(self) -> bool:
        """True if the weights have been created, or if there will be none."""
        return self._has_weights or (self._built_at_once and type(self).build is Layer.build)

    @built.setter
    def built(self, value: bool) -> None:
        """Does nothing. `build` methods of Keras set it; here it follows from the weights."""

    @property
    def _has_weights(self) -> bool:
        return self._weights is not None

    @property
    def _specs(self) -> list[WeightSpec]:
        return [variable._spec for variable in self._weights or ()]

    @property
    def _arrays(self) -> list[WeightArray]:
        """The memory of the weights."""
        return [variable._array for variable in self._weights or ()]  # type: ignore[misc] # those of a layer are such

    @property
    def _is_in_model(self) -> bool:
        """Whether the programs of a model use the weights."""
        return any(model() is not None for model in self._containing_models)

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
    ) -> Variable:
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
            The weight.

        Raises:
            RuntimeError: if a model has the layer already.
            ValueError: if the layer is built already, as it is when `call` runs.
        """
        del autocast, aggregation
        float32_only(dtype)
        if self._is_in_model:
            msg = f"layer {self.name!r} is in a model already, so `add_weight` comes too late: call it in build() or __init__()"
            raise RuntimeError(msg)
        if self._sample_shape is not None and self._built_by is None:
            msg = (
                f"layer {self.name!r} is built already, so `add_weight` comes too late: call it in build() or __init__(), and "
                "not in call(), which runs several times"
            )
            raise ValueError(msg)
        sizes = tuple(integer(size, "shape", 1) for size in shape)
        weight = WeightSpec(
            name or str(len(self._weights or ())),
            sizes,
            initializers.get("glorot_uniform" if initializer is None else initializer),
            flag(trainable, "trainable"),
            regularizers.get(regularizer),
            constraints.of_a_row(constraints.get(constraint), sizes),
        )
        before = self._weights or []
        (array,) = new_arrays([weight.start(self.name)], self._arrays)
        made = Variable._of(self, len(before), weight, array)
        self._weights = [*before, made]
        return made

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
    ) -> Variable:
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

    def _ensure_arrays_for(self, input_shape: Shape | None) -> list[WeightArray]:
        """Creates the weights if they aren't there, by `build` of a user's layer, and returns their memory.

        Args:
            input_shape: of the inputs. None is the shape for a layer that is built, and whose weights nodes read.
        """
        with self._build_lock.held(), outside_of_traces():
            wanted = self._fitting_weights_for(input_shape)
            if self._weights is None:
                self._weights = own_variables(
                    self, wanted, new_arrays([weight.start(self.name) for weight in wanted])
                )
            changed = False
            for variable, weight in zip(self._weights, wanted, strict=True):
                changed = changed or variable._spec[IN_TRAINING] != weight[IN_TRAINING]
                variable._spec = weight
            if changed:
                self._note_change()
            is_new = self._sample_shape is None or not fits(input_shape or (), self._sample_shape)
            if input_shape is not None and is_new:
                self._sample_shape = input_shape
            return self._arrays

    def _fitting_weights_for(self, input_shape: Shape | None) -> list[WeightSpec]:
        """Returns `_weight_specs_for(input_shape)`; ValueError if the current weights have other shapes."""
        if input_shape is not None:
            require_compatible(self.input_spec, (None, *input_shape), self.name)
        wanted = self._specs if input_shape is None else self._weight_specs_for(input_shape)
        for weight in wanted:
            if None in weight.shape:
                msg = (
                    f"layer {self.name!r} would need a {weight.name} of shape {weight.shape} for inputs "
                    f"{text_of_shape(input_shape or ())}: the length of this axis must be known. Give Input() a number instead "
                    "of None, or put a GlobalAveragePooling1D() before the layer"
                )
                raise ValueError(msg)
            if math.prod(weight.shape) > MOST_WEIGHTS:
                msg = f"layer {self.name!r} would need a {weight.name} of shape {weight.shape}: over 2**40 numbers"
                raise ValueError(msg)
        arrays = self._weights
        if arrays is not None and len(arrays) != len(wanted):
            has, needs = (", ".join(each.name for each in named) for named in (self._specs, wanted))
            msg = (
                f"layer {self.name!r} has the weights {has}, but with its settings of now it would have {needs}: which weights "
                "a layer has is decided when it is made, so make a new layer"
            )
            raise ValueError(msg)
        for weight, array in zip(wanted, arrays or (), strict=False):
            if weight.shape != array.shape:
                msg = (
                    f"layer {self.name!r} has a {weight.name} of shape {array.shape} but would need "
                    f"{weight.shape} here; make a new layer instead of moving this one"
                )
                raise ValueError(msg)
        return wanted

    # `build` of a user's layer runs once, whoever asks for it first: the user, a call on arrays, or a call that is recorded.

    def _build_for_user(
        self, signature: inspect.Signature, shapes: Sequence[Any], by_name: Mapping[str, Any]
    ) -> None:
        """Does what a user asks for by `build(*shapes, **by_name)`: creates the weights, unless they are there."""
        arguments = [*signature.bind_partial(self, *shapes, **by_name).arguments.values()]
        given: Any = arguments[1] if len(arguments) > 1 else ()
        by_operations = self._is_by_operations
        needs_shape = any(each.default is each.empty for each in [*signature.parameters.values()][1:2])
        if (given == () and needs_shape) or (given is None and by_operations):
            msg = f"build() of layer {self.name!r} needs `input_shape`, the shape of its inputs, such as (None, 784)"
            raise TypeError(msg)
        given = (None,) if given == () else given
        several = isinstance(given, dict) or (
            given and all(isinstance(each, (list, tuple)) for each in given)
        )
        samples = [self._sample_of(each) for each in _shapes_within(given)]
        if not by_operations and (several or given is None or len(shapes) + len(by_name) > 1):
            self._run_build_of_user(samples[0] if samples else (), lambda: self.build(*shapes, **by_name))
            self._built_for_any_shape = given is None
        elif several:
            self._build_for_inputs(samples)
        else:
            self._ensure_arrays_for(samples[0])

    def _build_for_samples(self, samples: Sequence[Any], arguments: CallArguments | None = None) -> None:
        """Runs `build` for a call that is recorded, with the shapes of the symbols among its arguments."""
        if isinstance(samples[0], tuple) and not isinstance(samples[0], FullShape):
            require_compatible(self.input_spec, (None, *samples[0]), self.name)
        arguments = self._recorded_calls.arguments(samples, arguments)
        shapes, others = shapes_in(arguments, samples)
        if isinstance(shapes, tuple) and shapes == (None, *samples[0]) and not others:
            self._build_for_sample(samples[0])
        elif self._sample_shape is None:
            self._run_build_of_user(samples[0], lambda: self._call_build_of_user(shapes, others))

    def _build_for_arrays(self, arrays: Any, arguments: Mapping[str, Any]) -> None:
        """Runs `build` for a call on arrays, with the shapes of those among its arguments."""
        if self._sample_shape is None:
            shapes = shapes_of_arrays(arrays)
            others = {
                name: shapes_of_arrays(each) for name, each in arguments.items() if contains(each, np.ndarray)
            }
            self._run_build_of_user(samples_in(arrays)[0], lambda: self._call_build_of_user(shapes, others))
        elif isinstance(arrays, np.ndarray) and not self._parts() and not contains(arguments, np.ndarray):
            self._build_for_sample(arrays.shape[1:])  # what layers within can take is for them to say

    def _build_for_sample(self, sample: Shape) -> None:
        """Runs `build` for a call with one input; ValueError if it has run for another shape."""
        if self._sample_shape is None:
            self._run_build_of_user(sample, lambda: self._call_build_of_user((None, *sample), {}))
        if self._built_for_any_shape:
            self._sample_shape = sample
        known = self._sample_shape or ()
        if sample != known and self._specs and not fits(sample, known) and not fits(known, sample):
            msg = (
                f"layer {self.name!r} was built for {text_of_shape(known)} but gets "
                f"{text_of_shape(sample)}: make a new layer instead of moving this one"
            )
            raise ValueError(msg)

    def _call_build_of_user(self, shapes: Any, others: Mapping[str, Any]) -> None:
        """Calls `build` with the shapes of the arguments of a call.

        One parameter of `build` is for the first argument. Several are for the arguments whose names they have, with
        "_shape" behind, as in Keras.

        Args:
            shapes: those in the first argument.
            others: those in the other arguments, by name.

        Raises:
            ValueError: if a parameter has another name.
        """
        parameters = [*inspect.signature(self.build).parameters.values()]
        names = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        if len(names) == 1:
            self.build(shapes)
            return
        known = [*inspect.signature(self.call).parameters]
        found = {f"{name}_shape": each for name, each in {known[0]: shapes, **others}.items()}
        for name in names:
            if name.removesuffix("_shape") not in known or not name.endswith("_shape"):
                msg = (
                    f"build() of layer {self.name!r} has the argument {name!r}, but of several arguments each must have the "
                    f"name of an argument of call() with '_shape' behind, such as '{known[0]}_shape'"
                )
                raise ValueError(msg)
        build: Callable[..., None] = self.build
        build(**{name: found[name] for name in names if name in found})

    def _run_build_of_user(self, sample: Shape, build: Callable[[], None]) -> None:
        """Runs the user's `build`, unless it has run. If it raises, the layer has the weights that it had before.

        Args:
            sample: the shape of one sample of the first input.
            build: calls it with the shapes that it takes.
        """
        with self._build_lock.held():
            if self._sample_shape is not None:  # another thread was faster
                return
            before = len(self._weights or ())
            self._built_by = threading.get_ident()
            try:
                with outside_of_traces(), self._naming_parts():
                    build()
            except BaseException:
                self._weights = None if self._weights is None else self._weights[:before]
                raise
            finally:
                self._built_by = None
            self._weights = self._weights or []
            self._sample_shape = sample

    def _sample_of(self, shape: Any) -> Shape:
        """Returns the shape of one sample for a shape that `build` got."""
        alone = self._takes_scalars and isinstance(shape, (list, tuple)) and len(shape) == 1
        return () if alone else without_batch(shape)

    def _not_built(self, action: str, error: type[Exception] = ValueError) -> Exception:
        return error(
            f"layer {self.name!r} has no weights yet, so no {action}: give its model an input shape or call "
            "model.build((None, features))"
        )

    # Layers within.

    @contextmanager
    def _naming_parts(self) -> Iterator[None]:
        """Gives paths to the layers within that are not built before the block; if that raises, takes them back."""
        before = self._parts()
        with paths_within(
            self.path, [part for part in before if part._path is None and not part._has_weights]
        ):
            yield
        for part in self._parts():
            if part not in before and part._path is None:  # the block has made it
                part._move_path(f"{self.path}/{part.name}")

    @property
    def _attributes_of_user(self) -> Mapping[str, Any] | None:
        return {name: value for name, value in dict(vars(self)).items() if name not in NO_PARTS}

    def _parts(self) -> Sequence[Part]:
        """The layers and models in the attributes of a custom layer, each once, in the order in which they were set."""
        return () if self._is_by_operations else parts_in(vars(self), Part)

    @property
    def _may_make_mask(self) -> bool:
        return self._makes_mask or self._has_own_mask or super()._may_make_mask

    @property
    def _layers_of_weights(self) -> list[Layer]:
        parts = self._parts()
        if not parts:
            return [self]
        inner = [layer for part in parts for layer in part._layers_of_weights]
        return list(dict.fromkeys([self, *inner]))

    # Weights: reading and writing.

    @property
    def weights(self) -> list[Variable]:
        """The weights, with those of layers within; empty before the layer is built."""
        return [weight for layer in self._layers_of_weights for weight in layer._weights or ()]

    @property
    def _own_values(self) -> list[Float32]:
        """The values of the weights without those of layers within, as read-only arrays."""
        return read_weights(self._arrays)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`.

        Raises:
            ValueError: if the number of arrays or a shape differs. The weights are unchanged then.
        """
        rest = iter(self._checked(weights))
        for layer in self._layers_of_weights:
            layer._set_own_values([*islice(rest, len(layer._weights or ()))])

    def _stored_arrays(self) -> list[WeightArray]:
        """Returns the weights for functions, stored as the operations of the layer need them."""
        arrays = self._arrays
        if not all(array.is_stored for array in arrays):  # building a program stores them
            if self._is_by_call:
                flat = not self._recorded_calls.has_recorded
                Program.function([variable_node(weight.shape, flat) for weight in self._specs], [], 1, arrays)
            else:
                sample = self._sample_shape or ()
                build(math.prod(sample), numbered(self._operations_for([sample])), arrays)
        return arrays

    def _set_own_values(self, values: list[Float32]) -> None:
        prepare_for_change((self,))
        write_arrays(self._arrays, values)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Writes the weights into `store`, a dict, under the keys "0", "1", ..., trainable ones first.

        A custom layer may override this and `load_own_variables` to save more.
        """
        apply_pending_changes()
        weights = self._own_values
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
            values = [weights[index] for index in range(len(order))]
            self._set_own_values(checked_weights(values, [spec.shape for spec in specs], self.name))

    def _weight(self, index: int, name: str) -> Variable:
        """Returns weight number `index`; AttributeError before it is created."""
        if self._weights is None:
            raise self._not_built(name, AttributeError)
        return self._weights[index]

    def _require_own_weights(self, what: str, weight: str) -> None:
        """Checks that a variable of the layer may change other than in its values.

        Raises:
            AttributeError: if the layer is one of the library.
        """
        if not self._is_by_call:
            instead = (
                "trainable` of the layer" if what == "trainable" else f"{weight}_{what}` of the constructor"
            )
            msg = f"`{what}` of a weight of layer {self.name!r} can't be assigned: use `{instead}"
            raise AttributeError(msg)

    @property
    def _weight_names(self) -> list[str]:
        """The names of the weights, such as `kernel`."""
        return [weight.name for weight in self._specs]

    @property
    def _variable_names(self) -> list[str]:
        """The names of layer and weight, such as `dense/kernel`, in the order of `save_own_variables`."""
        return [f"{self.name}/{self._specs[index].name}" for index in self._saved_order]

    @property
    def _saved_order(self) -> list[int]:
        """The numbers of the weights in the order of Keras' files: trainable ones first."""
        count = len(self._specs) if self.built else 0
        return sorted(range(count), key=lambda index: not self._specs[index].trainable)

    @property
    def _trainable_specs(self) -> list[WeightSpec]:
        """The weights that training updates."""
        return [weight for weight in self._specs if self.trainable and weight.trainable]

    # Weights: in models.

    def _note_containing_model(self, model: ModelOfLayer) -> None:
        """Notes that a model computes with the layer."""
        living = [each for each in self._containing_models if each() is not None]
        self._containing_models = (
            living if model in [each() for each in living] else [*living, weakref.ref(model)]
        )

    def _forget_containing_model(self, model: ModelOfLayer) -> None:
        """Notes that a model computes with the layer no longer."""
        self._containing_models = [each for each in self._containing_models if each() not in {None, model}]

    def _renew_arrays(self) -> None:
        """Copies the weights into arrays that no program uses, so that the next program may be on another device."""
        if self._weights is not None:
            for weight, array in zip(self._weights, new_arrays(self._own_values), strict=True):
                weight._array = array
            self._note_change()

    # Calls: on symbols, on arrays, and while a gradient tape records.

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
        if self._library_class is not None:  # a `call` of the user's asks for that of the base class
            if self._library_layer is None:
                names = set(inspect.signature(self._library_class).parameters) - {
                    *self._unsaved_arguments,
                    "name",
                }
                arguments = {name: getattr(self, name) for name in names if hasattr(self, name)}
                self._library_layer = self._library_class(**arguments)
            return self._library_layer(inputs, *args, **options)
        return self(inputs, *args, **options)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Returns the outputs for inputs, or the symbolic output for a symbolic input.

        Args:
            args: `inputs`, the first argument of `call`: samples (n, ...), or a symbolic input, as returned by `Input` or
                a layer. Custom layers get integers as integers. `training`: whether the layer behaves as in training. The
                default is False, but True for layers that augment images. If the input is symbolic, the model uses this value
                when it is called without `training`. `mask`: bool array (n, ...), False for timesteps to ignore, for layers that use masks; default
                the mask of the previous layer. Then what the `call` of a custom layer has as further parameters: arrays,
                numbers or other values. If the input is symbolic, the model passes them on in every batch.
            options: the same by keyword.

        Raises:
            TypeError: for arguments that the layer does not have.
            ValueError: for a symbolic input among `args` or `options`.
        """
        inputs, *args = args or [self._inputs_by_name(options)]  # type: ignore[assignment] # a list is as good
        inputs = recorded_inputs(inputs, self)
        while_recording = current.get() is None and contains(inputs, RecordedArray)
        arguments = self._arguments_of_call(args, options)
        training, mask = training_of(arguments.pop("training", None)), arguments.pop("mask", None)
        if not while_recording and (
            contains_symbolic([inputs, mask, arguments])
            if self._may_be_recorded
            else contains(inputs, Symbolic)
        ):
            return self._call_on_symbols(inputs, training, mask, arguments)
        if training is None:  # for symbols, their model decides
            training = self._training_default
        if while_recording:
            return self._call_while_recording(inputs, training, mask, arguments)
        return self._call_on_arrays(inputs, training, mask, arguments)

    def _inputs_by_name(self, options: dict[str, Any]) -> Any:
        """Removes the first argument of `call`, which was given by its name, from the others, and returns it."""
        name = next(iter(inspect.signature(self.call).parameters), "inputs")
        if name not in options:
            msg = f"layer {self.name!r} must be called on its inputs, the argument `{name}`"
            raise TypeError(msg)
        return options.pop(name)

    def _arguments_of_call(self, args: Sequence[Any], options: Mapping[str, Any]) -> CallArguments:
        """Returns the arguments of a call beside the inputs, by name."""
        if self._is_by_call:
            return call_arguments(self.name, self.call, args, options)
        if not self._is_by_operations:
            msg = f"{type(self).__name__} has no `call`: give it `def call(self, inputs)`, which returns the outputs"
            raise NotImplementedError(msg)
        names = self._further_call_arguments
        positions = dict(zip(names, args, strict=False))
        unknown = [*map(repr, args[len(names) :]), *(repr(name) for name in options if name not in names)]
        twice = [repr(name) for name in options if name in positions]
        if unknown or twice:
            msg = (
                f"layer {self.name!r} takes `{names[0]}` and `{names[1]}` beside its inputs, each once, got the unknown or "
                f"second argument {', '.join(unknown + twice)}: leave it out"
            )
            raise TypeError(msg)
        return CallArguments({**positions, **options})

    # Each of the three ways gets the arguments `training` and `mask` of the call, and the others in `arguments`.

    def _call_on_symbols(
        self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments
    ) -> Any:
        """Returns symbols for the outputs: the call becomes part of the graph, or of the trace, of the symbols in it."""
        if self._may_be_recorded:
            return self._record_call(inputs, training, mask, arguments)
        require_no_symbols(self.name, arguments)
        symbols: Sequence[Any] = symbols_of(inputs) or tree.flatten(inputs)
        self._require_one_input(symbols)
        symbol = symbols[0]._as_tensor
        if mask is not None:
            trace = getattr(symbol, "trace", None)
            if trace is None and not contains(mask, Symbolic):
                msg = (
                    f"`mask` of layer {self.name!r} must be symbolic as the inputs are, got an array of shape {np.shape(mask)}: "
                    "make it an Input() of the model"
                )
                raise TypeError(msg)
            symbol = Part._with_mask([symbol, mask if trace is None else as_traced(mask, trace)])
        return (
            self._call_with_arguments(symbol, training, arguments)
            if arguments
            else called_on(self, [symbol], training)[0]
        )

    def _call_on_arrays(self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments) -> Any:
        """Returns the outputs for arrays: Python computes them by `call`, or else a program of this layer alone."""
        no_samples = sample_shape_of_empty(inputs, "inputs")
        if no_samples is not None:
            self._ensure_arrays_for(no_samples)
            self._penalties = [] if self.activity_regularizer is None else [0.0]
            return np.zeros((0, *self._output_shape_for(no_samples)), np.float32).view(Tensor)
        if self._is_by_call:
            outputs, masked = self._outputs_of_call(inputs, training, mask, arguments)
        else:
            outputs, masked = self._outputs_of_program(inputs, training, mask)
        self._note_penalty(outputs)
        return outputs.masked(masked) if isinstance(outputs, Tensor) else outputs

    def _call_while_recording(
        self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments
    ) -> Any:
        """Returns the outputs for recorded arrays, as recorded arrays.

        They are symbols for the layer. But Python code that can't be recorded without values, or that adds to the loss, runs
        with the arrays.
        """
        trace = trace_for(inputs)
        if trace is not None:  # the masks belong to this batch, as the inputs do
            mask = recorded_masks(mask, inputs, trace)
        outputs = self._outputs_while_recording(inputs, training, mask, arguments)
        self._note_penalty(outputs)
        return outputs

    # On symbols.

    def _record_call(self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments) -> Any:
        """Returns symbols for the outputs of a `call` that is recorded. Any of the arguments may hold symbols."""
        if mask is not None:
            arguments["mask"] = mask
        symbols, slots = symbols_and_slots(inputs, arguments)
        self._recorded_calls.note(len(symbols), slots)
        if slots is not None and not contains(slots, Slot) and slots.inputs == Slot(0):
            self._shape_arguments = self._shape_arguments or slots
        samples = [symbol._sample for symbol in symbols]
        outputs = called_on(self, symbols, training, slots)
        found = self._recording_for(with_tried_length(samples), training, slots)
        return outputs[0] if found is None else found.with_outputs(outputs)

    def _call_with_arguments(
        self, symbol: KerasTensor, training: bool | None, arguments: CallArguments
    ) -> KerasTensor:
        """Returns the symbolic output of a layer whose `gradient` is written by hand, called on `symbol` with `arguments`."""
        first, self._shape_arguments = self._shape_arguments, arguments
        try:
            found: KerasTensor = called_on(self, [symbol], training, arguments)[0]
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

    # On arrays.

    def _outputs_of_program(self, inputs: Any, training: bool | None, mask: Any) -> tuple[Tensor, Any]:
        """Returns the outputs for an array, computed by a program of this layer alone, and their mask."""
        rows = readable(shaped(inputs, np.shape(inputs)[1:], "inputs"))
        require_tokens(rows, self._indices_below, "inputs")
        mask = self._given_mask(inputs, rows.shape[:-1], mask)
        sample = rows.shape[1:]
        output_shape = self._output_shape_for(sample)
        operations = self._operations_for([sample])
        arrays = self._ensure_arrays_for(sample)
        masked_after = self.compute_mask(rows, mask) if self.supports_masking else None
        noisy = bool(training)
        if mask is not None and self._masks_statistics and noisy:
            self._require_features_last(rows.ndim)
        if mask is not None and self._reads_mask:
            rows, operations = with_mask(rows, mask, operations)
        program = build(math.prod(rows.shape[1:]), numbered(operations), arrays)
        if noisy:
            prepare_for_change((self,))
        outputs = program.predict(rows, None, False, noisy, next_sampling(self) if noisy else 0)
        return outputs.reshape(len(rows), *output_shape).view(Tensor), masked_after

    def _outputs_of_call(
        self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments
    ) -> tuple[Any, Any]:
        """Returns the outputs of `call` for arrays, and their mask."""
        require_no_symbols(self.name, arguments)
        masked_after = None
        if self._may_be_recorded and isinstance(inputs, (list, tuple, dict)):
            arrays = arrays_in(inputs)
            mask = mask_of(inputs) if mask is None else mask
        else:
            arrays = canonical(shaped(inputs, np.shape(inputs)[1:], "inputs"))
            require_compatible(self.input_spec, arrays.shape, self.name)
            mask = self._given_mask(inputs, arrays.shape[:-1], mask)
            if mask is not None:  # for the layers that it calls
                arrays = arrays.view(Tensor).masked(mask)
        self._build_for_arrays(arrays, arguments)
        if isinstance(arrays, np.ndarray) and self.supports_masking:
            masked_after = self.compute_mask(arrays, mask)
        return tree.map_structure(
            _as_user_tensor, self._run_call_of_user(arrays, training, mask, arguments)
        ), masked_after

    def _run_call_of_user(
        self, inputs: Any, training: bool | None, mask: Any, arguments: Mapping[str, Any]
    ) -> Any:
        """Returns what `call` returns for arrays, recorded or not, and notes what it adds to the loss."""
        options = {**arguments, **training_argument(self.call, training)}
        if accepts(self.call, "mask"):
            options["mask"] = mask
        with self._adding() as added, within_call(training):
            outputs = self.call(inputs, **options)
        self._added = added
        return outputs

    def _given_mask(self, inputs: Any, rows: tuple[int, ...], mask: Any) -> NDArray[np.bool_] | None:
        """Returns the mask of inputs in a call: `mask`, or else the mask that `inputs` carry.

        Args:
            inputs: of the call.
            rows: the shape of the mask.
            mask: the argument of the call.
        """
        if mask is None:
            mask = mask_of(inputs)
        elif not self._reads_mask:
            msg = f"layer {self.name!r} takes no `mask`, as its outputs are the same with one: leave it out"
            raise TypeError(msg)
        if mask is None:
            return None
        if not self.supports_masking:
            self._warn_of_lost_mask()
        if self._consumes_mask:
            self._require_features_last(len(rows) + 1)
        array: NDArray[np.bool_] = np.asarray(mask, bool)
        if self._masks_statistics and array.ndim == len(rows):
            with suppress(ValueError):  # the message below says what doesn't fit
                array = np.broadcast_to(array, rows)
        if array.shape != rows:
            msg = f"`mask` must have shape {rows}, one for each row of the inputs, got {array.shape}"
            raise ValueError(msg)
        return array

    def _require_features_last(self, axes: int) -> None:
        """Raises ValueError unless the features are on the last one of so many `axes`, of which a mask covers the others."""
        if not self._has_features_last(axes):
            msg = (
                f"layer {self.name!r} has its features on another axis than the last one, for which masks are left out: put a "
                "Permute() before it"
            )
            raise ValueError(msg)

    def _warn_of_lost_mask(self) -> None:
        """Warns, in Keras' words, that the layer ignores masks."""
        msg = (
            f"Layer '{self.name}' (of type {type(self).__name__}) was passed an input with a mask attached to it. "
            "However, this layer does not support masking and will therefore destroy the mask information. "
            "Downstream layers will not see the mask."
        )
        warnings.warn(msg, stacklevel=3)

    # While a tape records.

    def _outputs_while_recording(
        self, inputs: Any, training: bool | None, mask: Any, arguments: CallArguments
    ) -> Any:
        """Returns the outputs for recorded arrays without noting the penalty on them."""
        if not self._is_by_call:
            return self._call_on_symbols(inputs, training, mask, arguments)
        symbols, slots = symbols_and_slots(inputs, arguments)
        samples = [symbol._sample for symbol in symbols]
        self._build_for_samples(samples, slots)
        known_mask = mask_of(inputs) if mask is None else mask
        if self.activity_regularizer is None:
            if not self._may_be_recorded and len(symbols) == 1:
                options = {"training": bool(training), **({} if known_mask is None else {"mask": known_mask})}
                return self._call_with_custom_gradient(symbols[0], {**arguments, **options})
            with suppress(Exception):  # `call` raises it again
                found = self._recording_for(samples, training, slots)
                if found is not None and found.loss is None:
                    return self._call_on_symbols(inputs, training, mask, arguments)
        return self._run_call_of_user(inputs, training, known_mask, arguments)

    def _call_with_custom_gradient(self, inputs: Any, arguments: Mapping[str, Any]) -> Any:
        """Records `call` with the gradient that is written by hand.

        Args:
            inputs: a symbol of a traced function.
            arguments: of the call.
        """
        weights = [weight._weight_in(inputs.trace) for weight in self._weights or () if weight.trainable]
        gradient: Callable[..., Any] = self.gradient  # type: ignore[attr-defined] # users write it
        options = {name: value for name, value in arguments.items() if accepts(self.call, name)}

        def called(x: Any, *_: Any) -> tuple[Any, Callable[[Any], Any]]:
            accepted = CallArguments({"mask": None, **arguments}).accepted_by(gradient)
            return self.call(x, **options), lambda upstream: gradient(x, upstream, **accepted)

        try:
            return apply("custom_gradient", (called, (inputs, *weights), {}), {})
        except CannotRecordError as error:
            msg = f"a gradient tape can't record layer {self.name!r}, whose `gradient` is written by hand: {error}"
            raise TypeError(msg) from error

    # What networks get: `call` is recorded by running it with symbols, or runs in Python for each batch.

    @property
    def _may_be_recorded(self) -> bool:
        """Whether `call` is recorded: it is Python, and its gradient isn't written by hand."""
        return self._is_by_call and getattr(self, "gradient", None) is None

    @property
    def _has_own_mask(self) -> bool:
        """Whether Python computes the mask of the outputs."""
        return self._is_by_call and type(self).compute_mask is not Layer.compute_mask

    def _recording_by_masks(self, samples: Sequence[Any], sources: Sequence[int | None]) -> Any:
        """Returns what a layer records that merges several inputs by their masks: the output, and its mask if it has one.

        None is returned if masks have no influence on the numbers, and the mask of the outputs is that of all inputs.

        Args:
            samples: the shape of one sample of each input.
            sources: which mask each of them has, or None.
        """
        del samples, sources
        return None  # a value

    @property
    def _takes_mask(self) -> bool:
        return self._may_be_recorded and accepts(self.call, "mask")

    def _recording_for(
        self,
        samples: Sequence[Any],
        training: bool | None,
        arguments: CallArguments | None,
        masked: bool = False,
    ) -> Any:
        if not samples or not self._may_be_recorded:
            return None
        try:
            self._build_for_samples(samples, arguments)
            if self._has_own_mask:  # Python computes the layer if it has to compute the mask
                self._recorded_calls.mask_recording(
                    samples, arguments, [masked] + [False] * (len(samples) - 1)
                )
            return self._recorded_calls.recording(samples, training, arguments, masked)
        except Exception:
            if len(samples) > 1 or self._parts():
                raise
            return None  # Python computes it in every batch

    def _recording_with_custom_gradient(
        self, samples: Sequence[Any], training: bool | None, arguments: Any
    ) -> Any:
        """Returns what a layer records whose gradient is written by hand; None for others.

        Args:
            samples: the shape of one sample of each input.
            training: the argument `training` of the call.
            arguments: the further arguments.
        """
        if not self._is_by_call or self._may_be_recorded or len(samples) != 1:
            return None
        own = bool(self._training_default if training is None else training)
        options = {**(arguments or {}), "training": own}
        return recording(lambda x: self._call_with_custom_gradient(x, options), samples, ["float32"])

    @property
    def _why_not_recorded(self) -> str:
        error = self._recorded_calls.last_error
        return "" if error is None else f". Or let `call` be recorded, which failed: {error}"

    def _checked_call(
        self,
        inputs: NDArray[Any],
        training: bool,
        mask: NDArray[np.bool_] | None,
        arguments: CallArguments | None = None,
    ) -> NDArray[Any]:
        """Returns the outputs of `call`, checked; the default of `arguments` is those of the first symbolic call."""
        known = {"training": training, "mask": mask}
        options = {name: value for name, value in known.items() if accepts(self.call, name)}
        options |= (self._shape_arguments or {}) if arguments is None else arguments
        with within_call(training):
            outputs = self.call(inputs, **options)
        return checked_output(f"call() of layer {self.name!r}", outputs, len(inputs))

    # What a call would return: its mask, shapes and symbols.

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Returns the mask of the outputs, bool (n, ...), or None if nothing is masked.

        `inputs` are (n, ..., features), `previous_mask` is their mask, bool (n, ...) or None.
        """
        del inputs
        return None if self._consumes_mask else previous_mask

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both `(None, ...)`."""
        if not (self._is_by_call or self._is_by_operations):
            msg = f"{type(self).__name__} has neither `call` nor `compute_output_shape`: give it one of them"
            raise NotImplementedError(msg)
        batch, *rest = input_shape
        return (batch, *self._output_shape_for(shape(rest, "input_shape")))

    def compute_output_spec(self, *args: Any, **options: Any) -> Any:
        """Returns the shapes and dtypes of the outputs: symbolic tensors that belong to no graph.

        A layer of the user's with a method `compute_output_shape` isn't called: that method says the shapes.

        Args:
            args: the arguments of a call, with symbolic tensors such as `KerasTensor((None, 784))` in place of arrays.
            options: the same by keyword.
        """
        tells_shapes = not is_of_engine(type(self).compute_output_shape)
        if not tells_shapes or self._is_by_operations or len(args) != 1 or options:
            return super().compute_output_spec(*args, **options)
        return _specs_of(self.compute_output_shape(mapped(lambda each: tuple(each.shape), args[0])))

    @property
    def input(self) -> Any:
        """The symbolic input of the layer in its model, or a list of them; before that, of its first call.

        Raises AttributeError if it is in no model and has not been called on symbolic inputs.
        """
        found = self._symbols("input")[0]
        return found[0] if len(found) == 1 else list(found)

    @property
    def output(self) -> KerasTensor:
        """The symbolic output of the layer in its model; before that, of its first call.

        Raises AttributeError if it is in no model and has not been called on symbolic inputs.
        """
        return self._symbols("output")[1][0]

    def _symbols(self, what: str) -> tuple[Sequence[KerasTensor], Sequence[KerasTensor]]:
        for reference in self._containing_models:
            model = reference()
            if model is not None and any(layer is self for layer in model.layers):
                return model._symbols_at(self)
        call = first_call_of(self)
        if call is not None:
            return call.inputs, call.outputs
        msg = f"layer {self.name!r} is in no model with an input shape, and thus has no defined {what}"
        raise AttributeError(msg)

    # What the layer adds to the loss.

    def add_loss(self, loss: Any) -> None:
        """Adds a term to the loss of this batch. Call it in `call`; a `gradient` of the layer must then include its gradient.

        Args:
            loss: a number, or a list of numbers; in a traced function symbols, of which the sum of all numbers is added.
        """
        parts = loss if isinstance(loss, (list, tuple)) else [loss]
        trace = current.get()
        if trace is not None:
            trace.losses += [as_traced(part, trace) for part in parts]
            return
        _losses_in_calls.get().get(id(self), self._added).extend(
            part.sum()
            if contains(part, RecordedArray)
            else scalar(part, f"`loss` of add_loss() in layer {self.name!r}")
            for part in parts
        )

    @property
    def _losses_of_call(self) -> list[float]:
        return [*self._penalties, *self._added]

    @property
    def _losses_of_weights(self) -> list[float]:
        return [
            weight.regularizer(weight.value)
            for weight in self._weights or ()
            if weight.regularizer and weight.trainable
        ]

    @contextmanager
    def _adding(self) -> Iterator[list[float]]:
        """Collects the arguments of `add_loss` within the block, in this thread."""
        added: list[float] = []
        token = _losses_in_calls.set({**_losses_in_calls.get(), id(self): added})
        try:
            yield added
        finally:
            _losses_in_calls.reset(token)

    def _note_penalty(self, outputs: Any) -> None:
        """Stores the penalties on the `outputs` of a call, one array (n, ...) or several, recorded or not, for `losses`."""
        regularizer = self.activity_regularizer
        if regularizer is None:
            return
        self._penalties = []
        for each in tree.flatten(outputs):
            penalty: Any = regularizer(each)
            if not isinstance(penalty, RecordedArray):
                penalty = scalar(penalty, f"`activity_regularizer` of layer {self.name!r}")
            self._penalties.append(penalty / float(len(each)))

    # Config.

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments as plain Python values.

        Of a class of the user's that doesn't override this method, they are the attributes of the same names, or else the
        values that the constructor got.

        Raises:
            NotImplementedError: if such a value is no plain one.
        """
        config = super().get_config()
        if is_of_engine(type(self).get_config):
            config |= self._arguments_beside(config)
        if self.activity_regularizer is None:  # as in Keras
            config.pop("activity_regularizer", None)
        if config.get("dtype") == self.variable_dtype:  # and not that of integers
            config["dtype"] = self._dtype_in_config
        return config

    def _arguments_beside(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of the constructor of a user's class that aren't plain attributes, which `config` has."""
        arguments = {
            name: value
            for name, value in self._constructed_with.items()
            if name not in {*self._unsaved_arguments, *self._older_arguments}
            and not is_plain(config.get(name, self))
        }
        missing = {name: value for name, value in arguments.items() if name not in config or is_plain(value)}
        return plain_arguments(type(self), missing)

    def get_build_config(self) -> dict[str, Any] | None:
        """`{"input_shape": (None, ...)}`, for `build_from_config`; None before the layer is built."""
        return None if self._sample_shape is None else {"input_shape": (None, *self._sample_shape)}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Creates the weights for the result of `get_build_config`.

        Args:
            config: with the key `input_shape`; None or empty does nothing.
        """
        if config:
            self.build(tuple(config["input_shape"]))

    # Hooks: what a built-in layer says about itself to models and to the core. Shapes are those of one sample.

    @property
    def _is_by_call(self) -> bool:
        """Whether the layer is computed by its method `call`, which is recorded or runs in Python."""
        return type(self).call is not Layer.call

    @property
    def _is_by_operations(self) -> bool:
        """Whether operations of the core compute it. Those of the user without `call` are computed by neither."""
        return self._has_operations and not self._is_by_call

    @property
    def _training_default(self) -> bool | None:
        default = default_of(self.call, "training") if self._is_by_call else None
        return default if isinstance(default, bool) else None

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        if not samples:  # its weights are what it computes
            return [()]
        if self._may_be_recorded:
            self._build_for_samples(samples)
            if self._recording_for(with_tried_length(samples), None, None) is not None:
                return shapes_by_trial(lambda tried: self._recording_for(tried, None, None).shapes, samples)
        return super()._output_shapes_for(samples)

    @property
    def _output_count(self) -> int:
        return self._recorded_calls.outputs if self._is_by_call else 1

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        if self._may_be_recorded:
            self._build_for_samples(samples)
        else:
            super()._build_for_inputs(samples)

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """Returns the shape of one output for one input of shape `input_shape`; ValueError if that doesn't fit."""
        return self._custom_output_shape(input_shape) if self._is_by_call else input_shape

    def _weight_specs_for(self, input_shape: Shape) -> list[WeightSpec]:
        """Returns the weights that inputs of `input_shape` need, in the order of `get_weights`."""
        if self._is_by_call:
            self._build_for_sample(input_shape)
            return self._specs
        return []

    def _lower(self, input_shape: Shape) -> list[LayerOperation]:
        """Returns the core operations that compute the layer for inputs of `input_shape`.

        An operation that works on rows, such as a product, works on the last axis.
        """
        if not self._is_by_call:
            return []
        outputs = self._custom_output_shape(input_shape)
        variables = [
            extended(
                CustomVariable(shape=list(weight.shape), trainable=weight.trainable),
                penalty_and_constraint_fields(weight=weight),
            )
            for weight in self._specs
        ]
        host = CustomLayerHost(weakref.ref(self), input_shape, outputs)
        return [
            {
                "kind": "custom",
                "units": math.prod(outputs),
                "variables": variables,
                "groups": 1,
                "trainable": self.trainable,
                "host": host,
            }
        ]

    def _lowered_weights(self) -> list[Any]:
        """Returns an operation for each weight, whose output is the weight itself."""
        return [
            {
                "kind": "variable",
                "shape": list(weight.shape),
                "trainable": self.trainable and weight.trainable,
                **penalty_and_constraint_fields(weight=weight),
            }
            for weight in self._specs
        ]

    @property
    def _reads_mask(self) -> bool:
        return self._consumes_mask or self._masks_statistics or accepts(self.call, "mask")

    def _operations_for(
        self, samples: Sequence[Shape], lowered: Sequence[LayerOperation] | None = None
    ) -> list[Operation]:
        input_shape = samples[0]
        rows = {} if len(input_shape) < 2 else {"groups": math.prod(input_shape[:-1])}  # noqa: PLR2004 # one row
        lowered = self._lower(input_shape) if lowered is None else lowered
        operations: list[Operation] = [
            rows | dict(operation) | self._precision_of(operation["kind"]) for operation in lowered
        ]
        if self.activity_regularizer is None:
            return operations
        outputs = self._output_shape_for(input_shape)
        if self._recorded_penalty_on(outputs) is not None:  # it becomes nodes of its own
            return operations
        return [*operations, self._penalty_on_outputs(outputs)]

    def _recorded_penalty_on(self, sample: Shape, always: bool = False) -> Any:
        """Returns what the penalty on outputs records; None if there is none that is recorded.

        Args:
            sample: the shape of one sample of the outputs.
            always: whether to record also a penalty whose gradient is written by hand.
        """
        penalty = self.activity_regularizer
        if penalty is None or None in sample:
            return None
        always = always or not penalty._is_custom
        return penalty._recording_for(full_shape(sample), by_sample=True, always=always)

    def _call_in_model(
        self, inputs: Sequence[Any], training: bool | None, arguments: CallArguments | None
    ) -> Any:
        arguments = CallArguments() if arguments is None else arguments
        options = {name: filled_slots(value, inputs) for name, value in arguments.items()}
        return Layer.__call__(self, filled_slots(arguments.inputs, inputs), training=training, **options)

    def _penalty_on_outputs(self, shape: Shape) -> ActivityRegularizationOperation:
        """Returns the operation by which Python computes the penalty on outputs whose samples have `shape`."""
        regularizer = self.activity_regularizer or regularizers.L1L2()
        return {"kind": "activity_regularization", "host": PenaltyHost(self.name, regularizer, shape)}

    def _custom_output_shape(self, sample: Shape) -> Shape:
        """Returns the shape of one output of a custom layer, by `compute_output_shape` or else by a call on zeros."""
        self._build_for_sample(sample)
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            outputs = tuple(self.compute_output_shape((None, *sample)))
            if any(isinstance(each, (list, tuple, str)) for each in outputs):
                msg = f"layer {self.name!r} has several outputs, as compute_output_shape() says: {outputs}"
                raise SeveralOutputsError(msg)
            return shape(outputs[1:], "compute_output_shape")
        masked = accepts(self.call, "mask")
        with self._adding(), on_trial():
            try:
                return shape_by_trial(
                    lambda inputs: shape_of_outputs(self._checked_call, inputs, masked), sample
                )
            except TypeError as error:
                not_recorded = self._recorded_calls.last_error
                if isinstance(
                    not_recorded, NeedsValuesError
                ):  # arrays are of no more use to `call` than symbols
                    raise not_recorded from error
                raise

    @property
    def _given_input_shape(self) -> Shape | None:
        return self._given_shape

    @property
    def _leaves(self) -> list[Layer]:
        return [self]

    @property
    def _trains_by_default(self) -> bool:
        default = self._training_default
        return super()._trains_by_default if default is None else default


def holders_of_metrics(parts: Iterable[Part]) -> list[Any]:
    """Returns what holds the metrics of layers, at any depth: the attributes of each, or the `metrics` of a user's class.

    What models within were compiled with counts only when they train.
    """
    found = list[Any]()
    for part in parts:
        if isinstance(part, Layer) and type(part).metrics is not Layer.metrics:
            found.append(list(part.metrics))
            continue
        if isinstance(part, Layer):
            found.append(vars(part))
        found += holders_of_metrics(part._parts())
    return found


def _as_user_tensor(value: Any) -> Any:
    """Returns an array or a weight that `call` has returned as users get it; other values as they are."""
    if not isinstance(value, (np.ndarray, np.generic, Variable)):
        return value
    array = np.asarray(value)
    return canonical(array).view(Tensor) if array.dtype.kind in REAL else array


class Seeded(Layer):
    """A layer that draws random numbers.

    Args:
        seed: seed of the random numbers. None draws one from the global stream, which `utils.set_random_seed` resets.
        options: arguments of every `Layer`, such as `name` and `input_shape`.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        self.seed = seed_or_none(seed)
        self._seed_in_use: int = next_seed() if self.seed is None else self.seed
        super().__init__(**options)


def _compute_in_python(cls: type[Layer]) -> None:
    """Makes a class of the user's that derives from a built-in layer without weights one that its `call` computes."""
    if not overrides(cls, "call"):
        cls.call = _call_of_base  # type: ignore[method-assign] # what Keras does as well
    cls._library_class = next(base for base in cls.__mro__ if "_lower" in vars(base))
    for name, method in vars(Layer).items():
        if callable(method) and name.startswith("_") and not name.startswith("__"):
            setattr(cls, name, method)


def _call_of_base(self: Layer, inputs: Any, training: Any = None) -> Any:
    """The `call` of a class of the user's that overrides `build` of a built-in layer alone."""
    return Layer.call(self, inputs, training=training)


def _refuse_overrides(cls: type, *methods: str) -> None:
    """Raises TypeError if a subclass of a built-in layer overrides one of `methods`, which the core wouldn't call."""
    for name in methods:
        if overrides(cls, name):
            msg = (
                f"{cls.__name__} can't override `{name}` of {cls.__mro__[1].__name__}, which the core computes by itself: "
                "derive from layers.Layer, and compute all of it in `call`. For dropout in prediction there is "
                "model(x, training=True)"
            )
            raise TypeError(msg)


_registry: Registry[Layer] = Registry("layer", Layer)
register = _registry.register
get = _registry.get
deserialize = _registry.deserialize
