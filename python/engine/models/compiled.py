"""What a model was compiled with, and checks of samples against it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine._base.checks import Shape, below_one, choice, flag, integer
from engine._base.cpp import Float32, Program
from engine._base.left_out import SaysWhatIsLeftOut
from engine._data.array_conversion import only_array, real_array
from engine._data.batch_streams import Stream, yields_batches
from engine._data.frames import feature_names, in_order_of
from engine._data.lazy_rows import require_tokens
from engine._data.sources import Samples, Source, unpacked
from engine._training.checked_samples import Targeting, checked_samples, rows_of
from engine._training.compile_arguments import Compiled
from engine._training.diagnostic_warnings import all_finite, warn_of_layers, warn_of_loss, warn_of_weights
from engine._training.recovery import Recovery
from engine.callbacks import History
from engine.layers import InputLayer, Layer
from engine.metrics import Metric
from engine.models.lengths import ProgramsByShape
from engine.models.lock import ModelLock
from engine.optimizers import Optimizer
from engine.optimizers.optimizer import registry as optimizer_registry


class CompiledModel(SaysWhatIsLeftOut, ABC):
    """Base class of models: `compile`, and checks of data against the model."""

    _samplings = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.history: History | None = None
        self._feature_names: list[str] | None = None  # of the columns of the frame that `fit` was given last
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self._inputs: InputLayer | None = None
        self._program: Program | None = None
        self._by_shape: ProgramsByShape | None = None  # where an axis of the samples has no fixed length
        self._sample_shape: Shape | None = None
        self._output_shape: Shape | None = None
        self._tokens: int | None = None  # where inputs are indices: how many there are
        self._penalised: list[Layer] = []  # the layers with a penalty on their outputs
        self._mixed = False  # whether a call without `training` means training to some layers
        self._trained_with: Compiled | None = None
        self._suspect = False  # whether weights may be NaN: a loss was
        self._told_of: set[str] = set()  # what has been warned of, done with such weights
        self._compiled: Compiled | None = None
        self._compile_arguments: dict[str, Any] = {}
        self._uncompiled_optimizer: Optimizer | None = None  # assigned before `compile`
        self._run_eagerly = False
        self._fitting: threading.Thread | None = None  # which is in `fit`
        self._recovery: Recovery | None = None  # of the training that is going on
        self._lock = ModelLock()

    @abstractmethod
    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Creates the weights for inputs of shape `input_shape`, batch axis first."""

    @abstractmethod
    def _shape_to_build_for(self, sample: Shape) -> Shape:
        """The shape to build for where the first samples have the shape `sample`."""

    @abstractmethod
    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`."""

    @abstractmethod
    def _apply(self, compiled: Compiled) -> None:
        """Compile the program, where there is one."""

    @abstractmethod
    def _forget_penalties(self) -> None:
        """Forget the penalties on outputs that the last call noted for `losses`, as Keras does in the other verbs."""

    @abstractmethod
    def _by_layer(self, rows: Any, training: bool | None) -> Float32:
        """The outputs for `rows` (n, ...), by calling one layer after the other."""

    @property
    @abstractmethod
    def _leaves(self) -> list[Layer]:
        """The layers that have no layers within, in the order in which they compute, one as often as it is used."""

    @property
    @abstractmethod
    def weights(self) -> list[Float32]:
        """The current weights as read-only arrays."""

    @property
    @abstractmethod
    def _owners(self) -> list[Layer]:
        """The layers, those of models within in the place of these, each once."""

    @abstractmethod
    def _reseed(self, seeds: Sequence[int | None]) -> None:
        """Give the layers that draw random numbers these seeds, one for each layer."""

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer, or None before `compile`. Assigning another one starts with a new optimizer state."""
        return self._uncompiled_optimizer if self._compiled is None else self._compiled.optimizer

    @optimizer.setter
    def optimizer(self, value: object) -> None:
        optimizer = optimizer_registry.get(value)
        with self._lock:
            self._require_idle("given another optimizer")
            if self._compiled is None:
                self._uncompiled_optimizer = optimizer
                return
            before = self._compiled.optimizer
            self._compiled.optimizer = optimizer
            try:
                self._apply(self._compiled)
            except BaseException:
                self._compiled.optimizer = before
                raise

    @property
    def loss(self) -> Any:
        """The loss given to `compile`, or None before."""
        return self._compile_arguments.get("loss")

    @property
    def compiled(self) -> bool:
        """True if `compile` has been called."""
        return self._compiled is not None

    @property
    def metrics_names(self) -> list[str]:
        """The names of the values that `evaluate` returns, in their order; empty before `compile`."""
        return [] if self._compiled is None else list(self._compiled.names)

    @property
    def metrics(self) -> list[Metric]:
        """The metrics: the mean of the loss, then those given to `compile`, with the state of the last pass."""
        return [] if self._compiled is None else self._compiled.tracked

    @property
    def metrics_variables(self) -> list[Any]:
        """The state variables of the metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    @property
    def run_eagerly(self) -> bool:
        """The argument `run_eagerly` of `compile`. It has no effect: the model is always compiled ahead."""
        return self._run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._run_eagerly = flag(value, "run_eagerly")

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns a dict from the name of each metric to its value in the last pass."""
        return dict(zip(self.metrics_names, [metric.result() for metric in self.metrics], strict=True))

    def reset_metrics(self) -> None:
        """Resets the state of all metrics."""
        with self._lock:
            for metric in self.metrics:
                metric.reset_state()

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
    ) -> None:
        """Configures the model for training. Weights keep their values; the optimizer state is reset.

        Args:
            optimizer: name of an optimizer, or an instance from `engine.optimizers`.
            loss: name, function or instance from `engine.losses`, or a custom loss with a gradient. "crossentropy"
                selects the crossentropy that matches the labels. With None the loss is the sum of what layers add
                to it (penalties and `add_loss`), and `fit` needs no `y`.
            loss_weights: factor by which the loss is multiplied. It doesn't scale regularization penalties.
            metrics: list of names or instances from `engine.metrics`. "accuracy" selects the accuracy that matches
                the labels.
            weighted_metrics: list of metrics that are weighted by `sample_weight` and `class_weight`.
            run_eagerly: Ignored. The model is always compiled ahead.
            steps_per_execution: Ignored. A whole epoch runs in one call.
            jit_compile: Ignored. Keras accepts it.
            auto_scale_loss: Ignored. Training in float32 needs no loss scaling.

        Raises:
            ValueError: for an unknown name, or a metric that doesn't match the loss. The model is unchanged then.
        """
        run_eagerly = flag(run_eagerly, "run_eagerly")
        integer(steps_per_execution, "steps_per_execution", 1)
        choice(jit_compile, "jit_compile", ("auto", True, False))
        flag(auto_scale_loss, "auto_scale_loss")
        with self._lock:
            self._require_idle("compiled")
            compiled = Compiled(optimizer, loss, loss_weights, metrics, weighted_metrics)
            self._apply(compiled)
            self._compile_arguments = {
                "loss": loss,
                "loss_weights": loss_weights,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "run_eagerly": run_eagerly,
                "steps_per_execution": int(steps_per_execution),
                "jit_compile": jit_compile,
            }
            self._compiled, self._run_eagerly = compiled, run_eagerly

    def _direction_of(self, name: str) -> str | None:
        """Whether more of what the logs call `name` is better, "up", or less, "down"; None if nobody can say."""
        return self._require_compiled().direction(name)

    def _warn_of_dead_ends(self, compiled: Compiled) -> None:
        """Say, in the first training after each `compile`, why it will come to nothing, where layers and loss tell."""
        if self._trained_with is not compiled:
            self._trained_with = compiled
            warn_of_layers(compiled, self._leaves, self._sample_shape or ())

    def _warn_of_loss(self, compiled: Compiled, loss: float, source: Source) -> None:
        """Note, and say once for each `compile`, that training has made the loss NaN or infinite."""
        self._suspect = True
        warn_of_loss(self.name, compiled, self._leaves, loss, source=source, weights=self.weights)

    def _warn_of_weights(self, action: str) -> None:
        """Say once of each `action` that it is done with weights that are NaN; they have been brought back if they aren't.

        A prediction calls this only after a loss was NaN or infinite, as looking at all weights takes longer than a
        prediction of one sample.
        """
        if action in self._told_of:
            return
        if all_finite(self.weights):
            self._suspect = False
            return
        self._told_of.add(action)
        warn_of_weights(self.name, action)

    @property
    def _current_recovery(self) -> Recovery:
        """The training that is going on, for callbacks that write it down; RuntimeError without one."""
        if self._recovery is None:
            msg = "there is no training to back up: use BackupAndRestore in `callbacks` of fit()"
            raise RuntimeError(msg)
        return self._recovery

    def _require_compiled(self) -> Compiled:
        if self._compiled is None:
            msg = (
                f"model {self.name!r} is not compiled: call compile() first, such as "
                "model.compile('adam', loss='sparse_categorical_crossentropy')"
            )
            raise ValueError(msg)
        return self._compiled

    def _not_built(self, action: str) -> ValueError:
        return ValueError(
            f"model {self.name!r} has no weights yet, so no {action}: give it an input shape, such as "
            "keras.Input((784,)), or call model.build((None, 784))"
        )

    def _require_idle(self, action: str) -> None:
        if self._fitting is not None and self._fitting.is_alive():  # a forked child has one thread alone
            msg = f"model {self.name!r} can't be {action} while it is being fitted"
            raise RuntimeError(msg)

    def _source(
        self,
        x: object,
        y: object,
        sample_weight: object,
        *,
        like: Source | None = None,
    ) -> Source:
        """Checked samples, or batches that are checked as they come; for validation, `like` those of the training."""
        prefix, shape = ("", None) if like is None else ("validation ", like.sample_shape)
        names = self._feature_names if like is None else like.feature_names

        def check(x: object, y: object, sample_weight: object, batch: str = "") -> Samples:
            nonlocal names  # the first batch of a stream names the columns of the others
            samples = self._samples(x, y, sample_weight, prefix + batch, shape, names=names)
            names = samples.feature_names if names is None else names
            return samples

        if not yields_batches(x):
            return check(x, y, sample_weight)
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                msg = (
                    f"`{prefix}{name}` must not be given beside an `x` that yields batches, here a "
                    f"{type(x).__name__}: it must yield (x, y) or (x, y, sample_weight)"
                )
                raise ValueError(msg)
        return Stream(x, check, f"{prefix}x", replays=like is not None)

    def _parted(
        self,
        source: Source,
        class_weight: object,
        validation_data: object,
        validation_split: float,
        stratify: bool,
    ) -> tuple[Source, Source | None]:
        """What to train on, weighed by class, and what to validate with."""
        share = below_one(validation_split, "validation_split")
        if flag(stratify, "stratify") and (validation_data is not None or share == 0):
            msg = "`stratify=True` says how `validation_split` splits, which isn't at work here"
            raise ValueError(msg)
        if validation_data is None and share > 0:
            if not isinstance(source, Samples):
                msg = (
                    "`validation_split` needs samples whose number is known, but `x` yields batches: pass "
                    "`validation_data`"
                )
                raise ValueError(msg)
            kept, last = source.split(share, stratify)
            return kept.with_class_weight(class_weight), last
        source = source.with_class_weight(class_weight)
        if validation_data is None:
            return source, None
        stream = yields_batches(validation_data)
        parts = (validation_data, None, None) if stream else unpacked(validation_data, "validation_data")
        held_out = self._source(*parts, like=source)
        _ = held_out.sample_shape  # looks at a stream's first batch, before anything is learnt
        return source, held_out

    def _samples(
        self,
        x: object,
        y: object,
        sample_weight: object,
        prefix: str = "",
        shape: Shape | None = None,
        *,
        names: list[str] | None = None,
    ) -> Samples:
        """Checked samples. Leaves the model unbuilt.

        Args:
            x: as given.
            y: as given.
            sample_weight: as given.
            prefix: comes before the names in messages.
            shape: of one sample, where the model doesn't know better.
            names: of the columns, into whose order those of a frame are brought; None takes them as they come.
        """
        compiled = self._require_compiled()
        x = self._input_in(x, f"{prefix}x", names)
        rows = rows_of(x, self._sample_shape or shape, f"{prefix}x")
        require_tokens(rows, self._tokens, f"{prefix}x")
        output_shape = self._output_shape_of(rows.shape[1:])
        targeting = Targeting(compiled.loss, output_shape)
        y, sample_weight = (_of_samples(value, len(rows)) for value in (y, sample_weight))
        if y is None and not compiled.has_loss and len(compiled.names) == 1:
            y = _no_targets(len(rows), targeting)
        if not compiled.settled:
            self._settle(compiled, y, targeting)
        compiled.require_readable(output_shape)
        targeting = Targeting(compiled.loss, output_shape)
        samples = checked_samples(rows, y, targeting, sample_weight, prefix, feature_names=feature_names(x))
        if samples.form.kept is not None:
            compiled.require_own_metrics(samples.form.shape)
        return samples

    def _input_in(self, x: Any, name: str, names: list[str] | None) -> Any:
        """The samples in what Keras takes for a model of one input: a list of one array, or a dict by the input's name.

        Args:
            x: as given.
            name: what messages call it.
            names: of the columns, into whose order those of a frame are brought; None takes them as they come.
        """
        if isinstance(x, np.ndarray):  # the shortest way for what comes most often
            return x if self._sample_shape is None else _with_rank_of(x, self._sample_shape)
        if isinstance(x, Mapping) and self._inputs is not None:
            own = self._inputs.name
            if own not in x:
                msg = f"`{name}` must have the key {own!r}, of the model's one input, but is a dict of {list(x)}"
                raise ValueError(msg)
            return in_order_of(names, x[own], name)
        shape = self._sample_shape
        rank = 2 if shape is None else 1 if shape == (1,) else len(shape) + 1
        return in_order_of(names, only_array(x, rank), name)

    def _output_shape_of(self, sample: Shape) -> Shape:
        """The shape of one output for samples of `sample`."""
        known = self._output_shape
        return self._output_shape_for(sample) if known is None or None in known else known

    @property
    def _facts(self) -> dict[str, Any]:
        """What configs don't tell: the form of the targets, seeds, and the names of the columns that `fit` was given."""
        indices = None if self._compiled is None else self._compiled.loss._wants_indices
        seeds = [layer._seed_in_use for layer in self._owners]
        return {"class_indices": indices, "seeds": seeds, "feature_names": self._feature_names}

    def _learn_facts(self, facts: Mapping[str, Any]) -> None:
        """Take over what `_facts` returned, for the same layers.

        Raises:
            ValueError: if there isn't one seed, or None, for each layer, or the names of columns aren't strings.
        """
        names = facts.get("feature_names")
        if names is not None and not (
            isinstance(names, list) and all(isinstance(name, str) for name in names)
        ):
            msg = f"the names of columns must be a list of strings, got {names!r:.200}"
            raise ValueError(msg)
        seeds = facts.get("seeds", [None] * len(self._owners))
        if len(seeds) != len(self._owners):
            msg = f"there must be a seed or None for each of {len(self._owners)} layers, got {len(seeds)}"
            raise ValueError(msg)
        self._reseed([None if seed is None else integer(seed, "seed", 0, 2**64 - 1) for seed in seeds])
        self._feature_names = self._feature_names if names is None else names
        indices, compiled = facts.get("class_indices"), self._compiled
        if isinstance(indices, bool) and compiled is not None and not compiled.settled and self._program:
            with compiled.settling(indices, self._program.output_width):
                self._apply(compiled)

    @contextmanager
    def _checking(self, compiled: Compiled) -> Iterator[None]:
        """Within the block arguments are checked: if it raises, the loss is as open as it was before.

        The first targets tell which loss "crossentropy" stands for, and those of a call that is refused don't count.
        """
        before = compiled.loss
        try:
            yield
        except BaseException:
            compiled.loss = before
            raise

    def _settle(self, compiled: Compiled, y: object, targeting: Targeting) -> None:
        """Let `y` tell which loss is meant; nothing has been learnt with another yet."""
        targets = real_array(y, "y")
        indices = targeting.indices(targets.shape[1:]) and targeting.read_by_core(targets)
        with compiled.settling(indices, targeting.width):
            if self._program is not None:
                self._apply(compiled)


def _no_targets(count: int, targeting: Targeting) -> np.ndarray[Any, Any]:
    """What stands for so many targets where neither a loss nor a metric reads them."""
    indices = bool(targeting.loss._wants_indices)
    shape = targeting.rows if indices else targeting.output_shape
    return np.zeros((count, *shape), np.int32 if indices else np.float32)


def _with_rank_of(x: np.ndarray[Any, Any], sample: Shape) -> np.ndarray[Any, Any]:
    """`x` with a last axis of length 1 more or less, as Keras has it, where samples of shape `sample` need that."""
    axes = len(sample) + 1
    if x.ndim == axes + 1 and x.shape[-1] == 1:
        return x[..., 0]
    return x[..., np.newaxis] if x.ndim == axes - 1 > 0 and sample[-1] == 1 else x


def _of_samples(value: Any, count: int) -> Any:
    """Targets or weights of so many samples, also in a list of one array; one longer than one sample is its row."""
    one = only_array(value, 1)
    return value if count == 1 and one is not value and len(one) != 1 else one
