"""Trainings on workers: what travels to them, what comes back, and the pool that hands them out."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from engine import config, saving
from engine._base.random_state import seeded
from engine._cluster.cargo import Cargo, unpacked
from engine._cluster.job_queue import ATTEMPTS, Answer, JobQueue
from engine._cluster.same_versions import Versions, require_same, versions
from engine._cluster.shares import is_stopped, take_share
from engine._cluster.workers import WorkerLostError, Workers
from engine._many.owners import Owners
from engine._many.pool import noting_interrupts
from engine._many.results import FitResult, Interrupted
from engine._many.training import Job, Training
from engine.callbacks import History
from engine.models import Model
from engine.saving.contents import Contents


class Beginning:
    """A function without arguments that makes a model, and is called in this process also if the model is trained elsewhere."""

    def __call__(self) -> Model:
        """Returns the model."""
        raise NotImplementedError

    def elsewhere(self) -> Callable[[], Model] | None:
        """After the call, returns a function that makes the same model on a worker; None if the model itself must travel."""
        raise NotImplementedError


class PoolElsewhere:
    """Has workers run trainings.

    Args:
        trainings: of the models.
        workers: the workers.
    """

    def __init__(self, trainings: Sequence[Training], workers: Workers) -> None:
        self._trainings = trainings
        self._workers = workers
        self._cargo = Cargo(workers)
        self._settings = config._travelling()

    def run(self, ended: Callable[[FitResult], None]) -> None:
        """Runs all trainings, and returns when they have ended.

        Args:
            ended: called with the result of each, in the order in which they end.

        Raises:
            KeyboardInterrupt: if the user has interrupted them.
        """
        queue = JobQueue(self._workers, self._trainings, self._submitted, self._cargo.forget)
        with noting_interrupts() as interrupts:

            def check() -> None:
                if interrupts:
                    raise KeyboardInterrupt

            try:
                for training, answer in queue.answers(check):
                    ended(self._result(training, answer))
            except BaseException:
                queue.stop()
                for training in queue.running.values():
                    ended(training.ended(None, 0.0, Interrupted("ended early")))
                raise

    def _submitted(self, training: Training) -> Any:
        """Submits a training, and returns the job."""
        job = training.job
        if isinstance(job.model, Beginning):
            with seeded(job.seed):
                training.make()
            job = job._replace(model=job.model.elsewhere() or cast("Model", training.model))
        try:
            message, held = self._cargo.packed(_Message(job, self._workers.run, versions(), self._settings))
        except Exception as error:
            msg = (
                f"model {job.number} can't travel to a worker ({type(error).__name__}: {error}): pass a function that makes it, "
                "and callbacks and data that can be pickled"
            )
            raise TypeError(msg) from error
        return self._workers.submit(_trained, message, held)

    def _result(self, training: Training, answer: Answer) -> FitResult:
        """Returns the result of a training, from the answer of its worker."""
        try:
            if isinstance(answer.error, WorkerLostError):
                raise _gone(answer.error)
            if answer.error is not None:
                raise answer.error
            return self._taken(training, answer.value)
        except Exception as error:
            return training.ended(None, 0.0, error)

    def _taken(self, training: Training, reply: Reply) -> FitResult:
        """Returns the result of a training, with the trained model of this process."""
        history = None
        if reply.history is not None:
            history = History()
            vars(history).update(reply.history)
        error = None if reply.error is None else _unpickled(reply.error)
        if reply.state is not None:
            with seeded(training.job.seed):
                model = training.make()
            _take_state(model, reply.state, reply)
            if history is not None:
                history.set_model(model)
                model.history = history
        for callback, state in zip(
            training.job.arguments.get("callbacks", ()), reply.callbacks, strict=False
        ):
            vars(callback).update(state)
        return training.ended(history, reply.seconds, error)


@dataclass
class Reply:
    """What comes back of a training.

    Args:
        seconds: how long it took.
        history: the attributes of the `History`; None if no epoch has begun.
        error: the pickled exception that has ended it; None if none has.
        state: what training has changed of the model; None if the model could not be made.
        input_shape: that with which the model was built.
        stopped: the model's `stop_training`.
        callbacks: the attributes of each callback that can be pickled.
    """

    seconds: float
    history: dict[str, Any] | None
    error: bytes | None
    state: Contents | None
    input_shape: Any
    stopped: bool
    callbacks: list[dict[str, Any]]


class _Message(NamedTuple):
    """What travels to a worker."""

    job: Job
    run: str
    """The name of the run of which the training is a part."""
    versions: Versions
    """Those of the process that has sent it."""
    settings: config._Travelling
    """Those of the process that has sent it."""


class _Here:
    """Takes the place of the pool on a worker.

    Args:
        run: the name of the run of which the training is a part.
    """

    def __init__(self, run: str) -> None:
        self._run = run

    @property
    def stopping(self) -> bool:
        return is_stopped(self._run)

    def take_share(self) -> None:
        take_share()


def _trained(message: bytes, *held: Any) -> Reply:
    """Runs a training on a worker."""
    content = _unpacked(message, held)
    require_same(content.versions, versions(), "a worker")  # it may have come after the beginning
    config._arrive(content.settings)
    callbacks = list(content.job.arguments.get("callbacks", ()))
    result = Training(content.job, Owners()).run(_Here(content.run))
    model = result.model
    history = None if result.history is None else _without_model(result.history)
    state, shape, error = None, None, result.error
    if model is not None and model.built:
        try:
            state, shape = (
                saving.state_of(model),
                model.input_shape if hasattr(model, "input_shape") else None,
            )
        except Exception as raised:
            error = error or raised
    return Reply(
        result.seconds,
        history,
        None if error is None else _pickled(error),
        state,
        shape,
        bool(getattr(model, "stop_training", False)),
        [_without_model(callback) for callback in callbacks],
    )


def _unpacked(message: bytes, held: Sequence[Any]) -> _Message:
    """Returns what a message says. Its errors say what to do."""
    try:
        found: _Message = unpacked(message, held)
    except Exception as error:
        msg = f"a model or what goes with it can't be made on a worker ({type(error).__name__}: {error}): pass a function that makes it"
        raise TypeError(msg) from error
    return found


def _take_state(model: Model, state: Contents, reply: Reply) -> None:
    """Gives a model the weights and the state of the one that was trained elsewhere."""
    if not model.built:
        model.build(reply.input_shape)
    try:
        saving.take_state(model, state)
    except ValueError as error:
        msg = f"the function that makes a model has made another one on the worker than here ({error}): let it draw from the seed alone"
        raise ValueError(msg) from error
    model.stop_training = reply.stopped


def _without_model(part: Any) -> dict[str, Any]:
    """Returns the attributes of a callback that can be pickled, without the model."""
    kept = {}
    for name, value in vars(part).items():
        if name == "model":
            continue
        try:
            pickle.dumps(value)
        except Exception:
            continue
        kept[name] = value
    return kept


def _pickled(error: BaseException) -> bytes:
    """Returns an exception as bytes, with its traceback as a text. One that can't be pickled becomes a RuntimeError."""
    import cloudpickle

    text = "".join(traceback.format_exception(error))
    try:
        content: bytes = cloudpickle.dumps((error, text))
        pickle.loads(content)
    except Exception:
        return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), text))
    return content


def _unpickled(content: bytes) -> BaseException:
    error: BaseException
    error, text = pickle.loads(content)
    error.__cause__ = _OnWorkerError(text)
    return error


class _OnWorkerError(Exception):
    """The traceback of an error on a worker, as a text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _gone(lost: WorkerLostError) -> RuntimeError:
    return RuntimeError(
        f"{ATTEMPTS} workers ended while they trained the model ({lost}): it may need more memory than they have"
    )
