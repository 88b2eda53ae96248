"""Models in files, and as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from engine._base.checks import require
from engine.models.compiled import CompiledModel

PathLike = str | os.PathLike[str]


class SavedModel(CompiledModel):
    """Base class of models that can be saved to files."""

    def __reduce__(self) -> Any:
        """A copy or a pickle is the model as a file has it."""
        from engine import saving

        with self._lock.borrowed():
            return saving.pickled(self)

    def save(
        self, filepath: PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
    ) -> None:
        """Saves the model: its layers, weights, compile arguments and optimizer state.

        The file is written completely or not at all, even after a crash. Keras can read `.keras` and `.h5` files.

        Args:
            filepath: path that ends in `.keras`, `.npz` (which needs only NumPy), `.safetensors` or `.h5`; with
                `zipped=False` the path of a folder.
            overwrite: whether to replace an existing file without asking.
            zipped: False writes the contents of a `.keras` file into a folder and keeps all other files in that
                folder.
            kwargs: `include_optimizer=False` leaves out the optimizer state.

        Raises:
            ValueError: if the suffix is unknown.
            ImportError: if the format needs a package that is not installed.
        """
        from engine import saving

        with self._lock.borrowed():
            self._warn_of_weights("save()")
            saving.save_model(self, filepath, overwrite, zipped, **kwargs)

    def save_weights(
        self, filepath: PathLike, overwrite: bool = True, max_shard_size: float | None = None, **kwargs: Any
    ) -> None:
        """Saves the weights and the optimizer state.

        Args:
            filepath: path that ends in `.weights.h5` (which Keras can read), `.npz` (which needs only NumPy) or
                `.safetensors`; with `max_shard_size` in `.weights.json`.
            overwrite: whether to replace an existing file without asking.
            max_shard_size: largest size of one file in GiB. The weights are split over several `.weights.h5` files
                beside the `.weights.json`. None writes one file.
            kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not saved.

        Raises:
            ValueError: if the suffix is unknown, or the model isn't built.
            ImportError: if the format needs a package that is not installed.
        """
        from engine import saving

        with self._lock.borrowed():
            self._warn_of_weights("save_weights()")
            saving.save_weights(self, filepath, overwrite, max_shard_size, **kwargs)

    def load_weights(self, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
        """Loads weights from a file of any supported format, and the optimizer state if the model is compiled.

        Args:
            filepath: path of the file.
            skip_mismatch: whether to skip layers whose weights differ in number or shape from the file, with a
                warning.
            kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not loaded; `by_name=True`, for
                Keras' older `.h5` files, loads only the layers whose names occur in the file.

        Raises:
            ValueError: if the file is damaged or doesn't match the model. The model is unchanged then.
            OSError: if the file can't be read.
        """
        from engine import saving

        with self._lock:
            saving.load_weights(self, filepath, skip_mismatch, **kwargs)

    def to_json(self, **kwargs: Any) -> str:
        """Returns the model without its weights as JSON, for `models.model_from_json` here or in Keras.

        Args:
            kwargs: options of `json.dumps`.
        """
        from engine.saving.config import model_to_json

        return model_to_json(self, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile` as plain Python values; an empty dict before `compile`."""
        from engine.utils import serialize_keras_object

        if self._compiled is None:
            return {}
        config: dict[str, Any] = serialize_keras_object(
            {"optimizer": self._compiled.optimizer} | self._compile_arguments
        )
        return config

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles the model with the arguments in `config`, as returned by `get_compile_config`."""
        require(Mapping, config, "config", "a dict as get_compile_config() returns it")
        known = {"optimizer", "auto_scale_loss", *_ARGUMENTS}
        self.compile(**{name: value for name, value in config.items() if name in known})


_ARGUMENTS = (
    "loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution", "jit_compile",
)  # fmt: skip
