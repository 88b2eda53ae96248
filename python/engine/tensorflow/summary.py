"""`tf.summary`: event files for TensorBoard. They need the package tensorboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.extras import extra

if TYPE_CHECKING:
    from engine.callbacks.event_files import EventFile

__all__ = [
    "SummaryWriter",
    "create_file_writer",
    "create_noop_writer",
    "experimental",
    "flush",
    "histogram",
    "image",
    "record_if",
    "scalar",
    "should_record_summaries",
    "text",
    "trace_export",
    "trace_off",
    "trace_on",
]


class SummaryWriter:
    """Writes events into a file. `create_file_writer` makes one.

    Args:
        file: the file; None writes nothing.
        most: how many events wait in memory until they are written.
    """

    def __init__(self, file: EventFile | None, most: int) -> None:
        self._file, self._most, self._waiting = file, most, 0

    @contextmanager
    def as_default(self, step: Any = None) -> Iterator[SummaryWriter]:
        """Has the functions of this module write into the file within the block.

        Args:
            step: the step of events that are written without one.
        """
        token, outer = _writer.set(self), experimental.get_step()
        if step is not None:
            experimental.set_step(step)
        try:
            yield self
        finally:
            _writer.reset(token)
            experimental.set_step(outer)
            self.flush()

    def set_as_default(self, step: Any = None) -> None:
        """Has the functions of this module write into the file from now on."""
        _writer.set(self)
        if step is not None:
            experimental.set_step(step)

    def flush(self) -> None:
        """Writes the events that wait in memory."""
        if self._file is not None:
            self._file.flush()
        self._waiting = 0

    def init(self) -> None:
        """Has no effect."""

    def close(self) -> None:
        """Writes the events that wait in memory."""
        self.flush()

    def _add(self, write: Callable[[EventFile], None]) -> bool:
        if self._file is None:
            return False
        write(self._file)
        self._waiting += 1
        if self._waiting >= self._most:
            self.flush()
        return True


_writer: ContextVar[SummaryWriter | None] = ContextVar("writer of summaries", default=None)
_records: ContextVar[Any] = ContextVar("whether summaries are recorded", default=True)


class experimental:  # noqa: N801 # a module in TensorFlow
    """The step of events that are written without one."""

    _step: Any = None

    @classmethod
    def get_step(cls) -> Any:
        """Returns the step; None if there is none."""
        return cls._step

    @classmethod
    def set_step(cls, step: Any) -> None:
        """Sets the step, a number or a variable."""
        cls._step = step


def create_file_writer(
    logdir: Any, max_queue: int = 10, flush_millis: Any = None, filename_suffix: Any = None, name: Any = None
) -> SummaryWriter:
    """Returns a writer of a new file.

    Args:
        logdir: the folder of the file, which is made with the first event. TensorBoard shows it as a run.
        max_queue: how many events wait in memory until they are written.
        flush_millis: without effect, as are the others.
        filename_suffix: without effect.
        name: without effect.

    Raises:
        ImportError: without the package tensorboard.
    """
    extra("tensorboard", "tensorboard", "tf.summary")
    from engine.callbacks.event_files import EventFile

    return SummaryWriter(EventFile(Path(logdir)), max_queue)


def create_noop_writer() -> SummaryWriter:
    """Returns a writer that writes nothing."""
    return SummaryWriter(None, 1)


def scalar(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Writes a number, and returns whether there is a writer for it.

    Args:
        name: what TensorBoard calls it.
        data: the number.
        step: its place on the axis; by default that of the writer.
        description: without effect.

    Raises:
        ValueError: for several numbers, or without a step.
    """
    number = np.asarray(data)
    if number.size != 1:
        msg = f"`data` must be one number, got an array of shape {number.shape}: call tf.summary.histogram() for several"
        raise ValueError(msg)
    return _written(step, lambda file, at: file.scalar(name, float(number.item()), at))


def histogram(name: str, data: Any, step: Any = None, buckets: Any = None, description: Any = None) -> bool:
    """Writes the distribution of numbers, as `scalar` does a number. It has 30 buckets."""
    return _written(step, lambda file, at: file.histogram(name, np.asarray(data, np.float32).ravel(), at))


def text(name: str, data: Any, step: Any = None, description: Any = None) -> bool:
    """Writes a text or an array of texts in Markdown, as `scalar` does a number."""
    return _written(step, lambda file, at: file.text(name, np.asarray(data, object), at))


def image(name: str, data: Any, step: Any = None, max_outputs: int = 3, description: Any = None) -> bool:
    """Writes pictures, as `scalar` does a number.

    Args:
        name: what TensorBoard calls them.
        data: (n, height, width, channels) with 1, 3 or 4 channels: floats from 0 to 1, or uint8.
        step: as for `scalar`.
        max_outputs: how many of them are written.
        description: without effect.

    Raises:
        ValueError: for another shape, or without a step.
    """
    pixels = np.asarray(data)
    if pixels.ndim != 4 or pixels.shape[-1] not in {1, 3, 4}:  # noqa: PLR2004 # n, height, width, channels
        msg = f"`data` must have the shape (n, height, width, channels) with 1, 3 or 4 channels, got {pixels.shape}"
        raise ValueError(msg)
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255.999).astype(np.uint8)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return _written(step, lambda file, at: file.images(name, pixels[:max_outputs], at))


def flush(writer: Any = None, name: Any = None) -> None:
    """Writes the events that wait in memory, of the writer of the block by default."""
    found = writer or _writer.get()
    if found is not None:
        found.flush()


@contextmanager
def record_if(condition: Any) -> Iterator[None]:
    """Writes events within the block only if a condition is true.

    Args:
        condition: a bool, or a function that returns one.
    """
    token = _records.set(condition)
    try:
        yield
    finally:
        _records.reset(token)


def should_record_summaries() -> bool:
    """Returns whether events are written here."""
    return _writer.get() is not None and _is_recording()


def trace_on(graph: bool = True, profiler: bool = False, profiler_outdir: Any = None) -> None:
    """Has no effect: `engine.utils.explain_batch` tells what a model computes, and how long it takes."""


def trace_off() -> None:
    """Has no effect."""


def trace_export(name: str, step: Any = None, profiler_outdir: Any = None) -> None:
    """Has no effect: `tf.keras.callbacks.TensorBoard` writes the graph of a model."""


def _is_recording() -> bool:
    condition = _records.get()
    return bool(condition() if callable(condition) else condition)


def _written(step: Any, write: Callable[[EventFile, int], None]) -> bool:
    writer = _writer.get()
    if writer is None or not _is_recording():
        return False
    at = experimental.get_step() if step is None else step
    if at is None:
        msg = "No step set: pass `step`, or set it with tf.summary.experimental.set_step()"
        raise ValueError(msg)
    return writer._add(lambda file: write(file, int(at)))
