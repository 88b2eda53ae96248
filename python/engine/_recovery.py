"""A call of `fit` as a file can hold it: everything that its steps to come depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import _random
from engine._compiled import Compiled
from engine._passes import Passes, Place
from engine._program import Program, Totals
from engine.callbacks import Callback, CallbackList
from engine.callbacks.base import Logs
from engine.optimizers.variables import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

Arrays = dict[str, list[NDArray[Any]]]
_TRAINING = "training.json"


class Resumed(NamedTuple):
    """Where an earlier training was."""

    epoch: int
    place: Place
    totals: Totals
    logs: Logs
    stopped: bool
    """Whether a callback had ended it."""


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
        self._info: Mapping[str, Any] = {}
        self._arrays: Arrays = {}

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

        from engine._atomic import replacing
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
            ValueError: if it is damaged, or of another training.
            OSError: if it can't be read.
        """
        import json

        from engine.saving.contents import understood
        from engine.saving.npz import Npz

        with understood(path), Npz().open(path) as reader:
            info = json.loads(reader.text(_TRAINING) or "{}")
            arrays = {
                name: [reader.group(name)[str(i)] for i in range(count)]
                for name, count in info["counts"].items()
            }
            self._require_same(arrays, info)
            self._require_same_columns(info["facts"].get("feature_names"))
            began, passed, taken = info["place"]
            loss, samples = info["totals"]
            totals = Totals(loss, samples, [metric.tolist() for metric in arrays["totals"]])
            self.resumed = Resumed(
                info["epoch"], Place(tuple(began), passed, taken), totals, info["logs"], info["stopped"]
            )
            self._info, self._arrays = info, arrays
            self._model._learn_facts(info["facts"])

    def apply(self) -> None:
        """Make everything as it was, but for the place in the data and what metrics have added up."""
        info, arrays = self._info, self._arrays
        self.program.write_variables(arrays["model"])
        slots = {name[10:]: values for name, values in arrays.items() if name.startswith("optimizer/")}
        batches, rate = info["optimizer"]
        self._compiled.optimizer._restore(Snapshot(batches, rate, slots))
        for i, (callback, (_, values)) in enumerate(zip(self._stateful, info["callbacks"], strict=True)):
            for name in callback._backed_up:
                place = f"callbacks/{i}/{name}"
                setattr(callback, name, arrays[place] if place in arrays else values[name])
        _go_to_random_state(arrays["random"], info["random"])

    def apply_metrics(self) -> None:
        """Bring back what metrics in NumPy had added up."""
        for i, metric in enumerate(self._compiled.own_metrics):
            metric.load_own_variables({str(j): array for j, array in enumerate(self._arrays[f"metrics/{i}"])})

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
        same &= [[name, list(values)] for name, values in info["callbacks"]] == callbacks
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
    info = [_random.position(), [kind, *place], [version, gauss]]
    return [np.asarray(numbers), np.array(words, np.uint32)], info


def _go_to_random_state(arrays: Sequence[NDArray[Any]], info: Sequence[Any]) -> None:
    import random

    (seed, streams), (kind, *place), (version, gauss) = info
    numbers, words = arrays
    _random.go_to((seed, streams))
    np.random.set_state((kind, numbers, *place))  # noqa: NPY002 # what scripts draw from
    random.setstate((version, tuple(words.tolist()), gauss))
