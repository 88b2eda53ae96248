"""A call of `fit` as a file can hold it: everything that its steps to come depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine._base import random_state
from engine._base.checks import integer, real
from engine._base.cpp import Program, Totals
from engine._training.batch_iteration import Passes, Place
from engine._training.compile_arguments import Compiled
from engine.callbacks import Callback, CallbackList
from engine.callbacks.base import Logs
from engine.optimizers.variables import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from engine.metrics import Metric
    from engine.saving.npz import NpzReader

Arrays = dict[str, list[NDArray[Any]]]
_TRAINING = "training.json"
_LARGEST = 2**64 - 1  # of seeds, and of numbers of draws
# Of NumPy's and Python's generators, which are the same: how many words they hold.
_WORDS = 624
_NAMES = (
    "epoch",
    "place",
    "totals",
    "logs",
    "stopped",
    "optimizer",
    "random",
    "facts",
    "callbacks",
    "counts",
)


class Resumed(NamedTuple):
    """Where an earlier training was."""

    path: Path
    """The backup that tells."""
    epoch: int
    place: Place
    totals: Totals
    logs: Logs
    stopped: bool
    """Whether a callback had ended it."""


class _State(NamedTuple):
    """What a training was made of, checked: nothing of it can be refused any more."""

    model: list[NDArray[Any]]
    optimizer: Snapshot
    metrics: list[list[NDArray[Any]]]
    """Of metrics in NumPy, by their number."""
    callbacks: list[dict[str, Any]]
    """Of each callback that has something to remember, by name."""
    random: _RandomState


class _RandomState(NamedTuple):
    """Where the random numbers of the engine, NumPy and Python are."""

    engine: tuple[int, int]
    numpy: tuple[Any, ...]
    python: tuple[Any, ...]

    def go_to(self) -> None:
        """Let the numbers go on from there."""
        import random

        random_state.go_to(self.engine)
        np.random.set_state(self.numpy)  # noqa: NPY002 # what scripts draw from
        random.setstate(self.python)


class Recovery:
    """Writes a training down, and takes it up again.

    Args:
        model: that is fitted.
        compiled: what it was compiled with.
        callbacks: of the call.
    """

    def __init__(self, model: Any, compiled: Compiled, callbacks: CallbackList) -> None:
        self._model, self._compiled, self._callbacks = model, compiled, callbacks
        self.passes: Passes  # from when training begins
        self.resumed: Resumed | None = None
        self.refused = False
        """Whether the last file that was read is none, or of another training."""
        self._state: _State
        self._earlier: tuple[Mapping[str, Any], Snapshot]

    @property
    def program(self) -> Program:
        """That of the model."""
        program: Program = self._model._program
        return program

    def save(self, path: Path, epoch: int, taken: int, logs: Logs, previous: Path | None) -> None:
        """Write everything into a file.

        Args:
            path: of the file.
            epoch: that goes on, or is next.
            taken: batches of it so far.
            logs: of the last epoch.
            previous: where the file goes that is there; None deletes it.
        """
        import json

        from engine._base.atomic_files import replacing
        from engine.saving.contents import Contents, Group
        from engine.saving.npz import Npz

        state, totals = self._compiled.optimizer._snapshot(), self.passes.totals
        numbers, random_info = _random_state()
        callbacks, kept = self._callback_states()
        arrays: Arrays = {
            "model": [*self.program.variables],
            **{f"optimizer/{name}": [*values] for name, values in state.arrays.items()},
            "totals": [np.asarray(metric) for metric in totals.metrics],
            **{f"metrics/{i}": values for i, values in enumerate(self._metric_states())},
            "random": numbers,
            **kept,
        }
        info = {
            "epoch": epoch,
            "place": self.passes.place(taken),
            "totals": [totals.loss_sum, totals.samples],
            "logs": {name: float(value) for name, value in logs.items() if np.ndim(value) == 0},
            "stopped": bool(self._model.stop_training),
            "optimizer": [state.batches, state.rate],
            "random": random_info,
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
        """Read a file, and check that it is of this training; `apply` then takes it up.

        Raises:
            ValueError: if it is damaged, or of another training; nothing has changed then.
            OSError: if it can't be read.
        """
        from engine.saving.contents import understood
        from engine.saving.npz import Npz

        self.refused = True
        with understood(path), Npz().open(path) as reader:
            info = _parsed(reader.text(_TRAINING))
            arrays = _arrays_in(reader, info["counts"])
            self._require_same(arrays, info)
            facts = _mapping(info["facts"], "facts")
            self._require_same_columns(facts.get("feature_names"))
            resumed, state = _resumed_of(path, info, arrays), self._state_of(info, arrays)
            if not isinstance(facts["class_indices"], bool | None) or not isinstance(facts["seeds"], list):
                msg = f"`facts` must have `seeds`, a list, and `class_indices`, True, False or None; got {facts!r:.200}"
                raise ValueError(msg)
            self._earlier = self._model._facts, self._compiled.optimizer._snapshot()
            try:
                self._model._learn_facts(facts)
            except BaseException:
                self.undo()
                raise
        self.resumed, self._state, self.refused = resumed, state, False

    def undo(self) -> None:
        """Bring back what `load` has changed, instead of `apply`."""
        facts, optimizer = self._earlier
        self._model._learn_facts(facts)
        self._compiled.optimizer._restore(optimizer)
        self.refused = True

    def apply(self) -> None:
        """Make everything as it was, but for the place in the data and what metrics have added up."""
        state = self._state
        self.program.write_variables(state.model)
        self._compiled.optimizer._restore(state.optimizer)
        for callback, values in zip(self._stateful, state.callbacks, strict=True):
            for name, value in values.items():
                setattr(callback, name, value)
        state.random.go_to()

    def apply_metrics(self) -> None:
        """Bring back what metrics in NumPy had added up."""
        for metric, values in zip(self._compiled.own_metrics, self._state.metrics, strict=True):
            _load(metric, values)

    @property
    def _stateful(self) -> list[Callback]:
        """The callbacks that have something to remember."""
        return [callback for callback in self._callbacks if callback._backed_up]

    def _require_same(self, arrays: Arrays, info: Mapping[str, Any]) -> None:
        """Raise ValueError unless this is a file of the same model, optimizer and callbacks."""
        state = self._compiled.optimizer._snapshot()
        wanted: dict[str, Sequence[Any]] = {"model": self.program.variables}
        wanted |= {f"optimizer/{name}": values for name, values in state.arrays.items()}
        found = {name for name in arrays if name.startswith("optimizer/")} | {"model"}
        same = found == wanted.keys() and all(
            [array.shape for array in arrays[name]] == [array.shape for array in values]
            for name, values in wanted.items()
        )
        callbacks = [[type(callback).__name__, list(callback._backed_up)] for callback in self._stateful]
        saved = [_listed(each, "callbacks", 2) for each in _listed(info["callbacks"], "callbacks")]
        same &= [[name, list(_mapping(values, "callbacks"))] for name, values in saved] == callbacks
        if not same:
            msg = (
                "this is the backup of another training: fit() must be called with the same model, optimizer and "
                "callbacks, or the folder deleted"
            )
            raise ValueError(msg)

    def _require_same_columns(self, names: list[str] | None) -> None:
        """Raise ValueError if the frame given to `fit` has other columns than `names`, or has them in another order."""
        now = self._model._feature_names
        if None not in (names, now) and names != now:
            msg = (
                f"this is the backup of a training on a frame with the columns {names!r:.200}, but fit() was given one "
                f"with {now!r:.200}: pass the same columns in the same order, or delete the folder"
            )
            raise ValueError(msg)

    def _state_of(self, info: Mapping[str, Any], arrays: Arrays) -> _State:
        """What `apply` takes up; ValueError or TypeError for what it can't be."""
        slots = {
            name.removeprefix("optimizer/"): values
            for name, values in arrays.items()
            if name.startswith("optimizer/")
        }
        for values in (arrays["model"], *slots.values()):
            for array in values:
                if array.dtype != np.float32:
                    msg = f"weights and the optimizer's state must be float32, got {array.dtype}"
                    raise ValueError(msg)
        batches, rate = _listed(info["optimizer"], "optimizer", 2)
        if (rate is None) != (self._compiled.optimizer._snapshot().rate is None):
            msg = f"`optimizer` must have a learning rate unless it follows a schedule, got {rate!r}"
            raise ValueError(msg)
        rate = None if rate is None else real(rate, "learning_rate", 0.0)
        snapshot = Snapshot(integer(batches, "iterations", 0), rate, slots)
        return _State(
            arrays["model"],
            snapshot,
            self._metrics_of(arrays),
            self._callbacks_of(info["callbacks"], arrays),
            _random_state_of(info["random"], arrays["random"]),
        )

    def _metrics_of(self, arrays: Arrays) -> list[list[NDArray[Any]]]:
        """What metrics in NumPy had added up, which they have been tried with."""
        metrics = self._compiled.own_metrics
        found = [arrays[f"metrics/{i}"] for i in range(len(metrics))]
        for metric, values, before in zip(metrics, found, self._metric_states(), strict=True):
            try:
                _load(metric, values)
            finally:
                _load(metric, before)
        return found

    def _callbacks_of(self, info: list[Any], arrays: Arrays) -> list[dict[str, Any]]:
        found = []
        for i, (callback, (_, values)) in enumerate(zip(self._stateful, info, strict=True)):
            places = {name: f"callbacks/{i}/{name}" for name in values}
            state = {name: arrays.get(places[name], value) for name, value in values.items()}
            callback._require_state(state)
            found.append(state)
        return found

    def _metric_states(self) -> list[list[NDArray[Any]]]:
        states = []
        for metric in self._compiled.own_metrics:
            store: dict[str, NDArray[Any]] = {}
            metric.save_own_variables(store)
            states.append(list(store.values()))
        return states

    def _callback_states(self) -> tuple[list[tuple[str, dict[str, Any]]], Arrays]:
        """Class and plain attributes of each callback, and lists of arrays by their place in the file."""
        plain, arrays = [], {}
        for i, callback in enumerate(self._stateful):
            values = {name: getattr(callback, name) for name in callback._backed_up}
            for name, value in values.items():
                if isinstance(value, list):
                    arrays[f"callbacks/{i}/{name}"] = [np.asarray(array) for array in value]
                    values[name] = None
            plain.append((type(callback).__name__, values))
        return plain, arrays


