"""`Part`, the base class of what a model is made of: layers, and models in their turn."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from engine._base.checks import Shape, flag
from engine._base.registered_objects import is_of_engine
from engine._core_interface.cpp import Float32, read_arrays
from engine._data.exact_integers import Reading
from engine._tracing.errors import needs_values
from engine._tracing.extents import FullShape, text_of_extents
from engine._tracing.lazy import apply_pending_changes, capturing
from engine._tracing.symbolic import Slot, current, mapped
from engine._tracing.versions import Versioned
from engine.dtype_policies import FLOAT32, DTypePolicy, _Process
from engine.dtype_policies import get as policy_of
from engine.dtype_policies import serialize as serialize_policy
from engine.layers.symbols import CallArguments, KerasTensor, unnoted_call
from engine.layers.variable import Variable
from engine.layers.weights import checked_weights


@contextmanager
def paths_within(path: str, parts: Sequence[Part]) -> Iterator[None]:
    """Gives layers and models the paths that they have within `path`; if the block raises, takes them back."""
    for part in parts:
        part._path = f"{path}/{part.name}"
    try:
        yield
    except BaseException:
        for part in parts:
            part._path = None
        raise


def _require_free_names(cls: type) -> None:
    """Raises TypeError if a class of the user's gives another meaning to a private name of its base classes in the library."""
    library = [base for base in cls.__mro__ if is_of_engine(base)]
    mixins = [base for base in cls.__mro__ if not is_of_engine(base) and not issubclass(base, Part)]
    for name in {name for base in (cls, *mixins) for name in vars(base) if _is_private(name)}:
        owner = next((base for base in library if name in vars(base)), None)
        if owner is not None:
            msg = f"{cls.__name__} can't define `{name}`, which {owner.__name__} of the library uses itself: take another name"
            raise TypeError(msg)


def is_name_of_library(cls: type, name: str) -> bool:
    """Whether a class of the library among `cls` and its bases gives an attribute of this name a meaning."""
    return any(name in vars(base) for base in cls.__mro__ if is_of_engine(base))


def _is_private(name: str) -> bool:
    """Whether a name in a class is one that its author made private, rather than one of Python's own."""
    return name.startswith("_") and not name.endswith("__") and not name.startswith("_abc_")


class ForgottenInitError(AttributeError, RuntimeError):
    """An object lacks what the constructor of its base class sets. Keras raises RuntimeError."""


def forgotten_init(cls: type) -> ForgottenInitError:
    """Returns the error for an object of a user's class whose `__init__` has left out that of its base class."""
    return ForgottenInitError(
        f"{cls.__name__}.__init__ has not called super().__init__(): make that its first line"
    )


class SetByInit:
    """What stands in a class for an attribute that the constructor sets in each object."""

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise forgotten_init(owner)


