"""Saves a running `fit` to a file and restores it, so that an interrupted training continues bit for bit.

The file holds everything on which later steps depend: weights, optimizer state, position in the data, sums of metrics,
random states and the state of callbacks. The callback `BackupAndRestore` decides when it is written and read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine._base import random_state
from engine._base.checks import integer, real
from engine._core_interface.cpp import Totals, WeightArray, read_arrays, write_arrays
from engine._training.batch_iteration import BatchIterator, DataPosition
from engine._training.compile_arguments import Compiled
from engine._training.draws import DrawPosition, draw_position, generators_of, restore_draws
from engine._training.runner import Runner, as_logs
from engine.callbacks import Callback, CallbackList
from engine.callbacks.base import Logs
from engine.optimizers import Optimizer
from engine.optimizers.variables import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from engine.metrics import Metric
    from engine.saving.model_interface import SavedModel
    from engine.saving.npz import NpzReader

    class FittedModel(SavedModel, Protocol):
        """A model while `fit` trains it."""

        _feature_names: list[str] | None
        """The columns of the data frame that `fit` got."""

        _step_draws: dict[str, DrawPosition]
        """Where the random numbers of compiled steps began."""
        _eager_steps: dict[str, Exception | None]
        """The steps that can't be compiled."""

        @property
        def _weight_arrays(self) -> list[WeightArray]:
            """The weights, which training changes."""

        @property
        def _layers_of_weights(self) -> Sequence[Any]:
            """What the weights belong to."""

        @property
        def _optimizers(self) -> list[Optimizer]:
            """The optimizers that may step the weights."""

        def _note_declared_shape(self, declared: bool) -> None:
            """Notes whether the user said what the inputs are; otherwise the first data did."""


Arrays = dict[str, list[NDArray[Any]]]
_TRAINING = "training.json"
_ANOTHER = (
    "this is the backup of another training: fit() must be called with the same model, optimizers and callbacks, or the "
    "folder deleted"
)
_LARGEST = 2**64 - 1  # the largest seed, and the largest number of draws
# The number of words in the state of the Mersenne Twister, which both NumPy's and Python's global generators are.
_WORDS = 624
_NAMES = (
    "epoch",
    "place",
    "totals",
    "logs",
    "stopped",
    "optimizers",
    "random",
    "steps",
    "metric_forms",
    "facts",
    "callbacks",
    "counts",
)


class Resumed(NamedTuple):
    """How far an interrupted training had come."""

    path: Path
    """The backup that was read."""
    epoch: int
    place: DataPosition
    totals: Any
    """Those of the runner."""
    logs: Logs
    stopped: bool
    """Whether a callback had ended the training."""


class _TrainingState(NamedTuple):
    """The checked state of a training. Restoring it can't fail."""

    model: list[NDArray[Any]]
    optimizers: list[Snapshot]
    metrics: list[list[NDArray[Any]]]
    """The state of each metric that Python computes."""
    callbacks: list[dict[str, Any]]
    """The attributes of each callback with a state, by name."""
    random: _RandomState
    draws: DrawPosition
    steps: dict[str, DrawPosition | None]
    """Where the random numbers of each compiled step began; None for a step that can't be compiled."""


class _Earlier(NamedTuple):
    """What `Recovery.load` may change."""

    facts: Mapping[str, Any]
    """Those of the model."""
    optimizers: list[Snapshot]
    metrics: Any
    """Which metrics are meant."""


class _RandomState(NamedTuple):
    """The global random states of the engine, NumPy and Python."""

    engine: tuple[int, int]
    numpy: tuple[Any, ...]
    python: tuple[Any, ...]

    def restore(self) -> None:
        """Sets the three global random states."""
        import random

        random_state.go_to(self.engine)
        np.random.set_state(self.numpy)  # noqa: NPY002 # scripts may draw from the global generator
        random.setstate(self.python)


