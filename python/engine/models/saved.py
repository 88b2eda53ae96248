"""Models in files, and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from engine._checks import require
from engine.models.compiled import CompiledModel

PathLike = str | os.PathLike[str]


class SavedModel(CompiledModel):
    """What a model does with files."""

    def __reduce__(self) -> Any:
        """A copy or a pickle is the model as a file has it."""
        from engine import saving

        with self._lock.borrowed():
            return saving.pickled(self)

    def save(
        self, filepath: PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Save the model with its weights, what it was compiled with, and the state of its optimizer.

        The file is whole or not there, whatever happens meanwhile. Keras reads `.keras` and `.h5`.

        Args:
            filepath: ends in `.keras`, `.npz`, which needs NumPy alone, `.safetensors` or `.h5`; a folder with
                `zipped=False`.
            overwrite: whether to replace what is there without asking.
            zipped: False writes the contents of a `.keras` file into a folder, and leaves all other files in it.
            kwargs: `include_optimizer=False` leaves out the optimizer's state.

        Raises:
            ValueError: for another ending.
            ImportError: if the format needs a package that isn't installed.
        """
        from engine import saving

        with self._lock.borrowed():
            self._warn_of_weights("save()")
            saving.save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: PathLike, overwrite: bool = True, max_shard_size: float | None = None, **kwargs: Any
    ) -> None:
        """Save the weights, and the state of the optimizer.

        Args:
            filepath: ends in `.weights.h5`, which Keras reads, `.npz`, which needs NumPy alone, or `.safetensors`; with
                `max_shard_size` in `.weights.json`.
            overwrite: whether to replace what is there without asking.
            max_shard_size: of each of several files of Keras' format beside that one, in GiB; None for one file.
            kwargs: `objects_to_skip`, layers or the optimizer, which are left out.

        Raises:
            ValueError: for another ending, or if there are no weights yet.
            ImportError: if the format needs a package that isn't installed.
        """
        from engine import saving

        with self._lock.borrowed():
            self._warn_of_weights("save_weights()")
            saving.save_weights(self, filepath, overwrite, max_shard_size, **kwargs)

    def load_weights(self, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Load weights from any file that holds some, and the state of the optimizer after `compile`.

        Args:
            filepath: of the file.
            skip_mismatch: whether layers that differ from the file are left as they are, with a warning.
            kwargs: `objects_to_skip`, layers or the optimizer, which are left as they are; `by_name=True`, of Keras' older
                `.h5`, loads the layers that have the names of layers there, and nothing else.

        Raises:
            ValueError: for a file that is damaged or doesn't fit; nothing has changed then.
            OSError: for one that can't be read.
        """
        from engine import saving

        with self._lock:
            saving.load_weights(self, filepath, skip_mismatch, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """The model without its weights as JSON, for `models.model_from_json`, Keras' as well.

        Args:
            kwargs: options of `json.dumps`.
        """
        from engine.saving.config import model_to_json

        return model_to_json(self, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """What the model was compiled with, as plain Python values; empty before `compile`."""
        from engine.utils import serialize_keras_object

        if self._compiled is None:
            return {}
        config: dict[str, Any] = serialize_keras_object(
            {"optimizer": self._compiled.optimizer} | self._compile_arguments
        )
        return config

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile the model as `config` says, which `get_compile_config` returned."""
        require(Mapping, config, "config", "a dict as get_compile_config() returns it")
        known = {"optimizer", "auto_scale_loss", *_ARGUMENTS}
        self.compile(**{name: value for name, value in config.items() if name in known})


_ARGUMENTS = (
    "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution", "jit_compile",
)  # fmt: skip