class Part(Versioned):
    """Base class of what a model is made of: layers, and models in their turn."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not is_of_engine(cls):
            _require_free_names(cls)

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_") and isinstance(getattr(type(self), name, None), (FunctionType, property)):
            msg = f"`{name}` of {type(self).__name__} can't be assigned, as it is a method or a property: take another name"
            raise AttributeError(msg)
        super().__setattr__(name, value)

    name: Any = SetByInit()
    _path: str | None = None
    """The path that what contains it has given it."""
    _trainable = True
    _is_functional = False
    """Whether it is what Keras' configs call a Functional: a model whose config says what each layer is called on."""
    _is_model = False
    """Whether it is a model, which has parts itself."""
    _symbolic_calls = 0
    """The number of calls on symbolic inputs so far."""
    _dtype_policy = FLOAT32
    _input_readings: Sequence[Reading] = ()
    """For each input of a model how its layers read it."""
    _with_mask: ClassVar[Callable[[Sequence[Any]], Any]]
    """Returns the first of two symbols with the second one as its mask, by a layer of `merging.py`, which sets this."""

    # The weights.

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights. Assigning it to a model sets it for all of its layers.

        A new value takes effect at the first training after `compile`. Later ones need another `compile`.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        before = self.__dict__.get("_trainable")
        self._trainable = flag(value, "trainable")
        if before not in (None, self._trainable):
            self._note_change()
        for part in self._parts():
            part.trainable = self._trainable

    @property
    @abstractmethod
    def built(self) -> bool:
        """True if the weights have been created."""

    @property
    def _has_weights(self) -> bool:
        """Whether `build` has created the weights. True also for what is built and needs none."""
        return self.built

    @property
    @abstractmethod
    def weights(self) -> list[Variable]:
        """The weights; empty before they are created."""

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training updates; none if `trainable` is False, whatever `trainable` of the layers within is."""
        return [weight for weight in self.weights if self._trainable and weight.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training doesn't update by gradients."""
        return [weight for weight in self.weights if not (self._trainable and weight.trainable)]

    @property
    def variables(self) -> list[Variable]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def dtype_policy(self) -> DTypePolicy:
        """The precision in which a GPU multiplies. A policy that is assigned takes effect at the next `compile`."""
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: object) -> None:
        before, self._dtype_policy = self._dtype_policy, policy_of(value)
        if before != self._dtype_policy:
            self._note_change()

    @property
    def compute_dtype(self) -> str:
        """The dtype to which a GPU rounds the operands of products, that of the dtype policy."""
        return self._dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights, "float32"."""
        return self._dtype_policy.variable_dtype

    @property
    def input_dtype(self) -> str:
        """The same as `compute_dtype`. Inputs are converted to float32."""
        return self.compute_dtype

    @property
    def _dtype_in_config(self) -> Any:
        """The argument `dtype` as a config has it: "float32", or the class and config of another policy."""
        return "float32" if self._dtype_policy == FLOAT32 else serialize_policy(self._dtype_policy)

    def _precision_of(self, kind: str) -> dict[str, str]:
        """Returns the field `precision` of an operation of this kind, where it is a product and not in float32."""
        if kind not in {"contraction", "dense"}:
            return {}
        policy = self._dtype_policy
        precision = _Process.matmul_precision if policy == FLOAT32 else policy.compute_dtype
        return {} if precision == "float32" else {"precision": precision}

    @property
    def path(self) -> str:
        """The name. If a `Sequential`, or a layer or model with a `call` of its own, has built it, that one's path comes before.

        So it may be "sequential/dense" or "block/hidden".

        Paths of weights such as "dense/kernel" begin with it.
        """
        return self.name if self._path is None else self._path

    @property
    def losses(self) -> list[float]:
        """The terms that the last call or batch added to the loss, and the penalties on the current weights.

        Those of layers within are among them. The terms of the last call are those of `add_loss` and, if the layer or its
        model was called directly, the penalty on the outputs. `fit`, `evaluate` and `predict` don't record the penalty on
        outputs here.
        """
        layers = self._layers_of_weights
        return [
            *(loss for layer in layers for loss in layer._losses_of_call),
            *(loss for layer in layers for loss in layer._losses_of_weights),
        ]

    @property
    def metrics_variables(self) -> list[Any]:
        """The variables of the metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that are attributes of it, or in lists and dicts of them, and those of layers and models within it."""
        return []

    def count_params(self) -> int:
        """Returns the total number of weight values."""
        if not self.built:
            raise self._not_built("count_params()")
        return sum(math.prod(weight.shape) for weight in self.weights)

    def get_weights(self) -> list[Float32]:
        """Returns copies of the weights as a list of arrays."""
        if current.get() is not None or capturing() is not None:
            raise needs_values("a weight", "get_weights()")
        return self._values()

    def _values(self) -> list[Float32]:
        """Returns copies of the weights, taken at one moment."""
        apply_pending_changes()
        return read_arrays([weight._array for weight in self.weights])  # type: ignore[misc] # those of layers are such

    @abstractmethod
    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`."""

    def _checked(self, weights: Sequence[ArrayLike]) -> list[Float32]:
        """Returns `weights` as float32 arrays of the shapes of the current ones; an error says which doesn't fit."""
        if not self.built:
            if isinstance(weights, list) and not weights:  # such as those of another model that isn't built
                return []
            raise self._not_built("set_weights()")
        return checked_weights(weights, [weight.shape for weight in self.weights], self.name)

    def compute_output_spec(self, *args: Any, **options: Any) -> Any:
        """Returns the shapes and dtypes of the outputs: symbolic tensors that belong to no graph.

        Args:
            args: the arguments of a call, with symbolic tensors such as `KerasTensor((None, 784))` in place of arrays.
            options: the same by keyword.
        """
        with unnoted_call(self):
            outputs = self(*args, **options)
        return mapped(lambda each: KerasTensor(each.shape, each.dtype), outputs)

    @abstractmethod
    def __call__(self, *args: Any, **options: Any) -> Any:
        """Returns the outputs for inputs."""

    @abstractmethod
    def _not_built(self, action: str) -> Exception:
        """The error for an action that needs weights, before they are created."""

    # What models need to know of their parts.

    def _move_path(self, path: str) -> None:
        """Sets the path, and that of the parts whose paths it begins."""
        for part in self._parts():
            if part.path.startswith(f"{self.path}/"):
                part._move_path(path + part.path[len(self.path) :])
        self._path = path

    @property
    def _attributes_of_user(self) -> Mapping[str, Any] | None:
        """The attributes that code of the user's has set, if these are where the parts are; else None."""
        return None

    def _note_input_structure(self, inputs: Any, samples: Sequence[Shape]) -> None:
        """Tells a model with a `call` of its own which structure its inputs have. A layer sees it when it is called.

        Args:
            inputs: what it is called on, with slots in place of symbols.
            samples: the shape of one sample of each symbol.
        """

    def _parts(self) -> Sequence[Part]:
        """The parts of a model, in the order in which they compute, or of a layer with a `call`; other layers have none."""
        return ()

    @property
    def _may_make_mask(self) -> bool:
        """Whether a layer in it, at any depth, determines a mask from its inputs."""
        return any(part._may_make_mask for part in self._parts())

    @property
    def _parts_in_order(self) -> list[Part]:
        """The parts of a model that a user sees, each as often as it is used; a layer has none."""
        return []

    @property
    def _layers_of_weights(self) -> list[Any]:
        """The layers that may have weights, each once, in Keras' order. A layer itself is always among its own."""
        return list(dict.fromkeys(self._leaves))

    @property
    def _is_graph(self) -> bool:
        """Whether it is a model that is neither a Sequential nor a chain of layers from one input to one output."""
        return False

    @property
    @abstractmethod
    def _leaves(self) -> list[Any]:
        """The layers, without the models around them, in the order in which they compute, each as often as it is used."""

    @property
    def _trains_by_default(self) -> bool:
        """Whether some layer in it, at any depth, may behave as in training in a call without `training`."""
        return any(part._trains_by_default for part in self._parts())

    @property
    def _given_input_shape(self) -> Shape | None:
        """The shape of one input sample, if the user has given it."""
        return None

    @abstractmethod
    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs of shape `input_shape`, batch axis first."""

    @abstractmethod
    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """Returns the shape of one output for one input of shape `input_shape`; ValueError if that doesn't fit."""

    @property
    def _may_be_recorded(self) -> bool:
        """Whether it has Python code of its own that is run with symbols."""
        return False

    @property
    def _takes_mask(self) -> bool:
        """Whether Python code of its own has a parameter for the mask of the inputs."""
        return False

    def _call_in_model(
        self, inputs: Sequence[Any], training: bool | None, arguments: CallArguments | None
    ) -> Any:
        """Returns the outputs for arrays, one for each input.

        Args:
            inputs: the arrays.
            training: the argument of the call.
            arguments: the further arguments of the call; None if there are none.
        """
        raise NotImplementedError

    def _recording_for(
        self,
        samples: Sequence[Any],
        training: bool | None,
        arguments: CallArguments | None,
        masked: bool = False,
    ) -> Any:
        """Returns what Python code of its own records, for inputs whose samples have the shapes `samples`.

        None is returned for what the core computes by operations of its own, and for what only Python can compute.
        """
        del samples, training, arguments, masked
        return None  # a value

    @property
    def _input_count(self) -> int:
        """The number of inputs of one call, at least."""
        return 1

    @property
    def _output_count(self) -> int:
        """The number of outputs of one call."""
        return 1

    def _packed_inputs(self, values: Sequence[Any]) -> Any:
        """Returns `values`, one for each input, as a call takes them: one, or a list."""
        return values[0] if len(values) == 1 else list(values)

    def _arguments_in_config(
        self, arguments: CallArguments | None, count: int
    ) -> tuple[list[Any], dict[str, Any]]:
        """Returns the arguments of a call by position and by name, with slots in place of its inputs.

        Args:
            arguments: the arguments beside the inputs.
            count: the number of inputs.
        """
        packed = self._packed_inputs([Slot(number) for number in range(count)])
        return [packed if arguments is None or not self._may_be_recorded else arguments.inputs], dict(
            arguments or {}
        )

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        """Returns the shape of one sample of each output, for input samples of the shapes `samples`."""
        self._require_one_input(samples)
        return [self._output_shape_for(samples[0])]

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        """Returns the dtype of each output, for inputs of the dtypes `dtypes`: layers and models compute in float32."""
        del dtypes
        return ["float32"] * self._output_count

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        """Creates the weights for inputs whose samples have the shapes `samples`."""
        self._require_one_input(samples)
        self.build((None, *samples[0]))

    def _require_one_input(self, inputs: Sequence[object]) -> None:
        if len(inputs) != 1:
            msg = (
                f"{type(self).__name__} {self.name!r} takes one input, got a list of {len(inputs)}: join them before by "
                "layers.Concatenate() or layers.Add()"
            )
            raise ValueError(msg)
        if isinstance(inputs[0], FullShape):
            msg = (
                f"{type(self).__name__} {self.name!r} takes one row for each sample, (None, ...), got an array of the shape "
                f"{text_of_extents(inputs[0])}: call it before such arrays are joined along the batch axis, or reduced along it"
            )
            raise ValueError(msg)