class Recovery:
    """Saves and restores one call of `fit`.

    Args:
        model: the model that is fitted.
        compiled: what the model was compiled with.
        callbacks: the callbacks of the call.
    """

    def __init__(self, model: FittedModel, compiled: Compiled, callbacks: CallbackList) -> None:
        self._model, self._compiled, self._callbacks = model, compiled, callbacks
        self.batch_iterator: BatchIterator  # the trainer sets it when training begins
        self.resumed: Resumed | None = None
        self.refused = False
        """Whether the last file that was read is damaged, or the backup of another training."""
        self._state: _TrainingState
        self._earlier: _Earlier

    @property
    def _runner(self) -> Runner:
        return self.batch_iterator.runner

    def _snapshots(self) -> list[Snapshot]:
        return [optimizer._snapshot() for optimizer in self._model._optimizers]

    def _restore_optimizers(self, snapshots: Sequence[Snapshot]) -> None:
        for optimizer, snapshot in zip(self._model._optimizers, snapshots, strict=True):
            optimizer._restore(snapshot)

    def _places(self, optimizer: Optimizer) -> list[int]:
        """Returns the number of each weight that an optimizer steps, among those of the model."""
        numbers = {owner: number for number, owner in enumerate(self._variables)}
        try:
            return [numbers[variable.key] for variable in optimizer._tracked]
        except KeyError:
            msg = (
                f"BackupAndRestore can't back up the optimizer {optimizer.name!r}, which steps variables that are no weights of "
                f"{type(self._model).__name__}: make them attributes of the model"
            )
            raise RuntimeError(msg) from None

    @property
    def _variables(self) -> list[tuple[Any, int]]:
        """The owner of each weight of the model, and the number of the weight there."""
        return [
            (owner, number)
            for owner in self._model._layers_of_weights
            for number in range(len(owner._weights or ()))
        ]

    def save(self, path: Path, epoch: int, batches_of_epoch: int, logs: Logs, previous: Path | None) -> None:
        """Writes the state of the training to a file.

        Args:
            path: the path of the file.
            epoch: the number of the current epoch, or of the next one between two epochs.
            batches_of_epoch: the number of batches of this epoch that are done.
            logs: the logs of the last epoch.
            previous: the path to which an existing file is moved; None replaces it.
        """
        import json

        from engine._base.atomic_files import replacing
        from engine.saving.contents import Contents, Group
        from engine.saving.npz import Npz

        states = self._snapshots()
        totals, sums = _described(self._runner.totals)
        numbers, random_info = _random_state()
        callbacks, saved_callbacks = self._callback_states()
        draws = draw_position(self._model)
        arrays: Arrays = {
            "model": read_arrays(self._model._weight_arrays),
            **_by_name(states),
            "totals": sums,
            **{f"metrics/{i}": values for i, values in enumerate(self._metric_states())},
            "random": numbers,
            **saved_callbacks,
        }
        info = {
            "epoch": epoch,
            "place": self.batch_iterator.data_position(batches_of_epoch),
            "totals": totals,
            "logs": {name: float(value) for name, value in logs.items() if np.ndim(value) == 0},
            "stopped": bool(self._model.stop_training),
            "optimizers": [
                [state.batches, state.rate, self._places(optimizer)]
                for state, optimizer in zip(states, self._model._optimizers, strict=True)
            ],
            "random": [*random_info, draws.generators],
            "steps": {
                **self._model._step_draws,
                **dict.fromkeys(self._model._eager_steps),
            },
            "metric_forms": self._compiled.metric_forms,
            "facts": self._model._facts,
            "callbacks": callbacks,
            "counts": {name: len(values) for name, values in arrays.items()},
        }
        groups = {
            name: Group(name, {str(i): array for i, array in enumerate(values)}, ())
            for name, values in arrays.items()
        }
        with replacing(path) as file:
            Npz().write(file, Contents(groups, {_TRAINING: json.dumps(info, default=float)}))
            if previous is not None and path.exists():
                path.replace(previous)

    def load(self, path: Path) -> None:
        """Reads a file and checks that it belongs to this training. `apply` then restores what it holds.

        Raises:
            ValueError: if the file is damaged, or the backup of another training. Nothing has changed then.
            OSError: if the file can't be read.
        """
        from engine.saving.contents import understood
        from engine.saving.npz import Npz

        self.refused = True
        self._earlier = _Earlier(self._model._facts, self._snapshots(), self._compiled.resolved_metrics)
        with understood(path), Npz().open(path) as reader:
            info = _parsed(reader.text(_TRAINING))
            arrays = _arrays_in(reader, info["counts"])
            try:
                resumed, state = self._checked(path, info, arrays)
            except BaseException:
                self.undo()
                raise
        self.resumed, self._state, self.refused = resumed, state, False

    def _checked(self, path: Path, info: Mapping[str, Any], arrays: Arrays) -> tuple[Resumed, _TrainingState]:
        """Returns what a file holds; ValueError or TypeError if it is damaged, or the backup of another training.

        For that it makes the state of the optimizers, settles the metrics, and restores the facts of the model.
        """
        self._require_same(arrays, info)
        facts = _mapping(info["facts"], "facts")
        self._require_same_columns(facts.get("feature_names"))
        if info["metric_forms"] is not None:
            self._compiled.resolve_metrics(
                [
                    (bool(indices), integer(outputs, "metric_forms", 1))
                    for indices, outputs in _listed(info["metric_forms"], "metric_forms")
                ]
            )
        resumed, state = _resumed_of(path, info, arrays), self._state_of(info, arrays)
        indices = facts["class_indices"]
        several = len(self._compiled.losses) > 1
        every = _listed(indices, "class_indices", len(self._compiled.losses)) if several else [indices]
        kinds = isinstance(facts["seeds"], list) and isinstance(facts["declared_shape"], bool)
        if not (kinds and all(isinstance(flag, bool | None) for flag in every)):
            msg = (
                "`facts` must have `seeds`, a list, `declared_shape`, True or False, and `class_indices`, True, False or None, "
                f"or a list of these; got {facts!r:.200}"
            )
            raise ValueError(msg)
        self._model._restore_facts(facts)
        return resumed, state

    def undo(self) -> None:
        """Undoes the changes of `load`. It is called instead of `apply` if the data turn out to be others."""
        earlier = self._earlier
        self._model._restore_facts(earlier.facts)
        self._model._note_declared_shape(earlier.facts["declared_shape"])
        self._restore_optimizers(earlier.optimizers)
        self._compiled.resolved_metrics = earlier.metrics
        self.refused = True

    def apply(self) -> None:
        """Restores everything except the position in the data and the states of metrics."""
        state = self._state
        write_arrays(self._model._weight_arrays, state.model)
        self._restore_optimizers(state.optimizers)
        for callback, values in zip(self._stateful, state.callbacks, strict=True):
            for name, value in values.items():
                setattr(callback, name, value)
        state.random.restore()
        restore_draws(self._model, state.draws)
        for name, began in state.steps.items():
            if began is None:
                self._model._eager_steps.setdefault(name, None)
            else:
                self._model._step_draws[name] = began

    def apply_metrics(self) -> None:
        """Restores the states of the metrics that Python computes."""
        for metric, values in zip(self._runner.python_metrics, self._state.metrics, strict=True):
            _load(metric, values)

    @property
    def _stateful(self) -> list[Callback]:
        """The callbacks with a state."""
        return [callback for callback in self._callbacks if callback._backed_up]

    def _require_same(self, arrays: Arrays, info: Mapping[str, Any]) -> None:
        """Raises ValueError unless the file is of the same model, optimizer and callbacks."""
        weights = self._model._weight_arrays
        if not weights and arrays["model"]:
            msg = "the model has no weights yet, into which a backup can be read: call build() before fit()"
            raise ValueError(msg)
        callbacks = [[type(callback).__name__, list(callback._backed_up)] for callback in self._stateful]
        saved = [_listed(fields, "callbacks", 2) for fields in _listed(info["callbacks"], "callbacks")]
        if [[name, list(_mapping(values, "callbacks"))] for name, values in saved] != callbacks:
            raise ValueError(_ANOTHER)
        if [array.shape for array in arrays["model"]] != [array.shape for array in read_arrays(weights)]:
            raise ValueError(_ANOTHER)
        self._build_optimizers(info["optimizers"])
        expected: Arrays = {"model": [*read_arrays(weights)], **_by_name(self._snapshots())}
        names = {name for name in arrays if name.startswith("optimizer")} | {"model"}
        same = names == expected.keys() and all(
            [array.shape for array in arrays[name]] == [array.shape for array in values]
            for name, values in expected.items()
        )
        if not same:
            raise ValueError(_ANOTHER)

    def _build_optimizers(self, saved: object) -> None:
        """Makes the state of optimizers that have stepped no weight yet, as steps of users begin with their first one."""
        optimizers, variables = self._model._optimizers, self._variables
        if len(_listed(saved, "optimizers")) != len(optimizers):
            raise ValueError(_ANOTHER)
        for optimizer, entry in zip(optimizers, _listed(saved, "optimizers"), strict=True):
            indices = _listed(_listed(entry, "optimizers", 3)[2], "optimizers")
            numbers = [integer(number, "optimizers", 0, len(variables) - 1) for number in indices]
            if not optimizer.built:
                optimizer.build(
                    [owner._weights[index] for owner, index in map(variables.__getitem__, numbers)]
                )
            if self._places(optimizer) != numbers:
                raise ValueError(_ANOTHER)

    def _require_same_columns(self, names: list[str] | None) -> None:
        """Raises ValueError if the frame given to `fit` has other columns than `names`, or another order of them."""
        now = self._model._feature_names
        if None not in (names, now) and names != now:
            msg = (
                f"this is the backup of a training on a frame with the columns {names!r:.200}, but fit() was given one "
                f"with {now!r:.200}: pass the same columns in the same order, or delete the folder"
            )
            raise ValueError(msg)

    def _state_of(self, info: Mapping[str, Any], arrays: Arrays) -> _TrainingState:
        """Returns the state that `apply` restores. Raises ValueError or TypeError if the file holds an impossible one."""
        *random, generators = _listed(info["random"], "random", 4)
        return _TrainingState(
            arrays["model"],
            [
                self._snapshot_of(number, before, _listed(saved, "optimizers", 3), arrays)
                for number, (before, saved) in enumerate(
                    zip(self._snapshots(), info["optimizers"], strict=True)
                )
            ],
            self._metrics_of(arrays),
            self._callbacks_of(info["callbacks"], arrays),
            _random_state_of(random, arrays["random"]),
            self._draws_of([random[0], generators]),
            {
                name: None if began is None else self._draws_of(began)
                for name, began in _mapping(info["steps"], "steps").items()
            },
        )

    @staticmethod
    def _snapshot_of(number: int, before: Snapshot, saved: list[Any], arrays: Arrays) -> Snapshot:
        """Returns the state of an optimizer, of which `saved` has the number of batches and the learning rate."""
        prefix = _prefix(number)
        slots = {
            name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)
        }
        for values in (arrays["model"], *slots.values()):
            for array in values:
                if array.dtype != np.float32:
                    msg = f"weights and the optimizer's state must be float32, got {array.dtype}"
                    raise ValueError(msg)
        batches, rate, _ = saved
        if (rate is None) != (before.rate is None):
            msg = f"`optimizers` must have a learning rate unless it follows a schedule, got {rate!r}"
            raise ValueError(msg)
        rate = None if rate is None else real(rate, "learning_rate", 0.0)
        return Snapshot(integer(batches, "iterations", 0), rate, slots)

    def _draws_of(self, saved: object) -> DrawPosition:
        """Returns the position of random numbers that a file holds; ValueError or TypeError for an impossible one."""
        stream, generators = _listed(saved, "random", 2)
        pairs = [
            (integer(seed, "random", 0, _LARGEST), integer(draws, "random", 0, _LARGEST))
            for seed, draws in (
                _listed(numbers, "random", 2) for numbers in [stream, *_listed(generators, "random")]
            )
        ]
        count = len(generators_of(self._model))
        if len(generators) != count:
            msg = f"`random` must have the state of {count} seed generators, got {len(generators)}"
            raise ValueError(msg)
        return DrawPosition(pairs[0], pairs[1:])

    def _metrics_of(self, arrays: Arrays) -> list[list[NDArray[Any]]]:
        """Returns the states of the metrics that Python computes, after trying that each metric accepts its state."""
        metrics = self._runner.python_metrics
        states = [arrays[f"metrics/{i}"] for i in range(len(metrics))]
        for metric, values, before in zip(metrics, states, self._metric_states(), strict=True):
            try:
                _load(metric, values)
            finally:
                _load(metric, before)
        return states

    def _callbacks_of(self, info: list[Any], arrays: Arrays) -> list[dict[str, Any]]:
        states = []
        for i, (callback, (_, values)) in enumerate(zip(self._stateful, info, strict=True)):
            state = {name: arrays.get(f"callbacks/{i}/{name}", value) for name, value in values.items()}
            callback._require_state(state)
            states.append(state)
        return states

    def _metric_states(self) -> list[list[NDArray[Any]]]:
        states = []
        for metric in self._runner.python_metrics:
            store: dict[str, NDArray[Any]] = {}
            metric.save_own_variables(store)
            states.append(list(store.values()))
        return states

    def _callback_states(self) -> tuple[list[tuple[str, dict[str, Any]]], Arrays]:
        """Returns class and plain attributes of each callback, and the lists of arrays by their names in the file."""
        plain, arrays = [], {}
        for i, callback in enumerate(self._stateful):
            values = {name: getattr(callback, name) for name in callback._backed_up}
            for name, value in values.items():
                if isinstance(value, list):
                    arrays[f"callbacks/{i}/{name}"] = [np.asarray(array) for array in value]
                    values[name] = None
            plain.append((type(callback).__name__, values))
        return plain, arrays


