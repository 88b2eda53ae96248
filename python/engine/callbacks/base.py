"""The base class of callbacks, the list that calls their hooks, and the callbacks `History` and `LambdaCallback`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Literal

from engine._base.checks import nearest
from engine._printing.progress import PATIENCE, Progress

Logs = dict[str, float]
Mode = Literal["train", "test", "predict"]


class Callback:
    """Base class of all callbacks. Override the hooks you need.

    `self.model` is the model and `self.params` the dict of `verbose`, `epochs` and `steps`. `logs` maps names
    to floats: means over the epoch so far. Setting `self.model.stop_training = True` ends training after the
    current batch or epoch; `stop_evaluating` and `stop_predicting` end evaluation and prediction after the current
    batch. If a callback overrides a batch hook, training runs batch by batch instead of a whole epoch in one call,
    which is slower.
    """

    model: Any = None
    params: Mapping[str, Any] = {}
    _backed_up: ClassVar[tuple[str, ...]] = ()
    """Attributes that `BackupAndRestore` saves and restores: numbers, texts, arrays and lists of these."""
    _sees_batches: bool | None = None
    """Whether batch hooks are called; None means that they are if one of them is overridden."""
    _comes_last: ClassVar[bool] = False
    """Whether hooks are called after those of all other callbacks."""
    _draws_progress: ClassVar[bool] = False
    """Whether this callback shows the progress, so that `fit` doesn't."""
    _calls_functions: ClassVar[bool] = False
    """Whether hooks call functions that the user gave."""

    @property
    def _writes_to(self) -> object:
        """The file or folder that this callback writes; None if there is none."""
        return None

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError or ValueError if `state`, the values of the attributes in `_backed_up` by name, is impossible."""

    def set_model(self, model: Any) -> None:
        """Called with the `model` before anything else."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called with `params`, a dict of `verbose`, `epochs` and `steps`, before anything else."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called as `fit` starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called as `fit` ends, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before epoch `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after epoch `epoch` and its validation; what is added to `logs` reaches the history."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before training batch `batch`, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after training batch `batch`."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called as `evaluate`, or the validation of an epoch, starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called as `evaluate`, or the validation of an epoch, ends."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before evaluation batch `batch`."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after evaluation batch `batch`."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called as `predict` starts."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called as `predict` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before prediction batch `batch`."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Called after prediction batch `batch`, with its `outputs` in `logs`."""

    def _undo(self) -> None:
        """Called if an exception ends `fit`, `evaluate` or `predict`, to undo what a later hook would have undone."""


_HOOKS = [hook for hook in vars(Callback) if hook.startswith("on_")]
# The attributes of a model that callbacks set to end training, evaluation or prediction.
_STOPS: Mapping[Mode, str] = {
    "train": "stop_training",
    "test": "stop_evaluating",
    "predict": "stop_predicting",
}
_OWN_MODULES = __name__.partition(".")[0] + "."
_PASSED_ON = ("on_train_batch_begin", "on_train_batch_end")  # these call `on_batch_begin` and `on_batch_end`


class NamedValues(dict[str, Any]):
    """The logs of a batch or an epoch, or a history. Copies and pickles are plain dicts.

    `engine/_keras2` lets it find values by the names that older versions of Keras gave them, too.
    """

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


class History(Callback):
    """Records the logs of every epoch. `fit` returns it.

    Attributes:
        history: dict from each name to a list with one float per epoch. The names of Keras 2.0, such as `val_acc`, are
            found, too, with a warning.
        epoch: list of the numbers of the epochs.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = NamedValues()
        self.epoch: list[int] = []
        self._numbers: list[int] = []  # the number of each epoch, over all trainings
        self._rows: dict[
            str, list[int]
        ] = {}  # for each name the epochs whose logs had it, as indices into `_numbers`

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Clears the list of epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Records the logs of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self._rows.setdefault(name, []).append(len(self._numbers))
        self._numbers.append(epoch)

    def _epochs_of(self, name: str) -> list[int]:
        """Returns the epochs with a value of `name`, counted from 0 over all trainings that this object has recorded.

        With `validation_freq` not every epoch has the values of the validation.
        """
        rows, count = self._rows.get(name, []), len(self.history[name])
        # If a script has added values by itself, they are taken for those of the first epochs.
        return list(rows) if len(rows) == count else list(range(count))

    def __repr__(self) -> str:
        last = ", ".join(f"{name}: {_text(values[-1])}" for name, values in self.history.items() if values)
        return f"<{type(self).__name__} of {_number_of_epochs(len(self._numbers))}{', last ' * bool(last)}{last}>"

    def _repr_html_(self) -> str:
        """Returns the table that notebooks show: the last, the smallest and the largest value of each name."""
        from html import escape

        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(f'<{tag} style="text-align: right">{escape(cell)}</{tag}>' for cell in cells)

        rows = []
        history: Mapping[str, list[Any]] = self.history  # some metrics are arrays
        for name, values in history.items():
            numbers = [value for value in values if isinstance(value, (int, float))]
            ends = [min(numbers), max(numbers)] if numbers else []
            cells = [name, *(_text(value) for value in [*values[-1:], *ends])]
            rows.append(f"<tr>{line(cells, 'td')}</tr>")
        head = line(["", "last", "smallest", "largest"], "th")
        title = escape(f"{type(self).__name__} of {_number_of_epochs(len(self._numbers))}")
        return (
            f"<div><p><strong>{title}</strong></p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )

    def plot(self, metrics: str | Sequence[str] | None = None, *, ax: Any = None) -> Any:
        """Draws loss and metrics over the epochs with `engine.plots.learning_curves`.

        Args:
            metrics: name or list of names to draw; default all. Each is drawn with its validation values.
            ax: matplotlib Axes to draw into, one per name; default a new pyplot figure.

        Returns:
            The Axes if `metrics` is one name, otherwise an array of Axes.

        Raises:
            ImportError: if matplotlib is not installed. The extra `plot` installs it.
            ValueError: if a name isn't in the history, or the history is empty.
        """
        from engine.plots import learning_curves

        return learning_curves(self, metrics, ax=ax)

    def to_frame(self) -> Any:
        """Returns the history as a pandas DataFrame with a row per epoch and a column per name.

        The index holds the number of the epoch, counted from 0. Epochs without validation have NaN in its columns.

        Raises:
            ImportError: if pandas is not installed. The extra `pandas` installs it.
        """
        from engine._base.extras import extra

        pandas = extra("pandas", "pandas", "History.to_frame()")
        numbers = self._numbers or list(range(max(map(len, self.history.values()), default=0)))
        columns = {
            name: pandas.Series(values, self._epochs_of(name)).reindex(range(len(numbers)))
            for name, values in self.history.items()
        }
        return pandas.DataFrame(columns).set_axis(pandas.Index(numbers, name="epoch"))


def _number_of_epochs(epochs: int) -> str:
    return f"{epochs} epoch{'s' * (epochs != 1)}"


def _text(value: Any) -> str:
    """Returns a short text of a value in the logs."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


class LambdaCallback(Callback):
    """Callback that calls the given functions.

    Args:
        on_epoch_begin: called as `on_epoch_begin(epoch, logs)`.
        on_epoch_end: called as `on_epoch_end(epoch, logs)`.
        on_train_begin: called as `on_train_begin(logs)`.
        on_train_end: called as `on_train_end(logs)`.
        on_train_batch_begin: called as `on_train_batch_begin(batch, logs)`.
        on_train_batch_end: called as `on_train_batch_end(batch, logs)`.
        hooks: functions for other hooks, by the name of the hook. Arguments of any other name become attributes of
            the callback, as in Keras.

    Raises:
        TypeError: if the value for a hook is not callable, or a name that begins with `on_` is not the name of a hook.
    """

    _calls_functions = True

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        on_epoch_begin: Any = None,
        on_epoch_end: Any = None,
        on_train_begin: Any = None,
        on_train_end: Any = None,
        on_train_batch_begin: Any = None,
        on_train_batch_end: Any = None,
        **hooks: Any,
    ) -> None:
        hooks |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for name, function in hooks.items():
            if name not in _HOOKS and not name.startswith("on_"):
                setattr(self, name, function)
                continue
            if name not in _HOOKS:
                msg = f"LambdaCallback has no hook `{name}`{nearest(name, _HOOKS)} Hooks: {', '.join(_HOOKS)}"
                raise TypeError(msg)
            if function is None:
                continue
            if not callable(function):
                msg = f"`{name}` must be a function, got {function!r}"
                raise TypeError(msg)
            setattr(self, name, function)


class ProgbarLogger(Callback):
    """Draws the progress bar that `verbose` asks for, in the place of the one that is drawn without it.

    Attributes:
        seen: batches of this pass so far.
        target: batches of a pass; None if nobody knows.
        epochs: number of the last epoch.
        verbose: as given to `fit`, `evaluate` or `predict`.
    """

    _draws_progress = True

    def __init__(self) -> None:
        self.seen = 0
        self.target: int | None = None
        self.verbose: Any = 1
        self.epochs = 1
        self._progress: Progress | None = None
        self._within_fit = False

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called with `params`, a dict of `verbose`, `epochs` and `steps`, before anything else."""
        super().set_params(params)
        self.verbose, self.epochs, self.target = params["verbose"], params["epochs"], params["steps"]
        self._progress = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Notes that a training has begun, whose validations show no progress."""
        self._within_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Ends the line."""
        self._within_fit = False
        self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begins a bar, below the number of the epoch if there are several."""
        self._begin(f"Epoch {epoch + 1}/{self.epochs}" if self.epochs > 1 else None)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Draws the final line."""
        self._finish(logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draws the bar after a batch."""
        self._update(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begins a bar, unless this is a validation."""
        if not self._within_fit:
            self._begin(None)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Draws the bar after a batch, unless this is a validation."""
        if not self._within_fit:
            self._update(batch, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Draws the final line, unless this is a validation."""
        if not self._within_fit:
            self._finish(logs)
            self._close()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Begins a bar, which is shown if the prediction takes longer."""
        self._begin(None, PATIENCE)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Draws the bar after a batch."""
        self._update(batch, None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Draws the final line."""
        self._finish(logs)
        self._close()

    def _undo(self) -> None:
        """Ends the line if an exception has ended training."""
        self._within_fit = False
        self._close()

    def _begin(self, title: str | None, patience: float = 0.0) -> None:
        self.seen = 0
        if self._progress is None:
            self._progress = Progress(self.verbose, self.target, patience)
        self._progress.restart(title)

    def _update(self, batch: int, logs: Logs | None) -> None:
        self.seen = batch + 1
        if self._progress is not None:
            self._progress.update(self.seen, logs or {})

    def _finish(self, logs: Logs | None) -> None:
        if self._progress is not None:
            self._progress.finish(logs or {}, self.seen)
            self.target = self._progress.steps

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None


class CallbackList:
    """Holds the callbacks of one call of `fit`, `evaluate` or `predict`, or of a custom training loop.

    It has the hooks of `Callback`, each of which calls that of all callbacks.

    Args:
        callbacks: None, one callback or several.
        add_history: whether a History is added when there is none yet.
        add_progbar: whether a ProgbarLogger is added when there is none yet.
        model: the model that is given to the callbacks.
        params: the `params` that are given to the callbacks, such as `epochs=3, steps=10, verbose=1`.

    Example:
        >>> from engine import callbacks
        >>> hooks = callbacks.CallbackList([callbacks.History()])
        >>> hooks.on_train_begin()
        >>> hooks.on_epoch_end(0, {"loss": 0.5})
        >>> hooks.history.history
        {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: object = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = listed(callbacks)
        self._model: Any = None
        self._lent: Callable[[], AbstractContextManager[object]] = nullcontext
        self.history = (
            next((callback for callback in self.callbacks if isinstance(callback, History)), None)
            or History()
        )
        if add_progbar and not any(callback._draws_progress for callback in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        if add_history and self.history not in self.callbacks:
            self.callbacks.append(self.history)
        self.callbacks.sort(key=lambda callback: callback._comes_last)
        self._per_batch: dict[Mode, bool] = {}
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    @property
    def model(self) -> Any:
        """The model of the callbacks; None until it is set."""
        return self._model

    def set_model(self, model: Any) -> None:
        """Gives the `model` to every callback, and the history, if there is one, to the model."""
        self._model = model
        if self.history in self.callbacks:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Gives `params`, a dict of `verbose`, `epochs` and `steps`, to every callback."""
        for callback in self.callbacks:
            callback.set_params(params)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def join(
        self,
        model: Any,
        params: Mapping[str, Any],
        lent: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Gives `model` and `params` to every callback. Hooks are called within the context manager that `lent` returns."""
        self._model, self._lent = model, lent
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    def verbose_of_progress(self, verbose: Any) -> Any:
        """Returns the `verbose` of the built-in progress: 0 if a callback shows the progress instead."""
        return 0 if any(callback._draws_progress for callback in self.callbacks) else verbose

    def stopped(self, mode: Mode) -> bool:
        """Returns whether a callback asked to stop training, evaluation or prediction.

        Args:
            mode: "train", "test" or "predict".
        """
        return bool(getattr(self._model, _STOPS[mode], False))

    def start(self, mode: Mode) -> None:
        """Resets the request of a callback to end an earlier call of this `mode`."""
        setattr(self._model, _STOPS[mode], False)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Calls the method of every callback that undoes unfinished changes, if the block raises."""
        try:
            yield
        except BaseException:
            for callback in self.callbacks:
                callback._undo()
            raise

    def call(self, hook: str, *arguments: int, logs: dict[str, Any] | None = None) -> None:
        """Calls `hook` of every callback that overrides it, with `arguments`. All callbacks share one `logs`."""
        shared: dict[str, Any] = {} if logs is None else logs
        passed_on = hook in _PASSED_ON
        called = [
            getattr(callback, hook) for callback in self.callbacks if passed_on or _overrides(callback, hook)
        ]
        if called:
            with self._lent():
                for method in called:
                    method(*arguments, shared)

    @property
    def run_code_of_users(self) -> bool:
        """Whether a hook may run code that is not the library's, such as code that changes the data in place."""
        return any(
            callback._calls_functions or not type(callback).__module__.startswith(_OWN_MODULES)
            for callback in self.callbacks
        )

    def per_batch(self, mode: Mode) -> bool:
        """Returns whether a callback has batch hooks for `mode`. The answer is computed once."""
        if mode not in self._per_batch:
            self._per_batch[mode] = self._watches(mode)
        return self._per_batch[mode]

    def _watches(self, mode: Mode) -> bool:
        hooks = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
        if mode == "train":
            hooks += ["on_batch_begin", "on_batch_end"]
        return any(
            callback._sees_batches and mode == "train"
            if callback._sees_batches is not None
            else any(_overrides(callback, hook) for hook in hooks)
            for callback in self.callbacks
        )


def _passing_on(hook: str) -> Callable[..., None]:
    """Returns the method of `CallbackList` for a hook. Its arguments are the number of the epoch or batch, and the logs."""

    def method(self: CallbackList, *arguments: Any, logs: dict[str, Any] | None = None) -> None:
        numbers = arguments[: int("epoch" in hook or "batch" in hook)]
        self.call(hook, *numbers, logs=logs if len(arguments) == len(numbers) else arguments[-1])

    method.__name__, method.__doc__ = hook, getattr(Callback, hook).__doc__
    return method


for _hook in _HOOKS:
    setattr(CallbackList, _hook, _passing_on(_hook))


def listed(callbacks: object) -> list[Callback]:
    """Returns the callbacks as a list; `callbacks` is None, one callback or several. Raises TypeError for anything else."""
    if callbacks is None:
        return []
    entries: list[object] = [callbacks]
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, str):
        entries = list(callbacks)
    listed = []
    for callback in entries:
        if not isinstance(callback, Callback):
            hint = "; make an object of it: add ()" if isinstance(callback, type) else ""
            msg = f"`callbacks` must hold objects of engine.callbacks.Callback, got {callback!r}{hint}"
            raise TypeError(msg)
        listed.append(callback)
    return listed


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
