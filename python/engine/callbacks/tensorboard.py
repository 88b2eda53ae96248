"""A callback that writes the logs, weights and layers of a training for TensorBoard."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.atomic_files import replacing, replacing_together
from engine._base.checks import flag, integer, nearest, path_of
from engine._base.extras import extra
from engine._base.left_out import SaysWhatIsLeftOut
from engine.callbacks.base import Callback, Logs
from engine.callbacks.rates import learning_rate_of
from engine.layers.core import named_leaves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.callbacks.event_files import EventFile

_VALIDATION = "val_"
_MATRIX = 2
_MICRO = 1e6


class TensorBoard(Callback, SaysWhatIsLeftOut):
    """Writes logs for TensorBoard, which `tensorboard --logdir logs` shows.

    The run `train` holds the values of training, the run `validation` those of validation. The names are Keras':
    `epoch_loss`, `batch_loss`, `evaluation_loss_vs_iterations` and so on. It needs the package tensorboard (`pip
    install tensorboard`), but not TensorFlow.

    Args:
        log_dir: folder for the files, created if missing. Use a subfolder for each training.
        histogram_freq: number of epochs between histograms of the weights; 0 writes none.
        write_graph: whether to write the graph of the layers.
        write_images: whether to write an image of each weight with its histogram, from black (smallest value) to
            white (largest value).
        write_steps_per_second: whether to write the number of steps per second.
        update_freq: "epoch", or the number of batches after which the logs are written, too; "batch" is 1. Except
            with "epoch", training runs batch by batch, which is slower.
        profile_batch: number of the batch to profile, counted from 1 over all epochs, or a pair with the first and
            the last; 0 profiles none. Durations are written in Chrome's trace format, which TensorBoard's profiler,
            Perfetto and chrome://tracing show.
        embeddings_freq: number of epochs after which the tables of Embedding layers are written for TensorBoard's
            projector, which shows the last ones; 0 writes none.
        embeddings_metadata: file with one line of labels per row of the table, for all Embedding layers, or a dict
            from names of layers to files.

    Raises:
        ImportError: if the package tensorboard is not installed.
        TypeError, ValueError: if an argument is invalid; in use, if a name in `embeddings_metadata` is not that of
            an Embedding layer.
        OSError: in use, if a file can't be written.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: int | str = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: str | Mapping[str, str] | None = None,
    ) -> None:
        extra("tensorboard", "tensorboard", "callbacks.TensorBoard")
        self.log_dir = path_of(log_dir, "log_dir")
        self.histogram_freq = integer(histogram_freq, "histogram_freq", 0)
        self.write_graph = flag(write_graph, "write_graph")
        self.write_images = flag(write_images, "write_images")
        self.write_steps_per_second = flag(write_steps_per_second, "write_steps_per_second")
        self.update_freq = _update_freq(update_freq)
        self.embeddings_freq = integer(embeddings_freq, "embeddings_freq", 0)
        self.embeddings_metadata = embeddings_metadata
        self._profiled = _batches(profile_batch)
        self._files: dict[str, EventFile] = {}
        self._batch = 0
        self._trace: list[dict[str, Any]] = []
        self._sees_batches = self.update_freq != "epoch" or bool(self._profiled)

    @property
    def _writes_to(self) -> object:
        return self.log_dir

    def set_model(self, model: Any) -> None:
        """Starts new files."""
        super().set_model(model)
        self._files = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Writes the graph and the configuration of the projector."""
        self._batch = 0
        self._trace = []
        if self.write_graph and self.model.built:
            self._file("train").layers(_layers(self.model))
            self._flush()
        if self.embeddings_freq:
            self._configure_projector()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Records the time."""
        self._epoch_start = time.perf_counter(), int(self.model.optimizer.iterations)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Records the time."""
        self._batch += 1
        self._batch_start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Writes the logs if they are due, and the duration of a profiled batch."""
        end, number = time.perf_counter(), self._batch
        if number in self._profiled:
            self._trace.append(
                {
                    "name": f"batch {number}",
                    "ph": "X",
                    "pid": 1,
                    "tid": 1,
                    "ts": self._batch_start * _MICRO,
                    "dur": (end - self._batch_start) * _MICRO,
                }
            )
            if number == self._profiled[-1]:
                self._write_trace()
        if self.update_freq == "epoch" or number % self.update_freq:
            return
        values = dict(logs or {})
        if self.write_steps_per_second:
            values["steps_per_second"] = 1 / max(end - self._batch_start, 1 / _MICRO)
        for name, value in values.items():
            self._file("train").scalar(f"batch_{name}", value, number)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the logs, and the histograms and tables that are due."""
        values = dict(logs or {})
        values.setdefault("learning_rate", learning_rate_of(self.model))
        if self.write_steps_per_second:
            start, steps = self._epoch_start
            elapsed = time.perf_counter() - start
            values["steps_per_second"] = (int(self.model.optimizer.iterations) - steps) / elapsed
        for name, value in values.items():
            run = "validation" if name.startswith(_VALIDATION) else "train"
            self._file(run).scalar(f"epoch_{name.removeprefix(_VALIDATION)}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings()
        self._flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Writes what is left."""
        self._write_trace()
        self._flush()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Writes the results of the evaluation against the number of training steps."""
        for name, value in (logs or {}).items():
            tag = f"evaluation_{name}_vs_iterations"
            self._file("validation").scalar(tag, value, int(self.model.optimizer.iterations))
        self._flush()

    def _file(self, run: str) -> EventFile:
        if run not in self._files:
            from engine.callbacks.event_files import EventFile

            self._files[run] = EventFile(Path(self.log_dir, run))
        return self._files[run]

    def _flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def _write_trace(self) -> None:
        if not self._trace:
            return
        import gzip
        import json
        import socket

        folder = Path(self.log_dir, "train", "plugins", "profile", time.strftime("%Y_%m_%d_%H_%M_%S"))
        folder.mkdir(parents=True, exist_ok=True)
        name = {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"fit {self.model.name}"}}
        trace = {"displayTimeUnit": "ms", "traceEvents": [name, *self._trace]}
        with gzip.open(folder / f"{socket.gethostname()}.trace.json.gz", "wt", encoding="utf-8") as file:
            json.dump(trace, file)
        self._trace = []

    def _write_weights(self, epoch: int) -> None:
        for layer in self.model.layers:
            for weight in layer.weights:
                path, values = weight.path, weight.numpy()
                self._file("train").histogram(f"{path}/histogram", values, epoch)
                picture = _picture(values) if self.write_images else None
                if picture is not None:
                    self._file("train").image(f"{path}/image", picture, epoch)

    def _embeddings(self) -> dict[str, Any]:
        layers = named_leaves(self.model._parts_in_order)
        return {name: layer for name, layer in layers if type(layer).__name__ == "Embedding"}

    def _configure_projector(self) -> None:
        """Writes the configuration of the projector, which says where the tables of embeddings are."""
        from google.protobuf import text_format
        from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

        names = list(self._embeddings())
        metadata = self.embeddings_metadata
        labels = dict(metadata) if isinstance(metadata, Mapping) else dict.fromkeys(names, metadata)
        for name in labels:
            if name not in names:
                msg = f"`embeddings_metadata` names {name!r}, which is no Embedding layer of the model{nearest(name, names)}"
                raise ValueError(msg)
        config = ProjectorConfig()
        for name in names:
            embedding = config.embeddings.add(tensor_name=name, tensor_path=_table(name))
            path = labels.get(name)
            if path is not None:
                embedding.metadata_path = os.fspath(path)
        self._write_embeddings()
        with replacing(Path(self.log_dir, "projector_config.pbtxt"), "w") as file:
            file.write(text_format.MessageToString(config))

    def _write_embeddings(self) -> None:
        folder = Path(self.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing_together() as opened:  # the projector may read them meanwhile
            for name, layer in self._embeddings().items():
                with opened(folder / _table(name), "w") as file:
                    np.savetxt(file, layer.weights[0], fmt="%.7g", delimiter="\t")


def _table(layer: str) -> str:
    return f"{layer.replace('/', '_').replace(os.sep, '_')}.tsv"


def _update_freq(value: object) -> Any:
    if value in ("epoch", "batch"):
        return "epoch" if value == "epoch" else 1
    if isinstance(value, str):
        msg = f"`update_freq` must be 'epoch', 'batch' or a number of batches, got {value!r}"
        raise ValueError(msg)
    return integer(value, "update_freq", 1)


def _batches(value: Any) -> range:
    """Returns the batches that `profile_batch` asks for."""
    entries = (
        value.split(",") if isinstance(value, str) else value if isinstance(value, (tuple, list)) else [value]
    )
    try:
        numbers = [
            int(number) if isinstance(number, str) else integer(number, "profile_batch", 0)
            for number in entries
        ]
    except (TypeError, ValueError):
        numbers = []
    if numbers == [0]:
        return range(0)
    if len(numbers) not in (1, 2) or numbers[0] < 1 or numbers[-1] < numbers[0]:
        msg = f"`profile_batch` must be 0, the number of a batch from 1 on, or two of them, first and last; got {value!r}"
        raise ValueError(msg)
    return range(numbers[0], numbers[-1] + 1)


def _layers(model: Any) -> dict[str, Any]:
    """Returns names and classes of the layers, in the form of Keras' model JSON."""
    starts = [(tensor.name, tensor.start) for tensor in model._symbols()[0]]
    layers = [
        {"class_name": type(layer).__name__, "config": {"name": name, "dtype": "float32"}}
        for name, layer in [*starts, *named_leaves(model._parts_in_order)]
    ]
    return {"class_name": "Sequential", "config": {"name": model.name, "layers": layers}}


def _picture(weight: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """Returns an array as grey pixels, wider than high; None if it is no vector or matrix."""
    array = np.atleast_2d(np.squeeze(weight))
    if array.ndim != _MATRIX or not np.isfinite(array).all():
        return None
    array = array.T if array.shape[0] > array.shape[1] else array
    low, high = float(array.min()), float(array.max())
    pixels: NDArray[np.uint8] = np.rint((array - low) * (255 / (high - low or 1.0))).astype(np.uint8)
    return pixels