def _described(totals: Any) -> tuple[Any, list[NDArray[Any]]]:
    """Returns the totals of a runner, as `_totals_of` reads them: what JSON holds, and arrays."""
    if isinstance(totals, Totals):
        sums = [totals.loss_sum, totals.samples, totals.output_losses]
        return sums, [np.asarray(metric) for metric in totals.metrics]
    logs = as_logs(totals)
    return {"names": list(logs)}, [np.asarray(value) for value in logs.values()]


def _totals_of(saved: object, arrays: list[NDArray[Any]]) -> Any:
    """Returns the totals that `_described` described: sums of the core, or the logs of a step."""
    if isinstance(saved, dict):
        names = _listed(saved.get("names"), "totals", len(arrays))
        return dict(zip(names, arrays, strict=True))
    loss, samples, output_losses = _listed(saved, "totals", 3)
    losses = [_number(value, "totals") for value in _listed(output_losses, "totals")]
    metrics = [metric.tolist() for metric in arrays]
    return Totals(_number(loss, "totals"), real(samples, "totals", 0), metrics, losses)


def _prefix(number: int) -> str:
    """Returns what the names of the arrays of an optimizer begin with."""
    return f"optimizer {number}/" if number else "optimizer/"


def _by_name(states: Sequence[Snapshot]) -> Arrays:
    """Returns the state arrays of all optimizers by their names in the file."""
    return {
        f"{_prefix(number)}{name}": [*values]
        for number, state in enumerate(states)
        for name, values in state.arrays.items()
    }