def _random_state() -> tuple[list[NDArray[Any]], list[Any]]:
    """Where the random numbers of the engine, NumPy and Python are."""
    import random

    kind, numbers, *place = np.random.get_state(legacy=True)  # noqa: NPY002 # what scripts draw from
    version, words, gauss = random.getstate()
    info = [random_state.position(), [kind, *place], [version, gauss]]
    return [np.asarray(numbers), np.array(words, np.uint32)], info


def _random_state_of(info: object, arrays: list[NDArray[Any]]) -> _RandomState:
    """What `_random_state` returned the other way round; ValueError or TypeError unless generators can be there."""
    import random

    engine, legacy, python = _listed(info, "random", 3)
    seed, streams = _listed(engine, "random", 2)
    kind, place, has_gauss, gauss = _listed(legacy, "random", 4)
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
    place = integer(place, "random", 0, _WORDS)  # which NumPy would believe, whatever it is
    numpy = (kind, numbers, place, integer(has_gauss, "random", 0, 1), _number(gauss, "random"))
    if python_gauss is not None:
        _number(python_gauss, "random")
    found = _RandomState(
        (integer(seed, "random", 0, _LARGEST), integer(streams, "random", 0, _LARGEST)),
        numpy,
        (version, tuple(words.tolist()), python_gauss),
    )
    np.random.RandomState().set_state(found.numpy)  # they judge the rest
    random.Random().setstate(found.python)
    return found


