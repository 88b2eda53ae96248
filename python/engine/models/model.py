"""`Model`, the base class of all models and the functional form, a graph of layers from inputs to outputs.

Here are the methods that users call. Functions beside it do the work (the docstring of `engine.models` lists their modules);
what they ask of a model is in `model_interface`.
"""

from __future__ import annotations

import inspect
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike

from engine import tree
from engine._base.checks import (
    LARGEST,
    Shape,
    below_one,
    checked_config,
    choice,
    fits,
    flag,
    integer,
    label,
    listing,
    nearest,
    require,
    text_of_axes,
    without_batch,
)
from engine._base.constructor_arguments import (
    accepts_any_arguments,
    arguments_by_name,
    is_plain,
    plain_arguments,
)
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.registered_objects import custom_object_scope
from engine._base.spec import auto_name, snake_case
from engine._base.tensor_like import Tensor, mask_of
from engine._base.tracebacks import without_engine_frames
from engine._core_interface.cpp import (
    CallTable,
    DeviceArray,
    Float32,
    WeightArray,
    get_device,
    instances_within,
    write_arrays,
)
from engine._data.exact_integers import Reading
from engine._data.sources import Source
from engine._data.value_table import keeping_values
from engine._gradients.tape import GradientTape
from engine._printing.progress import Progress, print_message, require_verbose
from engine._tracing.lazy import (
    RecordedArray,
    apply_pending_changes,
    prepare_for_change,
    recorded_inputs,
    without_mask,
)
from engine._tracing.symbolic import Slot, current, mapped, values_by_symbol
from engine._tracing.versions import is_compiling
from engine._training.arguments_by_output import require_names_of_output
from engine._training.compile_arguments import Compiled
from engine._training.diagnostic_warnings import (
    all_finite,
    lost_loss,
    warn,
    warn_of_weights,
)
from engine._training.draws import DrawPosition
from engine._training.fit_arguments import (
    FitOptions,
    goals,
    limited_steps,
    positive_or_none,
    resolve_batch_size,
)
from engine._training.recovery import Recovery
from engine._training.runner import logs_of_batch
from engine._training.step_batches import unpacked_batch
from engine._training.trainer import Trainer
from engine.callbacks import CallbackList, History
from engine.callbacks.base import Mode
from engine.config import _capped_steps
from engine.dtype_policies import FLOAT32
from engine.dtype_policies import get as policy_of
from engine.layers import InputLayer, Layer
from engine.layers.call_arguments import accepts, call_arguments, training_of
from engine.layers.input_spec import InputSpec
from engine.layers.layer import holders_of_metrics
from engine.layers.operation import OperationPart
from engine.layers.part import Part, forgotten_init, is_name_of_library
from engine.layers.symbols import Call, CallArguments, KerasTensor, called_on, symbols_of
from engine.layers.variable import Variable
from engine.metrics import Metric
from engine.models.added_losses import ends_of
from engine.models.batches_at_once import BatchForm, form_of_batch
from engine.models.building import (
    apply_compiled,
    compiled_for,
    move_to,
    names_of_ends,
    renew,
    set_graph,
    suits,
)
from engine.models.built_graph import BuiltGraph
from engine.models.diagram import Box, diagram, node_numbers
from engine.models.execution import CoreExecution, Execution, StepExecution
from engine.models.first_inputs import build_for_shapes, build_for_symbols
from engine.models.functional_config import (
    beside_graph,
    config_of_graph,
    instance_from_arguments,
    made_parts,
    parts_from_config,
    structure_of_ends,
)
from engine.models.input_data import InputData
from engine.models.layer_by_layer import call_recorded
from engine.models.layer_graph import without_layers
from engine.models.lock import ModelLock
from engine.models.ordered_calls import ordered_calls, require_no_input_layer, tensors_in
from engine.models.output_data import OutputData
from engine.models.own_call import Body, dtypes_of_outputs
from engine.models.predictions import masks_in, masks_of, outputs_of_batch, predicted, predicted_batch
from engine.models.stack import (
    require_names,
    reseeded,
)
from engine.models.structures import Structure, nested_structure_of
from engine.models.symbolic_calls import called_in_turn
from engine.models.values_of_losses import symbols_read
from engine.models.wiring import Wiring, chain_of, shapes_along
from engine.optimizers import Optimizer
from engine.optimizers.optimizer import registry as optimizer_registry
from engine.utils.functional_calls import ValueSource, graph_in

if TYPE_CHECKING:
    from typing_extensions import Self

PathLike = str | os.PathLike[str]

_Also = TypeVar("_Also")

# The arguments of `compile` that `get_compile_config` lists beside the optimizer.
_COMPILE_ARGUMENTS = (
    "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution", "jit_compile",
)  # fmt: skip


class _BeforeInit:
    """What stands for attributes of a model that are used first of all, until its constructor sets them."""

    def __init__(self, cls: type) -> None:
        self._class = cls

    def __getattr__(self, name: str) -> NoReturn:
        raise forgotten_init(self._class)


class _ends(property):  # noqa: N801 # written as a decorator
    """A property for the ends of a model, which a model with a `call` of its own may have as the name of a layer."""

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        name = cast("Callable[..., Any]", self.fget).__name__
        return (
            vars(model)[name] if model is not None and name in vars(model) else super().__get__(model, owner)
        )

    def __set__(self, model: Any, value: Any) -> None:
        if model.__dict__.get("_body") is None:
            super().__set__(model, value)  # raises AttributeError
        vars(model)[cast("Callable[..., Any]", self.fget).__name__] = value