def _random_state() -> tuple[list[NDArray[Any]], list[Any]]:
    """Returns the global random states of the engine, NumPy and Python: large arrays, and the rest for JSON."""
    import random

    kind, numbers, *position = np.random.get_state(legacy=True)  # noqa: NPY002 # scripts may draw from it
    version, words, gauss = random.getstate()
    info = [random_state.position(), [kind, *position], [version, gauss]]
    return [np.asarray(numbers), np.array(words, np.uint32)], info


def _random_state_of(info: object, arrays: list[NDArray[Any]]) -> _RandomState:
    """Returns the random states that `_random_state` described. Raises ValueError or TypeError for impossible ones."""
    import random

    engine, legacy, python = _listed(info, "random", 3)
    seed, streams = _listed(engine, "random", 2)
    kind, position, has_gauss, gauss = _listed(legacy, "random", 4)
    version, python_gauss = _listed(python, "random", 2)
    numbers, words = _listed(arrays, "random", 2)
    if (
        numbers.dtype != np.uint32
        or numbers.shape != (_WORDS,)
        or words.dtype != np.uint32
        or words.ndim != 1
    ):
        msg = f"`random` must have {_WORDS} words of uint32 of each generator, got {numbers.dtype} and {words.dtype}"
        raise ValueError(msg)
    position = integer(
        position, "random", 0, _WORDS
    )  # NumPy doesn't check it, and would read beyond the array
    numpy = (kind, numbers, position, integer(has_gauss, "random", 0, 1), _number(gauss, "random"))
    if python_gauss is not None:
        _number(python_gauss, "random")
    state = _RandomState(
        (integer(seed, "random", 0, _LARGEST), integer(streams, "random", 0, _LARGEST)),
        numpy,
        (version, tuple(words.tolist()), python_gauss),
    )
    # New generators check the rest: they raise for states that they don't accept.
    np.random.RandomState().set_state(state.numpy)
    random.Random().setstate(state.python)
    return state