def _resumed_of(path: Path, info: Mapping[str, Any], arrays: Arrays) -> Resumed:
    """Where the training was; ValueError or TypeError where none can be."""
    began, passed, taken = _listed(info["place"], "place", 3)
    seed, streams = (integer(number, "place", 0, _LARGEST) for number in _listed(began, "place", 2))
    place = Place((seed, streams), integer(passed, "place", 0), integer(taken, "place", 0))
    if place.taken > place.passed:
        msg = f"`place` must have as many batches of its epoch as of its pass, or fewer, got {info['place']}"
        raise ValueError(msg)
    loss, samples = _listed(info["totals"], "totals", 2)
    metrics = [metric.tolist() for metric in arrays["totals"]]
    totals = Totals(_number(loss, "totals"), real(samples, "totals", 0), metrics)
    logs = {name: _number(value, "logs") for name, value in _mapping(info["logs"], "logs").items()}
    if not isinstance(info["stopped"], bool):
        msg = f"`stopped` must be True or False, got {info['stopped']!r:.200}"
        raise TypeError(msg)
    return Resumed(path, integer(info["epoch"], "epoch", 0), place, totals, logs, info["stopped"])


def _parsed(text: str | None) -> Mapping[str, Any]:
    """The text of a backup."""
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
    """All arrays of a backup in their order."""
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
    """A number, which may be infinite or NaN, as of a training that diverges."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"`{name}` must be a number, got {value!r:.200}"
        raise TypeError(msg)
    return float(value)
