"""Event files for TensorBoard, with its protocol buffers and records. They are closed between two writes."""

from __future__ import annotations

import io
import itertools
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.graph.keras_util import keras_model_to_graph_def
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_BUCKETS = 30  # the number in TensorBoard's own histograms
_counter = itertools.count()  # makes the names of two files of the same second different


class EventFile:
    """A file of events, which is made when the first events are written.

    Args:
        folder: the folder of the file, which is made if it is missing. TensorBoard shows it as a run of this name.
    """

    def __init__(self, folder: Path) -> None:
        name = (
            f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_counter)}.v2"
        )
        self._path = folder / name
        self._events = [Event(wall_time=time.time(), file_version="brain.Event:2")]

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Adds a number to the buffer."""
        metadata = scalar_metadata.create_summary_metadata(display_name="", description="")
        self._add(tag, np.float32(value), step, metadata)

    def histogram(self, tag: str, values: NDArray[np.float32], step: int) -> None:
        """Adds a histogram of `values` to the buffer, without those that aren't finite."""
        finite = values[np.isfinite(values)].astype(np.float64)
        buckets = np.zeros((0, 3))
        if finite.size:
            same = finite.min() == finite.max()
            counts, edges = np.histogram(finite, 1 if same else _BUCKETS)
            buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
        metadata = histogram_metadata.create_summary_metadata(display_name="", description="")
        self._add(tag, buckets, step, metadata)

    def image(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Adds a picture of grey pixels, (height, width), to the buffer."""
        self.images(tag, pixels[np.newaxis], step)

    def images(self, tag: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Adds pictures of grey or coloured pixels, (n, height, width) or (n, height, width, channels), to the buffer."""
        from PIL import Image  # TensorBoard needs it

        height, width = pixels.shape[1:3]
        texts = [str(width).encode(), str(height).encode()]
        for each in pixels:
            png = io.BytesIO()
            Image.fromarray(each).save(png, format="png")
            texts.append(png.getvalue())
        metadata = image_metadata.create_summary_metadata(display_name="", description="")
        self._add(tag, texts, step, metadata)

    def text(self, tag: str, texts: NDArray[np.object_], step: int) -> None:
        """Adds texts to the buffer."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        values = np.array([str(each).encode() for each in texts.ravel()], object).reshape(texts.shape)
        self._add(tag, values, step, SummaryMetadata(plugin_data=plugin))

    def layers(self, config: Mapping[str, Any]) -> None:
        """Adds a model, by class name and config in Keras' form, for the graph of its layers.

        It is added twice: where TensorBoard looks for layers of Keras, and where it looks for operations, which it shows first.
        """
        plugin = SummaryMetadata.PluginData(plugin_name="graph_keras_model", content=b"1")
        self._add("keras", json.dumps(config).encode(), 0, SummaryMetadata(plugin_data=plugin))
        graph = keras_model_to_graph_def(config)
        scope = f"{config['config']['name']}/"  # without this prefix TensorBoard shows the layers, and not one closed box
        for node in graph.node:
            node.op, node.name = node.attr["keras_class"].s.decode(), node.name.removeprefix(scope)
            node.input[:] = [name.removeprefix(scope) for name in node.input]
        self._events.append(Event(wall_time=time.time(), graph_def=graph.SerializeToString()))

    def flush(self) -> None:
        """Writes the buffer to the file."""
        if len(self._events) == 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            records = RecordWriter(file)
            for event in self._events:
                records.write(event.SerializeToString())
        self._events.clear()

    def _add(self, tag: str, value: Any, step: int, metadata: Any) -> None:
        summary = Summary()
        summary.value.add(tag=tag, tensor=make_tensor_proto(value), metadata=metadata)
        self._events.append(Event(wall_time=time.time(), step=step, summary=summary))