def _resumed_of(path: Path, info: Mapping[str, Any], arrays: Arrays) -> Resumed:
    """Returns how far the training had come. Raises ValueError or TypeError if the file holds impossible numbers."""
    began, passed, batches_of_epoch = _listed(info["place"], "place", 3)
    seed, streams = (integer(number, "place", 0, _LARGEST) for number in _listed(began, "place", 2))
    position = DataPosition(
        (seed, streams), integer(passed, "place", 0), integer(batches_of_epoch, "place", 0)
    )
    if position.batches_of_epoch > position.batches_of_pass:
        msg = f"`place` must have as many batches of its epoch as of its pass, or fewer, got {info['place']}"
        raise ValueError(msg)
    totals = _totals_of(info["totals"], arrays["totals"])
    logs = {name: _number(value, "logs") for name, value in _mapping(info["logs"], "logs").items()}
    if not isinstance(info["stopped"], bool):
        msg = f"`stopped` must be True or False, got {info['stopped']!r:.200}"
        raise TypeError(msg)
    return Resumed(path, integer(info["epoch"], "epoch", 0), position, totals, logs, info["stopped"])


def _parsed(text: str | None) -> Mapping[str, Any]:
    """Returns the parsed `training.json` of a backup."""
    import json

    if text is None:
        msg = "this is no backup of a training, as it has no `training.json`"
        raise ValueError(msg)
    info = _mapping(json.loads(text), "training.json")
    lacking = [name for name in _NAMES if name not in info]
    if lacking:
        msg = f"this is no backup of a training, as it lacks {', '.join(lacking)}"
        raise ValueError(msg)
    return info