class Model(Part, SaysWhatIsLeftOut):
    """A model made of layers. `Model(inputs, outputs)` has the layers that lead from `inputs` to `outputs`.

    Args:
        inputs: the symbolic input, as returned by `Input` or by a layer, such as `model.input`; or a list, tuple or dict
            of them.
        outputs: the symbolic output, what a layer returned when it was called on `inputs` or on other outputs; or a
            list, tuple or dict of them.
        name: name of the model; default `functional` with a number.
        options: `trainable=False` keeps training from updating the weights, as `model.trainable = False` does, but
            leaves the layers as they are. `dtype` is the dtype policy of the model, under which a GPU multiplies what the
            `call` of a subclass multiplies itself; layers have their own.
    """

    # A model is a list of parts, layers and models of layers. Its program computes all layers, whichever models they
    # are in, and uses their weights, which the `Variable`s of the layers own. If another model uses a layer too, both
    # programs use the same weights, so that each sees at once what the other has learnt.
    #
    # There are three kinds of models, which differ in where the layers come from:
    # - a list of layers, which may get more of them: `_is_sequential`;
    # - symbols, in `Model(inputs, outputs)` and in subclasses that call its constructor so: `_built_graph.listed` isn't
    #   empty;
    # - a `call` of the user's class, which is recorded or runs in Python: `_body` is not None. The class of a model of
    #   another kind may have a `call`, too (`_has_call`), which then runs where the program can't compute the model.
    # `_is_model` tells all of them from layers. `_is_graph` says whether layers branch. `_is_functional` is for files: how
    # configs of Keras number the calls of a model.
    #
    # Methods that change the model or its metrics hold `_lock`. Predictions don't: they may run in many threads.

    dtype = "float32"
    _is_functional = True
    _is_model = True
    _is_sequential = False
    """Whether it is a Sequential, whose layers may be yet to come."""
    _is_its_config = False
    """Whether its class makes it from its config, though its layers are wired."""
    _own_loss: Any = None
    """What a class has assigned to `loss`, which trains nothing."""
    _samplings = 0
    """The number of calls so far that drew random numbers."""
    _constructed_with: Mapping[str, Any] = MappingProxyType({})
    """The arguments of the constructor of a user's class."""
    _built_graph: BuiltGraph
    """The layers, and what was built from them."""
    _own_input_spec: Any = None
    """What the user has assigned to `input_spec`."""
    _calls: list[Call]
    """The symbolic calls of the layers, which `_symbols` makes."""
    _sequential: ClassVar[type[Model]]
    """The class Sequential, which is derived from this one; `sequential` sets it when it is imported."""

    # Construction.

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Returns a Functional for `Model(inputs, outputs)`, and an object of the class itself otherwise."""
        graph = cls is Model and (args or options.keys() & {"inputs", "outputs", "input", "output"})
        made = cast("Self", object.__new__(cast("type[Any]", Functional if graph else cls)))
        missing = _BeforeInit(type(made))
        made.__dict__.update(_built_graph=missing, _lock=missing)
        if cls.__init__ is not Model.__init__:
            made._constructed_with = arguments_by_name(cls, args, options)
        return made

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, **options: Any
    ) -> None:
        trainable = flag(options.pop("trainable", True), "trainable")
        policy = policy_of(options.pop("dtype", None))
        if options:
            got = ", ".join(map(repr, options))
            msg = f"Model takes `inputs`, `outputs`, `name`, `trainable` and `dtype`, got {got}"
            raise TypeError(msg)
        if inputs is None and outputs is None:
            self._begin_with_call(name)
            self._trainable, self._dtype_policy = trainable, policy
            return
        first, last = (tensors_in(value, name) for name, value in (("inputs", inputs), ("outputs", outputs)))
        self._begin(name)
        self._trainable, self._dtype_policy = trainable, policy
        self._built_graph = BuiltGraph(
            input_form=nested_structure_of(inputs), output_form=nested_structure_of(outputs)
        )
        self._set_ends(first, last)

    def _set_ends(self, inputs: Sequence[KerasTensor], outputs: Sequence[KerasTensor]) -> None:
        """Sets the layers that lead from `inputs` to `outputs` and to what is added to the loss."""
        starts, calls, layers, wiring = ordered_calls(inputs, [*outputs, *self._added_losses])
        require_no_input_layer(call.layer for call in calls)
        require_names(layers if len(starts) > 1 else layers[1:])
        graph = self._built_graph.changed(
            input_layers=starts,
            layers=[call.layer for call in calls],
            wiring=wiring._replace(outputs=wiring.outputs[: len(outputs)]),
            training_of_calls=[call.training for call in calls],
            arguments=[call.arguments for call in calls],
            listed=layers,
            output_dtypes=dtypes_of_outputs([each.dtype for each in outputs]),
        )
        set_graph(self, graph, self._compiled)
        self._calls = calls

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls._user_overrides("make_train_function", "make_test_function", "make_predict_function"):
            msg = (
                f"{cls.__name__} can't have a `make_train_function` or alike of its own: override train_step(), test_step() or "
                "predict_step()"
            )
            raise TypeError(msg)

    @classmethod
    def _user_overrides(cls, *names: str) -> bool:
        """Whether the class of the user has a method of one of these names."""
        of_user = [
            each
            for each in cls.__mro__[: cls.__mro__.index(Model)]
            if not each.__module__.startswith("engine.models")
        ]
        return any(name in vars(each) for each in of_user for name in names)

    def _has_step(self, name: str) -> bool:
        """Returns whether Python says what happens in the step `name`, or in what it calls."""
        overrides = type(self)._user_overrides(name, "compute_loss", "compute_metrics")
        calls = self._compiled is not None and self._compiled.calls_losses
        return overrides or calls or self._model_with_values is not None

    @property
    def _has_predict_step(self) -> bool:
        """Whether batches are predicted by a method of the user's class."""
        return type(self)._user_overrides("predict_step")

    def _begin(self, name: str | None) -> None:
        """Sets the attributes of a model that has no layers yet.

        Args:
            name: of the model; default the name of the class with a number.
        """
        self.name = auto_name(snake_case(type(self).__name__)) if name is None else label(name)

        # The layers, and what was built from them.
        self._built_graph = BuiltGraph()
        self._calls = []
        self._dtype_policy = policy_of(None)
        self._device: str | None = (
            None  # where the program is built; None: where the thread or the process builds
        )
        self._outers: weakref.WeakSet[Model] = weakref.WeakSet()  # the models that this one is a part of
        self._added_losses: list[KerasTensor] = []  # what add_loss() has added to a model made of symbols

        self._body: Body | None = None  # the `call` of the user's class
        self._in_build_of_user = False
        self._symbols_of_losses: list[Any] = []  # the symbols that losses refer to
        self._model_with_values: Model | None = None  # a model whose outputs are these, too

        # What `compile` was called with.
        self._compiled: Compiled | None = None
        self._uncompiled_optimizer: Optimizer | None = None  # assigned before `compile`
        self._run_eagerly = False
        self._jit_compile, self._steps_per_execution = True, 1
        self._compiled_steps: dict[str, CallTable] = {}  # by the names of methods, such as "train_step"
        self._batch_forms: dict[Mode, BatchForm | None] = {}  # of the last batches that took the long way
        self._eager_steps: dict[
            str, Exception | None
        ] = {}  # why steps can't be compiled; None once that was told
        self._step_draws: dict[str, DrawPosition] = {}  # where the random numbers of compiled steps began

        # Training.
        self.history: History | None = None
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self._feature_names: list[str] | None = None  # the columns of the data frame that `fit` got last
        self._fitting: threading.Thread | None = None  # the thread that runs `fit`
        self._recovery: Recovery | None = None  # of the training that is running
        self._lock = ModelLock()

        # Warnings.
        self._checked_to_learn: Compiled | None = None  # its training was checked for layers that can't learn
        self._may_hold_nan = False  # whether a loss was NaN or infinite, so that weights may be
        self._warned_actions: set[str] = set()  # the actions whose warning of such weights has been given

        self._own_names = frozenset((*vars(self), "_own_names"))  # all others are those of the user

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "layers":
            msg = "`Model.layers` attribute is reserved and should not be used: give yours another name"
            raise AttributeError(msg)
        body = self.__dict__.get("_body")
        if body is not None and not name.startswith("_"):
            body._adopt_variables(value)
        before = self.__dict__.get(name, self)
        super().__setattr__(name, value)
        # What was recorded may depend on it.
        own = self.__dict__.get("_own_names")
        if before is not value and not (own is None or name in own or is_name_of_library(type(self), name)):
            self._note_assignment()

    def _note_assignment(self) -> None:
        """Notes that code of the user's has assigned an attribute, which what was recorded may depend on.

        Code that is being recorded, such as a step for batches of one size, leaves what was recorded before as it is.
        """
        if current.get() is None and not is_compiling():
            self._note_change()
            if self._body is not None:
                self._body._recorded_calls.clear()
                self._body._note_change()

    def _begin_with_call(self, name: str | None) -> None:
        """Sets the attributes of a model whose class has a `call` of its own. Its inputs are known with the first data."""
        self._begin(name)
        self._body = Body(self)
        self._built_graph = BuiltGraph(layers=[self._body], wiring=chain_of(1))

    def _build_of_user(self, input_shape: Any) -> None:
        """Runs the method `build` of the user's class, if there is one."""
        if type(self).build is not Model.build:
            self._in_build_of_user = True
            try:
                self.build(input_shape)
            finally:
                self._in_build_of_user = False

    # Compile.

    @without_engine_frames
    def compile(  # noqa: PLR0917 # Keras' signature
        self,
        optimizer: object = "rmsprop",
        loss: object = None,
        loss_weights: object = None,
        metrics: object = None,
        weighted_metrics: object = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        *,
        device: str | None = None,
    ) -> None:
        """Configures the model for training. Weights keep their values; the optimizer state is reset.

        Args:
            optimizer: name of an optimizer, or an instance from `engine.optimizers`; None for a model that is evaluated alone.
            loss: name, function or instance from `engine.losses`, or a custom loss with a gradient. "crossentropy"
                selects the crossentropy that matches the labels. With None the loss is the sum of what layers add
                to it (penalties and `add_loss`), and `fit` needs no `y`. For a model with several outputs one loss
                for all, or a list or a dict by the names of outputs; the loss of the model is their sum. None in
                such a list or dict is an output without a loss, and so is one that a dict lacks, if the outputs are a
                dict.
            loss_weights: factor by which the loss is multiplied, or a list or dict of factors as for `loss`. It
                doesn't scale regularization penalties.
            metrics: list of names or instances from `engine.metrics`. "accuracy" selects the accuracy that matches
                the labels. For a model with several outputs a list with one metric or one list of metrics for each
                output, or a dict by the names of outputs.
            weighted_metrics: list of metrics that are weighted by `sample_weight` and `class_weight`; for several
                outputs as `metrics`.
            run_eagerly: whether steps of the model's class, such as its `train_step`, run as they are written, batch by batch.
                What the core computes itself is compiled in any case.
            steps_per_execution: after how many batches `fit`, `evaluate` and `predict` call the hooks for batches of
                callbacks. Without such hooks, a whole epoch runs in one call whatever it is.
            jit_compile: Ignored. Keras accepts it.
            auto_scale_loss: Ignored. No gradient is rounded to float16 under any dtype policy, so that no loss has to be scaled.
            device: where the model keeps its weights and computes from now on: "cpu", "cuda", "cuda:0", ...; None leaves
                it where it is.

        Raises:
            ValueError: for an unknown name, a device that isn't there, or a metric that doesn't match the loss. The model is
                unchanged then.
        """
        run_eagerly = flag(run_eagerly, "run_eagerly")
        steps_per_execution = integer(steps_per_execution, "steps_per_execution", 1)
        choice(jit_compile, "jit_compile", ("auto", True, False))
        flag(auto_scale_loss, "auto_scale_loss")
        with self._lock.held():
            self._require_idle("compiled")
            names = self._names_of_outputs if len(self._built_graph.wiring.outputs) > 1 else ()
            by_key = self._built_graph.output_form.kind is dict
            if not names and self._built_graph.input_layers:
                known = {*self._built_graph.output_form.keys, *self.output_names}
                flat = partial(self._built_graph.output_form.flat, spread=True)
                require_names_of_output(
                    known, loss=flat(loss), metrics=flat(metrics), weighted_metrics=flat(weighted_metrics)
                )
            arguments = {
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": steps_per_execution,
                "jit_compile": jit_compile,
            }
            try:
                compiled = compiled_for(
                    self._built_graph.output_form, optimizer, arguments, outputs=names, by_key=by_key
                )
            except ValueError:
                if self._body is None or self._built_graph.input_layers:
                    raise
                # How many outputs there are is known when `call` has run.
                compiled = Compiled(optimizer, None, None, None, None)
                compiled.arguments, compiled.awaits_outputs = arguments, True
            if device is not None:
                move_to(self, device)
            apply_compiled(self, compiled)
            self._compiled, self._run_eagerly, self._own_loss = compiled, run_eagerly, None
            self._jit_compile = bool(jit_compile)
            self._steps_per_execution = steps_per_execution
            self._compiled_steps, self._eager_steps, self._step_draws = {}, {}, {}
            self._find_symbols_of_losses(loss)
            self._note_change()
            # Adversaries freeze a compiled model for the one around it, and train it by itself as before.
            for part in self._models_within():
                if part._compiled is not None:
                    part._compiled.trains = True
        self._warn_of_policies()

    def _warn_of_policies(self) -> None:
        """Warns if a layer has a policy of mixed precision, and the model is on the CPU."""
        mixed = next(
            (
                layer.dtype_policy
                for layer in self._built_graph.network.layers
                if layer.dtype_policy != FLOAT32
            ),
            None,
        )
        if mixed is not None and self.device == "cpu":
            message = (
                f"the CPU computes in float32, more exactly than the dtype policy {mixed.name!r} asks: only a GPU rounds the "
                "operands of products, as for compile(..., device='cuda')"
            )
            warn(message)

    @property
    def device(self) -> str:
        """Where the model keeps its weights and computes, such as "cpu" or "cuda:0"."""
        program = self._built_graph.program
        return self._device or get_device() if program is None else program.device

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile` as plain Python values; an empty dict before `compile`."""
        from engine.utils import serialize_keras_object

        if self._compiled is None:
            return {}
        config: dict[str, Any] = serialize_keras_object(
            {"optimizer": self._compiled.user_optimizer} | self._compiled.arguments
        )
        return config

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles the model with the arguments in `config`, as returned by `get_compile_config`.

        A subclass whose `compile` has other arguments overrides this method, too. If it doesn't, the model isn't compiled, and a
        warning says so.
        """
        require(Mapping, config, "config", "a dict as get_compile_config() returns it")
        known = {"optimizer", "auto_scale_loss", *_COMPILE_ARGUMENTS}
        arguments = {name: value for name, value in config.items() if name in known}
        if not _binds(self.compile, arguments):
            msg = (
                f"{self.name!r} isn't compiled, as the compile() of {type(self).__name__} has other arguments than a file holds: "
                "call compile() after loading, or override get_compile_config() and compile_from_config()"
            )
            warnings.warn(msg, stacklevel=2)
            return
        if "loss" in arguments:
            arguments["loss"] = _losses_of_config(arguments["loss"])  # the attribute `loss` has the objects
        self.compile(**arguments)

    @property
    def compiled(self) -> bool:
        """True if `compile` has been called."""
        return self._compiled is not None

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer, or None before `compile`. Assigning another one starts with a new optimizer state."""
        return self._uncompiled_optimizer if self._compiled is None else self._compiled.user_optimizer

    @optimizer.setter
    def optimizer(self, value: object) -> None:
        optimizer = optimizer_registry.get(value)
        with self._lock.held():
            self._require_idle("given another optimizer")
            if self._compiled is None:
                self._uncompiled_optimizer = optimizer
            else:
                before = self._compiled.user_optimizer
                self._compiled.user_optimizer = optimizer
                try:
                    apply_compiled(self, self._compiled)
                except BaseException:
                    self._compiled.user_optimizer = before
                    raise
            self._note_change()

    @property
    def _optimizers(self) -> list[Optimizer]:
        """The optimizer given to `compile`, and those in attributes of the model, for steps of its class."""
        compiled = [] if self._compiled is None else [self._compiled.optimizer]
        return instances_within([compiled, vars(self)], Optimizer)

    @property
    def loss(self) -> Any:
        """The loss given to `compile`, or None before. A class may assign something of its own, which `compile` replaces."""
        if self._own_loss is not None or self._compiled is None:
            return self._own_loss
        return self._compiled.arguments["loss"]

    @loss.setter
    def loss(self, value: Any) -> None:
        self._own_loss = value

    @property
    def metrics(self) -> list[Metric]:
        """The metrics: the mean of the loss, those given to `compile`, then those of the model's attributes and of its layers."""
        compiled = [] if self._compiled is None else self._compiled.all_metrics
        return instances_within([compiled, vars(self), *holders_of_metrics(self._parts())], Metric)

    @property
    def metrics_names(self) -> list[str]:
        """The names of the values that `evaluate` returns, in their order; empty before `compile`."""
        return [] if self._compiled is None else list(self._compiled.names)

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns a dict from the name of each metric to its value in the last pass."""
        found: dict[str, Any] = {}
        names = {} if self._compiled is None else self._compiled.names_by_metric
        for metric in self.metrics:
            name = names.get(metric, metric.name)
            result = metric.result()
            if isinstance(result, Mapping):
                found.update(result)
            else:
                found[name] = result
        return found

    def reset_metrics(self) -> None:
        """Resets the state of all metrics."""
        with self._lock.held():
            for metric in self.metrics:
                metric.reset_state()

    @property
    def run_eagerly(self) -> bool:
        """The argument `run_eagerly` of `compile`: whether steps of the model's class run as they are written."""
        return self._run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._run_eagerly = flag(value, "run_eagerly")

    @property
    def jit_compile(self) -> bool:
        """The argument `jit_compile` of `compile`, True for "auto". It has no effect: the model is always compiled ahead."""
        return self._jit_compile

    @jit_compile.setter
    def jit_compile(self, value: bool) -> None:
        self._jit_compile = flag(value, "jit_compile")

    @property
    def steps_per_execution(self) -> int:
        """After how many batches `fit`, `evaluate` and `predict` call the hooks for batches of callbacks."""
        return self._steps_per_execution

    @steps_per_execution.setter
    def steps_per_execution(self, value: int) -> None:
        self._steps_per_execution = integer(value, "steps_per_execution", 1)

    def _direction_of(self, name: str) -> str | None:
        """Returns "up" if larger values of the loss or metric `name` are better, "down" if smaller ones; None if unknown."""
        own = {metric.name: metric._direction for metric in self.metrics}
        return self._require_compiled().direction(name) or own.get(name)

    def _require_compiled(self) -> Compiled:
        """Returns what `compile` was called with; ValueError before."""
        if self._compiled is None:
            msg = (
                f"model {self.name!r} is not compiled: call compile() first, such as "
                "model.compile('adam', loss='sparse_categorical_crossentropy')"
            )
            raise ValueError(msg)
        return self._compiled

    def _require_idle(self, action: str) -> None:
        """Raises RuntimeError while `fit` is running."""
        if self._fitting is not None and self._fitting.is_alive():  # in a forked child the thread isn't alive
            msg = f"model {self.name!r} can't be {action} while it is being fitted"
            raise RuntimeError(msg)

    # Training and evaluation.

    @without_engine_frames
    @keeping_values
    def fit(  # noqa: PLR0917 # Keras' signature
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: object = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | str | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
        *,
        target: Mapping[str, float] | None = None,
        time_budget: float | None = None,
        stratify: bool = False,
    ) -> History:
        """Trains the model for a number of epochs.

        Args:
            x: samples (n, ...), real numbers of any dtype and memory layout: an array (memory-mapped or not),
                lists, a pandas DataFrame, a scipy.sparse matrix, or an object with `__array__` or DLPack. Tensors in
                memory of the model's GPU are read there, without a copy. Or a source of batches (x, y) or
                (x, y, sample_weight): a generator, another iterable, a `utils.PyDataset`, or another object with
                `__getitem__` and `__len__`. For a model with several inputs a list of arrays, one for each input, or a
                dict by the names of inputs, or a DataFrame with a column for each; they are converted to float32 in
                memory. Don't change the data before `fit` returns.
            y: class indices (n,) for the sparse crossentropy, otherwise one number per output (n, outputs); None if
                `x` yields batches. For a model with several outputs a list or a dict by the names of outputs.
            batch_size: samples per step, default 32; the last batch of an epoch may be smaller. Ignored if `x`
                yields batches.
            epochs: number of the epoch at which training ends: `epochs - initial_epoch` epochs are run.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal, otherwise 2.
            callbacks: list of instances from `engine.callbacks`.
            validation_split: fraction of the samples, taken from the end, that is used for validation, in [0, 1).
            validation_data: data for validation: `(x, y)`, `(x, y, sample_weight)`, or a source of batches.
            shuffle: whether to shuffle the samples in each epoch. "batch" shuffles only within each batch. If `x`
                has `__getitem__`, the order of its batches is shuffled; batches of a generator are never shuffled.
            class_weight: dict from class index to weight, or "balanced" for `n / (classes * count)`. Multiplied by
                `sample_weight`. Not used in validation. For a model with several outputs a list with one for each
                output, or None for some of them, or a dict by the names of outputs.
            sample_weight: weights of the samples (n,); the loss is `sum(weight * loss) / n`. For a model with several
                outputs one array for all, or a list or dict as for `y`.
            initial_epoch: number of the first epoch, from 0.
            steps_per_epoch: batches per epoch; the next epoch continues with the batch after.
            validation_steps: number of batches of a validation, from the first sample on; default all.
            validation_batch_size: samples per batch in validation; default `batch_size`.
            validation_freq: number of epochs from one validation to the next, or a list of epochs, counted from 1,
                after which to validate.
            target: values of the logs at which to stop, such as `{"val_accuracy": 0.98}`. Training ends after the
                first epoch that reaches them.
            time_budget: time limit in seconds. Training ends after the batch that exceeds it; validation still runs.
            stratify: whether `validation_split` takes the same fraction of every class.

        Returns:
            The `History` callback, whose attribute `history` is a dict from each name to a list with one float per
            epoch.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model. The model is unchanged then.
        """
        prepare_for_change()
        with self._lock.held():
            validates = validation_data is not None or below_one(validation_split, "validation_split") > 0
            execution = self._execution("train_step")
            # A model that trains by steps is validated by steps, too, so that the logs have the names of all of its metrics.
            tests = validates and isinstance(execution, CoreExecution)
            testing = self._execution("test_step") if tests else execution
            execution.begin(x, trains=True)
            self._built_graph.forget_penalties()
            options = FitOptions(
                batch_size=batch_size,
                epochs=epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                shuffle=shuffle,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
            require_verbose(verbose)
            hooks = CallbackList(callbacks, add_history=True)
            with execution.restoring_loss_on_error():
                data = x, y, sample_weight
                source, held_out = execution.split_validation(
                    data, class_weight, validation_data, validation_split, stratify, testing=testing
                )
                names = [*execution.names, *(f"val_{name}" for name in testing.names if validates)]
                ends = goals(names, self._direction_of, target, time_budget, validates=validates)
                plan = options.plan(source, held_out, ends)
                execution.ready(
                    [source, held_out] if type(testing) is type(execution) else [source], trains=True
                )
                if validation_data is not None and isinstance(testing, StepExecution):
                    testing.require_like(cast("Source", held_out), source)
            with Progress(hooks.verbose_of_progress(verbose), plan.steps) as progress:
                recovery = Recovery(self, self._require_compiled(), hooks)
                params = {"verbose": verbose, "epochs": plan.epochs, "steps": plan.steps}
                hooks.join(self, params, self._lock.lent)
                earlier = self.history, self._feature_names
                self.history, self.stop_training = hooks.history, False
                self._feature_names = source.feature_names
                self._fitting, self._recovery = threading.current_thread(), recovery
                try:
                    Trainer(
                        lambda mode: (testing if mode == "test" else execution).runner(mode),
                        hooks,
                        progress,
                        recovery,
                        check=partial(execution.check, source),
                        steps_per_execution=self._steps_per_execution,
                    ).fit(plan)
                except BaseException:
                    if recovery.refused:
                        self.history, self._feature_names = earlier
                    raise
                finally:
                    self._fitting, self._recovery = None, None
            return hooks.history

    @without_engine_frames
    @keeping_values
    def evaluate(  # noqa: PLR0917 # Keras' signature
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: object = None,
        return_dict: bool = False,
    ) -> Any:
        """Returns the loss and the metrics over samples.

        It waits for other threads that train, compile or evaluate the model.

        Args:
            x: samples, as for `fit`.
            y: targets, as for `fit`.
            batch_size: samples per step for the progress bar and callbacks, default 32. It has no effect on the
                result, unless a layer, a loss or a metric of yours combines the samples of a batch.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line; "auto" is 1 on a terminal and in a notebook,
                otherwise 2.
            sample_weight: weights of the samples (n,); the loss is `sum(weight * loss) / n`.
            steps: number of batches to use, from the first sample on; default all.
            callbacks: list of instances from `engine.callbacks`.
            return_dict: whether to return a dict.

        Returns:
            A list of the loss and the metrics in the order of `metrics_names`; the loss alone if there are no
            metrics; or a dict from names to values.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model, or it isn't compiled.
        """
        apply_pending_changes()
        with self._lock.borrowed():
            execution, as_dict = self._execution("test_step"), _wants_dict(return_dict)
            limit, given_size = positive_or_none(steps, "steps"), positive_or_none(batch_size, "batch_size")
            require_verbose(verbose)
            hooks = CallbackList(callbacks)
            self._built_graph.forget_penalties()
            execution.begin(x, trains=False)
            with execution.restoring_loss_on_error():
                source = execution.source(x, y, sample_weight)
                size = resolve_batch_size(given_size, limit, source.count)
                limit = _capped_steps(limit, source.steps(size))
                source, limit, size = limited_steps(source, limit, size)
                execution.ready([source], trains=False)
            with Progress(hooks.verbose_of_progress(verbose), limit or source.steps(size)) as progress:
                trainer = Trainer(
                    execution.runner,
                    hooks,
                    progress,
                    steps_per_execution=self._steps_per_execution,
                )
                params = {"verbose": verbose, "epochs": 1, "steps": progress.steps}
                hooks.join(self, params, self._lock.lent)
                return execution.returned(trainer.evaluate(source, size, limit), as_dict)

    @without_engine_frames
    @keeping_values
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Runs one training step on one batch and returns the loss and metrics, computed before the weights are updated.

        Args:
            x: the samples of the batch, as for `fit`.
            y: their targets, as for `fit`.
            sample_weight: weights of the samples (n,), as for `fit`; or (1, n), or one number for all.
            class_weight: dict from class index to weight, as for `fit`.
            return_dict: whether to return a dict.

        Returns:
            The result of `evaluate`.
        """
        prepare_for_change()
        with self._lock.held():
            as_dict, plain = _wants_dict(return_dict), sample_weight is None and class_weight is None
            form = self._batch_forms.get("train") if plain else None
            done = None if form is None else form.run(self, x, y)
            if form is not None and done is not None:
                execution: Execution = form.execution(self)
                if lost_loss(done.logs) is not None:
                    execution.check(form.samples(self, x, y), done.logs)
                return execution.returned(done.logs, as_dict, done.names)
            execution = self._execution("train_step")
            samples = execution.batch(x, y, sample_weight, class_weight, trains=True)
            logs = logs_of_batch(execution.runner("train"), samples, "none")
            execution.check(samples, logs)
            self._feature_names = self._feature_names or samples.feature_names
            if plain:
                self._batch_forms["train"] = form_of_batch(self, execution, "train", x, y)
            return execution.returned(logs, as_dict)

    @without_engine_frames
    @keeping_values
    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Returns the loss and metrics of one batch.

        Args:
            x: the samples of the batch, as for `fit`.
            y: their targets, as for `fit`.
            sample_weight: weights of the samples (n,), as for `fit`; or (1, n), or one number for all.
            return_dict: whether to return a dict.

        Returns:
            The result of `evaluate`.
        """
        apply_pending_changes()
        with self._lock.borrowed():
            as_dict, form = _wants_dict(return_dict), self._batch_forms.get("test")
            if form is not None and sample_weight is None:
                done = form.run(self, x, y)
                if done is not None:
                    return form.execution(self).returned(done.logs, as_dict, done.names)
            execution = self._execution("test_step")
            samples = execution.batch(x, y, sample_weight, trains=False)
            logs = logs_of_batch(execution.runner("test"), samples, None)
            if sample_weight is None:
                self._batch_forms["test"] = form_of_batch(self, execution, "test", x, y)
            return execution.returned(logs, as_dict)

    def _execution(self, *steps: str) -> Execution:
        """Returns how batches are run: by steps of the user's class if it has one of `steps`, else by the core."""
        return StepExecution(self) if any(map(self._has_step, steps)) else CoreExecution(self)

    # Steps, which subclasses may override.

    def train_step(self, data: Any) -> Any:
        """Trains one batch, and returns a dict from names to numbers. Subclasses may override it.

        A model whose class overrides it, `compute_loss` or `compute_metrics` is trained step by step: each batch is passed to
        this method. Otherwise whole epochs run in the core, and this method isn't called.

        Args:
            data: the batch: (x, y, sample_weight), (x, y) or x.

        Returns:
            The results of the metrics by name.
        """
        x, y, sample_weight = unpacked_batch(data)
        compiled = self._require_compiled()
        compiled.require_optimizer()
        optimizer = compiled.optimizer
        with GradientTape() as tape:
            y_pred, values = self._called_with_values(x, training=True)
            with values_by_symbol(values):
                loss = self._loss_of(x, y, y_pred, sample_weight, training=True)
            if getattr(loss, "shape", ()):
                compiled.require_reduction()
            scaled = optimizer.scale_loss(loss)
        weights = self.trainable_weights
        if weights:
            optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights, strict=True))
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        self._require_compiled().loss_tracker.update_state(loss, sample_weight=_count(x))
        # As in Keras on JAX, metrics don't see masks in training.
        return self.compute_metrics(x, y, mapped(without_mask, y_pred), sample_weight=sample_weight)

    def test_step(self, data: Any) -> Any:
        """Evaluates one batch, and returns a dict from names to numbers. Subclasses may override it.

        Args:
            data: the batch, as for `train_step`.
        """
        x, y, sample_weight = unpacked_batch(data)
        y_pred, values = self._called_with_values(x, training=False)
        with values_by_symbol(values):
            loss = self._loss_of(x, y, y_pred, sample_weight, training=False)
        self._require_compiled().loss_tracker.update_state(loss, sample_weight=_count(x))
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def predict_step(self, data: Any) -> Any:
        """Returns the outputs for one batch. Subclasses may override it.

        Args:
            data: the batch: x, or a tuple that begins with it.
        """
        x, _, _ = unpacked_batch(data)
        return self(x, training=False)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the loss of a batch: the losses given to `compile`, and what layers add. Subclasses may override it.

        Args:
            x: samples, which this method ignores.
            y: targets.
            y_pred: the outputs of the model.
            sample_weight: weights of the samples.
            training: whether the model is being trained, which this method ignores.

        Raises:
            ValueError: if there is no loss.
        """
        del x, training
        found, compiled = list[Any](), self._compiled
        if compiled is not None and compiled.has_loss:
            found += compiled.computed_loss(
                *OutputData(compiled, self._built_graph.output_form).of_batch(y, y_pred, sample_weight)
            )
        found += self.losses
        if not found:
            msg = "No loss to compute. Provide a `loss` argument in `compile()`."
            raise ValueError(msg)
        total = found[0]
        for each in found[1:]:
            total = total + each
        return total

    def _called_with_values(self, x: Any, *, training: bool) -> tuple[Any, dict[int, Any]]:
        """Returns the outputs for a batch, and the values of the symbols that losses refer to, by the `id` of each."""
        if self._model_with_values is None:
            return self(x, training=training), {}
        inputs = self._input_data.arrays(x, "x") if isinstance(x, Mapping) else x
        found = self._model_with_values(inputs, training=training)
        count = len(self._built_graph.wiring.outputs)
        values = zip(self._symbols_of_losses, found[count:], strict=True)
        return self._built_graph.output_form.packed(found[:count]), {
            id(symbol): each for symbol, each in values
        }

    def _find_symbols_of_losses(self, losses: Any) -> None:
        """Finds the symbols of this model that losses refer to."""
        self._model_with_values = None
        self._symbols_of_losses = (
            symbols_read(losses) if self._body is None and self._built_graph.input_layers else []
        )
        tensors = [symbol._as_tensor for symbol in self._symbols_of_losses]
        if tensors:
            with suppress(ValueError):  # they are not computed from the inputs: training says so
                self._model_with_values = Model(list(self.inputs), [*self.outputs, *tensors])

    def _loss_of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, *, training: bool) -> Any:
        """Returns the result of `compute_loss`, which older scripts wrote without `training`."""
        if accepts(self.compute_loss, "training"):
            return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Adds a batch to the metrics given to `compile`, and returns all results by name. Subclasses may override it.

        Args:
            x: samples, which this method ignores.
            y: targets.
            y_pred: the outputs of the model.
            sample_weight: weights of the samples.
        """
        del x
        compiled = self._compiled
        if compiled is not None:
            compiled.update_metrics(
                *OutputData(compiled, self._built_graph.output_form).of_batch(y, y_pred, sample_weight)
            )
        return self.get_metrics_result()

    @property
    def _current_recovery(self) -> Recovery:
        """The state of the running training, for callbacks that back it up; RuntimeError if there is none."""
        if self._recovery is None:
            msg = "there is no training to back up: use BackupAndRestore in `callbacks` of fit()"
            raise RuntimeError(msg)
        return self._recovery

    # Prediction.

    @without_engine_frames
    @keeping_values
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: object = None,
        *,
        out: Float32 | None = None,
    ) -> Any:
        """Returns the outputs of the model for samples. Several threads may call it at the same time.

        Args:
            x: samples, as for `fit`.
            batch_size: samples per step for the progress bar and callbacks, default 32. It has no effect on the
                result, unless a layer of yours combines the samples of a batch, or assigns weights.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line; "auto" prints one of them if prediction takes
                more than half a second.
            steps: number of batches to use, from the first sample on; default all.
            callbacks: list of instances from `engine.callbacks`.
            out: float32 array (n, outputs) to write the result to. It is unchanged if an argument is wrong, except
                when `x` holds NaN or infinity, which is found during computation.

        Returns:
            float32 (n, outputs), or `out`; `predict(x)[i]` has the same bits as `predict(x[i:i + 1])[0]`. For a model
            with several outputs a list, tuple or dict of arrays, as the model was given them.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model.
        """
        apply_pending_changes()
        return predicted(self, x, batch_size, verbose, steps, callbacks, out)

    def _output_dtypes_for(self, dtypes: Sequence[str]) -> Sequence[str]:
        return self._built_graph.output_dtypes or super()._output_dtypes_for(dtypes)

    @without_engine_frames
    @keeping_values
    def predict_on_batch(self, x: Any) -> Any:
        """Returns the outputs of the model for one batch, all of `x`."""
        apply_pending_changes()
        return predicted_batch(self, x)

    # Calls.

    @keeping_values
    def __call__(self, x: Any, *args: Any, **options: Any) -> Any:
        """Returns the outputs for one batch, or the symbolic output for a symbolic input.

        Args:
            x: samples (n, ...), or a symbolic input, as returned by `Input` or a layer; for a model with several inputs
                a list or a dict by their names.
            args: `training`: whether layers behave as in training, such as dropout. With None each layer uses the value it
                was called with in the model, or its default: True for layers that augment images, otherwise False. Or, in their
                order, the further parameters of a `call` of your own, such as `model(x, is_training=True)`.
            options: the same by keyword.

        Returns:
            float32 (n, ...); for a model with several outputs a list, tuple or dict of them. If `x` is a tensor on the
            GPU on which the model computes, so is the result, a `DeviceArray`.

        Raises:
            ValueError, TypeError: if the data doesn't match the model.
        """
        arguments = self._arguments_of_call(args, options) if args or options else {}
        training = training_of(arguments.pop("training", None))
        x = recorded_inputs(x, self)
        if arguments:
            return self._call_with_arguments(x, training, arguments)
        build_for_symbols(self, x)
        symbols = symbols_of(self._built_graph.input_form.flat(x))
        if symbols is not None:
            if isinstance(x, Mapping) and self._built_graph.input_form.nested is None:
                symbols = [symbol._as_tensor for symbol in self._input_data.arrays(x, "inputs")]
            symbols = self._input_data.symbols(symbols)
            recorded: Any = symbols[0]
            if isinstance(recorded, RecordedArray):
                return call_recorded(self, x, symbols, training)
            return self._built_graph.output_form.packed(called_on(self, symbols, training))
        masks = masks_in(self, x)
        outputs = outputs_of_batch(self, x, "x", training, called=True, masks=masks)
        graph = self._built_graph
        form = graph.output_form
        flat = [_as_user_tensor(each) for each in form.unpacked(outputs)]
        if (masks or graph.may_make_mask) and flat[0].shape[0]:  # without samples there is no mask
            flat = [
                each.masked(mask) if isinstance(each, Tensor) else each
                for each, mask in zip(flat, masks_of(self, x, masks), strict=True)
            ]
        return form.packed(flat)

    def _arguments_of_call(self, args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments of a call beside `x`, by name."""
        if not args and options.keys() == {"training"}:
            return {**options}
        if self._body is None and len(args) == 1 and not options:
            return {"training": args[0]}
        return call_arguments(self.name, self.call, args, options, "model")

    def _call_with_arguments(self, x: Any, training: bool | None, arguments: Mapping[str, Any]) -> Any:
        """Returns what the user's `call` returns for one batch, or a symbol, and arguments of its own. Its layers compute it one by one."""
        body = self._body
        if body is None:
            msg = f"model {self.name!r} takes `training` beside its inputs, got {', '.join(map(repr, arguments))}: leave it out"
            raise TypeError(msg)
        own = {name: value for name, value in arguments.items() if name != "mask"}
        return body._run_call_of_user(x, training, arguments.get("mask", mask_of(x)), own)

    @property
    def _has_call(self) -> bool:
        """Whether the class has a `call` of its own."""
        return type(self).call is not Model.call

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs of the model for one batch. Calling the model calls this method.

        Args:
            inputs: one batch (n, ...), or a symbolic input.
            training: whether layers such as dropout behave as in training.
        """
        if self._body is not None:
            msg = (
                f"Model {type(self).__name__} does not have a `call()` method implemented: give it one, or call the layers in "
                "its attributes"
            )
            raise NotImplementedError(msg)
        return self(inputs, training)

    def _call_in_model(
        self, inputs: Sequence[Any], training: bool | None, arguments: CallArguments | None
    ) -> Any:
        """Returns the outputs for arrays, one for each input; models take no `arguments`."""
        del arguments
        return self(self._packed_inputs(inputs), training)

    def add_loss(self, loss: Any) -> None:
        """Adds a term to the loss of each batch. Call it in the `call` of a model of your own.

        A model made of symbols takes it before `compile`, as in Keras 2: a symbol computed from those of the model. Files
        and copies of the model don't have it.

        Args:
            loss: a symbol, or a list of symbols. The sum of all their numbers is added.

        Raises:
            TypeError: if a model made of symbols gets something else.
            ValueError: if the symbol depends on something else than the inputs of the model.
        """
        if self._body is None:
            self._added_losses = self._added_losses + ends_of(self.name, loss)
            self._set_ends(self.inputs, self.outputs)
            return
        self._body.add_loss(loss)

    def add_weight(self, *args: Any, **options: Any) -> Any:
        """Creates a weight of a model with a `call` of its own.

        Args:
            args: those of `Layer.add_weight`.
            options: the same by keyword.
        """
        if self._body is None:
            msg = f"model {self.name!r} has no `call` of its own, which could use a weight: create it in a layer"
            raise ValueError(msg)
        return self._body.add_weight(*args, **options)

    def add_variable(self, *args: Any, **options: Any) -> Any:
        """Another name of `add_weight`.

        Args:
            args: those of `Layer.add_variable`.
            options: the same by keyword.
        """
        if self._body is None:
            return self.add_weight(*args, **options)
        return self._body.add_variable(*args, **options)

    # Checks of data.

    @property
    def _input_data(self) -> InputData:
        """Says what data the inputs take."""
        return InputData(self._built_graph, self.device)

    @property
    def _names_of_outputs(self) -> list[str]:
        """The names of the outputs: the keys of the dict that the model was made with, or the names of the layers."""
        return list(self._built_graph.output_form.keys) or self.output_names

    # Warnings.

    def _warn_of_weights(self, action: str) -> None:
        """Warns, once for each `action`, that it uses weights that are NaN.

        A prediction calls this only after a loss was NaN or infinite, since reading all weights takes longer than a
        prediction of one sample. If the weights are finite, a callback has restored them.
        """
        if action in self._warned_actions:
            return
        if all_finite(self._values()):
            self._may_hold_nan = False
            return
        self._warned_actions.add(action)
        warn_of_weights(self.name, action)

    # Layers and shapes.

    @property
    def layers(self) -> list[Any]:
        """The layers in Keras' order, input layers included, each listed once. A nested model is one entry."""
        return [part for part in dict.fromkeys(self._parts_in_order) if not isinstance(part, OperationPart)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns the layer with the given `name`, or at the given `index`. A nested model is one entry.

        Raises:
            ValueError: if there is no such layer. The message lists the names.
        """
        layers = self.layers
        names = [layer.name for layer in layers]
        if (name is None) == (index is None):
            msg = f"give either `name` or `index`, got {name=} and {index=}"
            raise ValueError(msg)
        if index is not None:
            index = integer(index, "index", -LARGEST)
            if not -len(names) <= index < len(names):
                there = f"which are {text_of_axes(len(names))}" if names else "but there are none"
                msg = f"`index` must be that of one of the layers, {there}; got {index}"
                raise ValueError(msg)
            return layers[index]
        if name not in names:
            msg = f"no layer is named {name!r}{nearest(str(name), names)} The layers are: {listing(names)}"
            raise ValueError(msg)
        return layers[names.index(name)]

    @property
    def input(self) -> Any:
        """The symbolic input, or a list, tuple or dict of them. Raises AttributeError before the input shape is known.

        That of a Sequential which is a part of another model is what it is called on there, as for a layer.
        """
        outer = self._call_around()
        return self._built_graph.input_form.packed(self._symbols()[0]) if outer is None else outer.inputs[0]

    @property
    def output(self) -> Any:
        """The symbolic output, or a list, tuple or dict of them. Raises AttributeError before the input shape is known.

        That of a Sequential which is a part of another model is what its call there returns, as for a layer.
        """
        outer = self._call_around()
        return self._built_graph.output_form.packed(self._symbols()[1]) if outer is None else outer.outputs[0]

    def _call_around(self) -> Call | None:
        """The symbolic call that defines `input` and `output`; None if these are the model's own."""
        return None

    @_ends
    def inputs(self) -> list[KerasTensor]:
        """A list of the symbolic inputs. Raises AttributeError before the input shape is known."""
        return self._symbols()[0]

    @_ends
    def outputs(self) -> list[KerasTensor]:
        """A list of the symbolic outputs. Raises AttributeError before the input shape is known."""
        return self._symbols()[1]

    @property
    def output_names(self) -> list[str]:
        """A list with the name of each output, which is the name of the layer that computes it."""
        if self._body is not None:
            return names_of_ends(self._built_graph.output_form, len(self._built_graph.wiring.outputs))
        return [output.name for output in self.outputs]

    @property
    def input_spec(self) -> Any:
        """What inputs the model accepts: a list of `InputSpec`, one for each input; None before the inputs are known.

        The model refuses data that don't fit an `InputSpec`, or a list of them, that is assigned.
        """
        if self._own_input_spec is not None or not self._built_graph.input_layers:
            return self._own_input_spec
        return [
            InputSpec(shape=(None, *start.sample_shape), allow_last_axis_squeeze=True, name=name)
            for start, name in zip(self._built_graph.input_layers, self._input_data.names, strict=True)
        ]

    @input_spec.setter
    def input_spec(self, value: Any) -> None:
        self._own_input_spec = value

    @property
    def input_shape(self) -> Any:
        """Shape of the input, with None for the batch axis; a list for several. Raises AttributeError before it is known."""
        if not self._built_graph.input_layers:
            msg = f"model {self.name!r} has no input shape yet: begin it with Input(), or call build()"
            raise AttributeError(msg)
        shapes = [(None, *start.sample_shape) for start in self._built_graph.input_layers]
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_shape(self) -> Any:
        """Shape of the output, with None for the batch axis; a list for several. Raises AttributeError before it is known."""
        return self.compute_output_shape(self.input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both with the batch axis first.

        Args:
            input_shape: for a model with several inputs a list of shapes, or a dict by their names.
        """
        shapes_given = (
            self._input_data.arrays(input_shape, "input_shape")
            if len(self._built_graph.input_layers) > 1
            else [input_shape]
        )
        shapes = self._output_shapes_for([without_batch(each) for each in shapes_given])
        found = [(shapes_given[0][0], *shape) for shape in shapes]
        return found[0] if len(found) == 1 else found

    def summary(  # noqa: PLR0917 # Keras' signature
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Prints the layers with their output shapes and numbers of parameters.

        Args:
            line_length: width in characters; default is the width of the terminal, at most 88, or 108 for a graph.
            positions: ends of the columns as fractions of the line; default `[0.45, 0.8, 1.0]`, for a graph with the
                column "Connected to" `[0.3, 0.56, 0.74, 1.0]`.
            print_fn: function that is called with the whole text; default prints to standard output.
            expand_nested: whether to show the layers of nested models.
            show_trainable: whether to show which layers are trainable.
            layer_range: names of the first and the last layer to show, or regular expressions for them; default all
                layers.
        """
        from engine.models.summary import summary_text

        text = summary_text(
            self,
            line_length=line_length,
            positions=positions,
            expand_nested=flag(expand_nested, "expand_nested"),
            show_trainable=flag(show_trainable, "show_trainable"),
            layer_range=layer_range,
            for_terminal=print_fn is None,
        )
        if print_fn is None:
            print_message(text, end="")
        else:
            print_fn(text)

    def _repr_html_(self) -> str:
        """Returns the summary as a table, which notebooks show."""
        from engine.models.summary import summary_html

        return summary_html(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"

    def _symbols_at(self, layer: Part) -> tuple[Sequence[KerasTensor], Sequence[KerasTensor]]:
        """The symbolic inputs and outputs of the first call of a layer in the model."""
        inputs, _, calls = self._symbols()
        call = next((call for call in calls if call.layer is layer), None)
        return (inputs[:1], inputs[:1]) if call is None else (call.inputs, call.outputs)

    def _symbols(self) -> tuple[list[KerasTensor], list[KerasTensor], list[Call]]:
        """The symbolic inputs and outputs, and the symbolic calls of the layers.

        They stay the same objects as long as the layers do, so that models can be made from them.
        """
        if not self._built_graph.input_layers:
            msg = (
                f"model {self.name!r} has no input shape yet, and thus no defined input and output: begin it with "
                "Input(), or call build()"
            )
            raise AttributeError(msg)
        inputs = [start._as_tensor for start in self._built_graph.input_layers]
        calls, known = list[Call](), iter(self._calls)

        def called(
            part: Part, read: list[KerasTensor], training: bool | None, arguments: CallArguments | None
        ) -> Sequence[KerasTensor]:
            call, wanted = next(known, None), (part, tuple(read), training, arguments)
            if call is None or (call.layer, call.inputs, call.training, call.arguments) != wanted:
                call = Call(*wanted)
            else:
                call.refresh()
            calls.append(call)
            return call.outputs

        outputs = self._built_graph.run(inputs, called)
        self._calls = calls
        return inputs, outputs, calls

    def _diagram(self) -> list[Box]:
        """The boxes of a diagram, for plots."""
        return diagram(self)

    # Weights.

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Creates the weights.

        Args:
            input_shape: shape of the inputs with the batch axis first, such as `(None, 784)`; a list of them for
                several. Not needed if the model knows it.

        Raises:
            ValueError: if the model already has another input shape, or has no layers.
        """
        if self._in_build_of_user:  # the method of a subclass has called this one
            return
        with self._lock.held():
            if self._body is not None and _is_nested_shape(input_shape):
                build_for_shapes(self, input_shape)
                return
            if len(self._built_graph.input_layers) > 1:  # it has its weights since it was made
                self.compute_output_shape(self.input_shape if input_shape is None else input_shape)
                return
            known = next(iter(self._built_graph.input_layers), None)
            if input_shape is not None:
                sample = without_batch(input_shape)
            elif known is not None:
                sample = known.sample_shape
            else:
                msg = (
                    "`input_shape` is missing: give it with the batch axis, such as model.build((None, 784))"
                )
                raise ValueError(msg)
            self._output_shapes_for([sample])
            if not self.built:
                inputs = known if known is not None and input_shape is None else InputLayer(sample)
                declared = known is not None
                graph = self._built_graph.changed(input_layers=[inputs], has_declared_shape=declared)
                set_graph(self, graph, self._compiled)

    def _note_input_structure(self, inputs: Any, samples: Sequence[Shape]) -> None:
        """Builds a model with a `call` of its own that takes a list, tuple or dict, if its inputs aren't known yet."""
        form = nested_structure_of(inputs, lambda part: isinstance(part, Slot))
        if self._body is None or self._built_graph.input_layers or form.kind is None:
            return
        shapes = [(None, *samples[slot.number]) for slot in form.unpacked(inputs)]
        with self._lock.held():
            build_for_shapes(self, form.packed(shapes))

    @property
    def built(self) -> bool:
        """True if the weights have been created."""
        return self._built_graph.program is not None

    @built.setter
    def built(self, value: bool) -> None:
        """Does nothing. Models of Keras' guides set it; here it follows from the weights."""

    @property
    def weights(self) -> list[Variable]:
        """The weights: layer by layer, such as kernel and bias."""
        return [weight for leaf in self._layers_of_weights for weight in leaf._weights or ()]

    @property
    def _weight_arrays(self) -> list[WeightArray]:
        """The memory of the weights."""
        return [array for leaf in self._layers_of_weights for array in leaf._arrays]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`.

        Raises:
            ValueError: if the number of arrays or a shape differs. The weights are unchanged then.
        """
        with self._lock.held():
            values = self._checked(weights)
            prepare_for_change()
            write_arrays(self._weight_arrays, values)

    def _not_built(self, action: str) -> ValueError:
        return ValueError(
            f"model {self.name!r} has no weights yet, so no {action}: give it an input shape, such as "
            "keras.Input((784,)), or call model.build((None, 784))"
        )

    # Files and other programs.

    def save(
        self, filepath: PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves the model: its layers, weights, compile arguments and optimizer state.

        The file is written completely or not at all, even after a crash. Keras can read `.keras` and `.h5` files.

        Args:
            filepath: path that ends in `.keras`, `.npz` (which needs only NumPy), `.safetensors` or `.h5`; with
                `zipped=False` the path of a folder.
            overwrite: whether to replace an existing file without asking.
            zipped: False writes the contents of a `.keras` file into a folder and keeps all other files in that
                folder.
            kwargs: `include_optimizer=False` leaves out the optimizer state.

        Raises:
            ValueError: if the suffix is unknown.
            ImportError: if the format needs a package that is not installed.
        """
        from engine import saving

        apply_pending_changes()
        with self._lock.borrowed():
            self._warn_of_weights("save()")
            saving.save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: PathLike, overwrite: bool = True, max_shard_size: float | None = None, **kwargs: Any
    ) -> None:
        """Saves the weights and the optimizer state.

        Args:
            filepath: path that ends in `.weights.h5` (which Keras can read), `.npz` (which needs only NumPy) or
                `.safetensors`; with `max_shard_size` in `.weights.json`.
            overwrite: whether to replace an existing file without asking.
            max_shard_size: largest size of one file in GiB. The weights are split over several `.weights.h5` files
                beside the `.weights.json`. None writes one file.
            kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not saved.

        Raises:
            ValueError: if the suffix is unknown, or the model isn't built.
            ImportError: if the format needs a package that is not installed.
        """
        from engine import saving

        apply_pending_changes()
        with self._lock.borrowed():
            self._warn_of_weights("save_weights()")
            saving.save_weights(self, filepath, overwrite, max_shard_size, **kwargs)

    def load_weights(self, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads weights from a file of any supported format, and the optimizer state if the model is compiled.

        Args:
            filepath: path of the file.
            skip_mismatch: whether to skip layers whose weights differ in number or shape from the file, with a
                warning.
            kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not loaded; `by_name=True`, for
                Keras' older `.h5` files, loads only the layers whose names occur in the file.

        Raises:
            ValueError: if the file is damaged or doesn't match the model. The model is unchanged then.
            OSError: if the file can't be read.
        """
        from engine import saving

        with self._lock.held():
            saving.load_weights(self, filepath, skip_mismatch, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """Returns the model without its weights as JSON, for `models.model_from_json` here or in Keras.

        Args:
            kwargs: options of `json.dumps`.
        """
        from engine.saving.model_config import model_to_json

        return model_to_json(self, **kwargs)

    def __reduce__(self) -> Any:
        """A copy or a pickle has the same contents as a file."""
        from engine import saving

        with self._lock.borrowed():
            return saving.pickled(self)

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: object = None,
        **options: Any,
    ) -> None:
        """Exports the model for inference in other programs, as ONNX or C.

        An `.onnx` file uses opset 13 and accepts any batch size. Its tensors are named after the layers, outputs in a
        dict after their keys, and its inputs have the dtypes of `Input`. It needs the package onnx (`pip install onnx`).
        An `.h` file is one header in C99, which is also valid C++. It holds the weights and a function `..._predict`
        for one sample, with an array for each input and output, needs only math.h, and explains at its top how to call
        it. Both compute what `predict` computes, up to rounding.

        Functions and layers that users write are exported as what they recorded, in predictions: of a layer with the
        argument `training` the branch for False. A header is for one sample, so a mean over the samples of a batch is
        there that of one, as in `predict(x, batch_size=1)`. A warning says so.

        Strings are looked up in Python, and so are integers: a file begins after the layers that do so, such as `StringLookup`,
        and a warning says which inputs it has.

        Args:
            filepath: path of the file. An existing file is replaced once the new one is complete.
            format: "onnx" or "c"; by default the suffix of `filepath` decides, `.onnx` or `.h`.
            verbose: whether to print a line when the file is written; default False.
            input_signature: must be None. The inputs have the shapes and dtypes of `Input`.
            options: for "onnx" `opset_version`, at least 13; for "c" `prefix`, the prefix of all names, default the
                name of the file.

        Raises:
            ValueError: if the model isn't built, the format is unknown, Python computes a layer in every batch, a
                function has a derivative in it or, in C, random numbers, or a weight isn't finite. The message says
                which layer, and the line.
            ImportError: if the package onnx is not installed.
            OSError: if the file can't be written. An existing file is unchanged then.
        """
        from engine.models.after_values import description_of, names_of
        from engine.models.exporting import export_model, symbols_after_values_of

        if input_signature is not None:
            msg = "`input_signature` must be None, as the input is that of the model: give `Input` its shape and dtype"
            raise ValueError(msg)
        printed = verbose is not None and flag(verbose, "verbose")
        begins = symbols_after_values_of(self)
        if begins:
            after = Model(begins, self._built_graph.output_form.packed(self._symbols()[1]), name=self.name)
            export_model(after, names_of(begins), filepath, format, options)
            warnings.warn(f"model {self.name!r}: {description_of(self, begins)}", stacklevel=2)
        else:
            export_model(self, self._input_data.names, filepath, format, options)
        if printed:
            print_message(f"Exported model {self.name!r} to {os.fspath(filepath)!r}.")

    def to_torch_state_dict(
        self, modules: Sequence[str] | None = None, *, numpy: bool = False
    ) -> dict[str, Any]:
        """Returns the weights as a PyTorch state dict for the same network.

        The network in PyTorch is a `torch.nn.Sequential` of one module per layer, and one more for the activation
        of a Dense layer:
        Flatten, Dense(8, activation="relu"), Dropout, Dense(3, activation="softmax") are Flatten, Linear, ReLU,
        Dropout, Linear, Softmax, with keys `1.weight`, `1.bias`, `4.weight`, `4.bias`. A nested model is a nested
        Sequential, with keys such as `0.1.weight`. For a model with branches or several inputs or outputs it is a
        `torch.nn.Module` with one attribute per layer, named as the layer, with keys such as `hidden.weight` and
        `encoder.0.weight`; its `forward` applies the activations. A layer or model with a `call` of its own is a
        module with the attributes that it has here, with keys such as `blocks.0.hidden.weight`. Kernels are transposed, as PyTorch stores them.
        Settings that aren't weights are not transferred: set `eps` of normalization modules to that of the layers, by
        default 1e-3.

        Args:
            modules: names of the PyTorch modules with weights, in the order of the layers, such as `["fc1",
                "fc2"]`, for a network whose modules have other names.
            numpy: whether to return NumPy arrays instead of tensors. PyTorch is not needed then.

        Returns:
            A dict from keys to tensors, for `load_state_dict`.

        Raises:
            ImportError: if PyTorch is not installed.
            ValueError: if the model isn't built, or a layer has no equivalent in PyTorch.
        """
        from engine.export import to_torch_state_dict

        with self._lock.held():
            self._require_built("to_torch_state_dict()")
            return to_torch_state_dict(self, modules, flag(numpy, "numpy"))

    def from_torch_state_dict(self, state: Mapping[str, Any], modules: Sequence[str] | None = None) -> None:
        """Sets the weights from a PyTorch state dict of the same network.

        Args:
            state: what `state_dict()` of the network returned: a dict from keys to tensors or NumPy arrays. See
                `to_torch_state_dict` for the network and its keys.
            modules: names of the PyTorch modules with weights, in the order of the layers, such as `["fc1",
                "fc2"]`, for a network whose modules have other names.

        Raises:
            TypeError: if `state` is not a state dict.
            ValueError: if keys are missing or unexpected, or shapes differ. The message names them all, and the
                model is unchanged.
        """
        from engine.export import from_torch_state_dict

        with self._lock.held():
            self._require_built("from_torch_state_dict()")
            weights = from_torch_state_dict(self, state, modules)
            self.set_weights([array for leaf in self._layers_of_weights for array in weights.get(leaf, ())])

    def _require_built(self, action: str) -> None:
        """Raises ValueError if the model isn't built."""
        if self._built_graph.program is None:
            raise self._not_built(action)

    @property
    def _facts(self) -> dict[str, Any]:
        """What files store beside the config: the form of the targets, seeds, columns of the data, and whether inputs were declared."""
        wanted = (
            [] if self._compiled is None else [loss._targets_are_indices for loss in self._compiled.losses]
        )
        indices = wanted if len(wanted) > 1 else next(iter(wanted), None)
        seeds = [layer._seed_in_use for layer in self._layers_of_weights]
        return {
            "class_indices": indices,
            "seeds": seeds,
            "feature_names": self._feature_names,
            "declared_shape": self._built_graph.has_declared_shape,
        }

    def _restore_facts(self, facts: Mapping[str, Any]) -> None:
        """Takes over the result of `_facts` of a model with the same layers.

        Raises:
            ValueError: if there isn't one seed, or None, for each layer, or the names of columns aren't strings.
        """
        names = facts.get("feature_names")
        if names is not None and not (
            isinstance(names, list) and all(isinstance(name, str) for name in names)
        ):
            msg = f"the names of columns must be a list of strings, got {names!r:.200}"
            raise ValueError(msg)
        seeds = facts.get("seeds", [None] * len(self._layers_of_weights))
        if len(seeds) != len(self._layers_of_weights):
            msg = f"there must be a seed or None for each of {len(self._layers_of_weights)} layers, got {len(seeds)}"
            raise ValueError(msg)
        declared = flag(facts.get("declared_shape", True), "declared_shape")
        known_seeds = [None if seed is None else integer(seed, "seed", 0, 2**64 - 1) for seed in seeds]
        if reseeded(self._layers_of_weights, known_seeds):
            renew(self)
        self._note_declared_shape(self._built_graph.has_declared_shape and declared)
        self._feature_names = self._feature_names if names is None else names
        indices, compiled = facts.get("class_indices"), self._compiled
        every: list[Any] = indices if isinstance(indices, list) else [indices]
        if (
            compiled is None
            or compiled.is_resolved
            or self._built_graph.program is None
            or len(every) != len(compiled.losses)
        ):
            return
        if all(isinstance(each, bool) for each in every):
            widths = [shape[-1] if shape else 1 for shape in self._built_graph.output_shapes]
            if len(widths) == 1:
                widths = [self._built_graph.program.output_width]
            with compiled.resolving(every, widths):
                apply_compiled(self, compiled)

    def _note_declared_shape(self, declared: bool) -> None:
        """Notes whether the user said what the inputs are."""
        self._built_graph = replace(self._built_graph, has_declared_shape=declared)

    # Config.

    def get_config(self) -> dict[str, Any]:
        """Returns the name and the layers as plain Python values, without the weights, for `from_config`.

        A subclass with other constructor arguments may override this method and return those arguments by name.
        """
        if self._body is not None:
            own = {"name": self.name, "trainable": self._trainable}
            overridden = self._user_overrides("get_config")
            arguments = {
                key: value
                for key, value in self._constructed_with.items()
                if key not in own and (is_plain(value) or not overridden)
            }
            return own | plain_arguments(type(self), arguments)
        if self._added_losses:  # configs hold what leads to the outputs
            return Model(
                self.inputs, self.outputs, name=self.name, trainable=self._trainable
            )._config_of_parts()
        return self._config_of_parts()

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
        plain = checked_config(config)
        if cls not in (Model, Model._sequential, Functional) and "layers" not in plain:
            with custom_object_scope(custom_objects):
                return instance_from_arguments(cls, plain)
        form: type[Model] = Functional if "output_layers" in plain else Model._sequential
        kind = form if cls is Model else cls
        with custom_object_scope(custom_objects):
            if "output_layers" in plain:
                model = kind._from_functional(plain)
            else:
                model = kind._of_parts(parts_from_config(config), config["name"])
        model._trainable = flag(config.get("trainable", True), "trainable")
        if "dtype" in config:
            model._dtype_policy = policy_of(config["dtype"])
        return model

    @classmethod
    def _from_functional(cls, config: Mapping[str, Any]) -> Any:
        """Returns the model that a config in Keras' functional form describes."""
        graph = graph_in(config)
        parts = made_parts([*graph.starts, *(call.layer for call in graph.calls)])
        starts, layers = parts[: len(graph.starts)], parts[len(graph.starts) :]
        training_of_calls, arguments = (
            [call.training for call in graph.calls],
            [call.arguments for call in graph.calls],
        )
        for call, part in zip(graph.calls, layers, strict=True):
            if isinstance(part, OperationPart):
                part._with_operands(call.args, ["float32"] * len(call.reads))
        ends = structure_of_ends(config["input_layers"]), structure_of_ends(config["output_layers"])
        reads = [call.reads for call in graph.calls]
        calls = starts, layers, (reads, graph.outputs), training_of_calls, arguments
        return cls._of_calls(*calls, name=config["name"], forms=ends, others=beside_graph(config))

    def get_build_config(self) -> dict[str, Any] | None:
        """`{"input_shape": (None, ...)}`, for `build_from_config`; None before the shape is known."""
        if self._body is not None and self._built_graph.input_layers:
            return {
                "input_shape": self._built_graph.input_form.packed(
                    [(None, *each.sample_shape) for each in self._built_graph.input_layers]
                )
            }
        return (
            None
            if self._built_graph.sample_shape is None
            else {"input_shape": (None, *self._built_graph.sample_shape)}
        )

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Creates the weights for the result of `get_build_config`.

        Args:
            config: with the key `input_shape`; None or empty does nothing.
        """
        if config and config.get("input_shape") is not None:
            shape = config["input_shape"]
            self.build(shape if _is_nested_shape(shape) else tuple(shape))

    def _config_of_parts(self) -> dict[str, Any]:
        """The config that lists the layers, also if a subclass overrides `get_config`."""
        return config_of_graph(
            self.name, self._trainable, self._built_graph, self._parts_in_order, node_numbers(self)
        )

    @classmethod
    def _of_calls(
        cls,
        starts: Sequence[Any],
        parts: Sequence[Any],
        wiring: Wiring | tuple[Sequence[Sequence[ValueSource]], Sequence[ValueSource]],
        training_of_calls: Sequence[bool | None],
        arguments: Sequence[CallArguments | None],
        *,
        name: str | None,
        forms: tuple[Structure, Structure],
        others: Mapping[str, Any] = MappingProxyType({}),
    ) -> Self:
        """Returns a model in which `parts` are called one after the other.

        Args:
            starts: the input layers.
            parts: layers and models, one as often as it is called.
            wiring: as for `called_in_turn`, like `training_of_calls` and `arguments`.
            training_of_calls: the argument `training` of each call.
            arguments: the other arguments of each call, by name.
            name: of the model.
            forms: those of inputs and outputs.
            others: further arguments of the constructor of a subclass.
        """
        inputs, outputs = called_in_turn(starts, parts, wiring, training_of_calls, arguments)
        ends = [form.as_given(form.packed(each)) for form, each in zip(forms, (inputs, outputs), strict=True)]
        if cls.__init__ is not Model.__init__ and accepts_any_arguments(cls.__init__):
            return cls(inputs=ends[0], outputs=ends[1], name=name, **others)
        # A subclass with another constructor may have other arguments.
        kind = cls if cls.__init__ is Model.__init__ else Functional
        return cast("Self", kind(ends[0], ends[1], name))

    @classmethod
    def _of_parts(cls, parts: Sequence[Part], name: str | None) -> Self:
        """Returns the model in which each of `parts` is called on the output of the one before, the input layer first."""
        first, *others = parts
        nothing = [None] * len(others)
        plain = Structure(None), Structure(None)
        return cls._of_calls([first], others, chain_of(len(others)), nothing, nothing, name=name, forms=plain)

    # The parts of the model, as models around it need them.

    def _parts(self) -> Sequence[Part]:
        return self._built_graph.layers

    @property
    def _attributes_of_user(self) -> Mapping[str, Any] | None:
        if self._body is None:
            return None
        # Keras finds the layers in `layers`, too, unless the name of their attribute comes before.
        return {**self._body._attributes_of_user, "layers": self._body._parts()}

    @property
    def _parts_in_order(self) -> list[Part]:
        """The input layers, then layers and models in the order in which they compute, each as often as it is used.

        In a graph each comes once, in Keras' order.
        """
        if self._body is not None:
            return list(self._body._parts())
        if self._is_graph:
            return list(self._built_graph.listed)
        return [*self._built_graph.input_layers, *self._built_graph.layers]

    @property
    def operations(self) -> list[Any]:
        """The input layers, the layers and the operations between them, each once. A model with a `call` of its own has none.

        Raises:
            AttributeError: if the model is no functional one.
        """
        if not self._built_graph.listed:
            msg = f"{type(self).__name__!r} has no attribute 'operations': it is for models made of symbols, Model(inputs, outputs)"
            raise AttributeError(msg, name="operations", obj=self)
        return list(self._built_graph.listed)

    @property
    def _is_graph(self) -> bool:
        return self._built_graph.has_branches

    def _packed_inputs(self, values: Sequence[Any]) -> Any:
        return self._built_graph.input_form.packed(values)

    @property
    def _input_count(self) -> int:
        return max(len(self._built_graph.input_layers), 1)

    @property
    def _output_count(self) -> int:
        return len(self._built_graph.wiring.outputs)

    @property
    def _indices_below(self) -> Any:
        return self._built_graph.tokens

    @property
    def _input_readings(self) -> Sequence[Reading]:  # type: ignore[override]
        return self._built_graph.readings

    @property
    def _leaves(self) -> list[Layer]:
        return [leaf for part in self._built_graph.layers for leaf in part._leaves]

    @property
    def _layers_of_weights(self) -> list[Layer]:
        return self._built_graph.owners

    @property
    def _trains_by_default(self) -> bool:
        return self._built_graph.trains_by_default

    def _models_within(self) -> list[Model]:
        """The models that are parts of this one, at any depth."""
        inner = [part for part in self._built_graph.layers if isinstance(part, Model)]
        return [*inner, *(model for part in inner for model in part._models_within())]

    @property
    def _given_input_shape(self) -> Shape | None:
        return (
            self._built_graph.input_layers[0].sample_shape
            if len(self._built_graph.input_layers) == 1
            else None
        )

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        return self._output_shapes_for([input_shape])[0]

    def _output_shapes_for(self, samples: Sequence[Shape]) -> list[Shape]:
        if not self._built_graph.layers and not self._built_graph.input_layers:
            raise without_layers(self.name)
        if self._body is not None and not self._built_graph.input_layers:
            return self._body._output_shapes_for(samples)
        if len(samples) != max(len(self._built_graph.input_layers), 1):
            msg = f"model {self.name!r} has {max(len(self._built_graph.input_layers), 1)} inputs, so it can't take {len(samples)}"
            raise ValueError(msg)
        for sample, start in zip(samples, self._built_graph.input_layers, strict=False):
            if not fits(sample, start.sample_shape) and (
                self._built_graph.has_declared_shape or not suits(self, samples)
            ):
                msg = (
                    f"model {self.name!r} has input shape {(None, *start.sample_shape)}, so it can't take "
                    f"{(None, *sample)}"
                )
                raise ValueError(msg)
        return shapes_along(samples, self._built_graph.layers, self._built_graph.wiring).outputs

    def _build_for_inputs(self, samples: Sequence[Shape]) -> None:
        if len(samples) == 1 and len(self._built_graph.input_layers) <= 1:
            Model.build(self, (None, *samples[0]))
        elif not self._built_graph.input_layers and self._body is not None:
            with self._lock.held():
                build_for_shapes(self, [(None, *sample) for sample in samples])


class Functional(Model):
    """A graph of layers from inputs to outputs, as created by `Model(inputs, outputs)`.

    Args:
        inputs: the symbolic input, as returned by `Input` or by a layer, such as `model.input`; or a list, tuple or dict
            of them, which may have others within, as in `[image, {"facts": [a, b]}]`. Data have the same form then.
        outputs: the symbolic output, as returned by a layer; or a list, tuple or dict of them, in the same way.
        name: name of the model; default `functional` with a number.
        options: `trainable` and `dtype`, as for `Model`.

    Raises:
        TypeError: if `inputs` or `outputs` isn't symbolic.
        ValueError: if `outputs` depend on something else than `inputs`, or two layers have the same name.

    Example:
        >>> import engine as keras
        >>> inputs = keras.Input((4,))
        >>> hidden = keras.layers.Dense(8, activation="relu")(inputs)
        >>> outputs = keras.layers.Dense(3, activation="softmax")(hidden)
        >>> keras.Model(inputs, outputs).count_params()
        67

        Two inputs and two outputs:

        >>> image, facts = keras.Input((16,), name="image"), keras.Input((3,), name="facts")
        >>> joined = keras.layers.Concatenate()([keras.layers.Dense(8, activation="relu")(image), facts])
        >>> kind = keras.layers.Dense(5, activation="softmax", name="kind")(joined)
        >>> size = keras.layers.Dense(1, name="size")(joined)
        >>> model = keras.Model([image, facts], [kind, size])
        >>> model.output_shape
        [(None, 5), (None, 1)]
        >>> model.compile("adam", loss={"kind": "sparse_categorical_crossentropy", "size": "mse"})
    """

    # Where Keras looks for the class.
    _saved_as: ClassVar = {"module": "keras.src.models.functional", "registered_name": "Functional"}


def _as_user_tensor(outputs: Any) -> Any:
    """Returns outputs in memory of the host with the methods of tensors; those on a GPU stay as they are."""
    return outputs if isinstance(outputs, DeviceArray) else outputs.view(Tensor)


def _losses_of_config(config: Any) -> Any:
    """The losses that a config of `compile` names, in the same lists and dicts. Files in HDF5 leave their module out."""
    from engine import losses
    from engine.utils import deserialize_keras_object

    if isinstance(config, list):
        return [_losses_of_config(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    if "class_name" not in config:
        return {name: _losses_of_config(each) for name, each in config.items()}
    return deserialize_keras_object(config) if config.get("module") else losses.deserialize(config)


def _count(x: Any) -> float:
    """Returns the number of samples in a batch."""
    return float(np.shape(next(each for each in tree.flatten(x) if each is not None))[0])


def _binds(function: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Whether a function takes these arguments by name."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return False
    return True


def _is_nested_shape(shape: Any) -> bool:
    """Whether `shape` is a list, tuple or dict of shapes, or of such lists, tuples and dicts."""
    if isinstance(shape, Mapping):
        return True
    return (
        isinstance(shape, (list, tuple))
        and bool(shape)
        and all(isinstance(each, (list, tuple, Mapping)) for each in shape)
    )


def _wants_dict(return_dict: object) -> bool:
    """Whether results are returned as a dict; None means False, as in Keras."""
    return return_dict is not None and flag(return_dict, "return_dict")