def _arrays_in(reader: NpzReader, counts: object) -> Arrays:
    """Returns the lists of arrays of a backup by name, in the order in which they were saved."""
    arrays: Arrays = {}
    for name, count in _mapping(counts, "counts").items():
        group = reader.group(name)
        if integer(count, "counts", 0) != len(group):
            msg = f"`counts` must tell how many arrays there are: of {name!r} {len(group)}, not {count}"
            raise ValueError(msg)
        arrays[name] = [group[str(i)] for i in range(count)]
    unknown = reader.groups - arrays.keys()
    if unknown:
        msg = f"`counts` must tell how many arrays there are, also of {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    return arrays


def _load(metric: Metric, values: Sequence[NDArray[Any]]) -> None:
    metric.load_own_variables({str(i): array for i, array in enumerate(values)})


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        msg = f"`{name}` must be an object of JSON, got {value!r:.200}"
        raise TypeError(msg)
    return value


def _listed(value: object, name: str, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (length is not None and len(value) != length):
        expected = "a list" if length is None else f"a list of {length}"
        msg = f"`{name}` must be {expected}, got {value!r:.200}"
        raise TypeError(msg)
    return value


def _number(value: object, name: str) -> float:
    """Returns `value` as a float. It may be infinite or NaN, since a training may diverge."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"`{name}` must be a number, got {value!r:.200}"
        raise TypeError(msg)
    return float(value)
