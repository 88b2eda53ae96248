"""`tf.saved_model`: a folder with what a `.keras` file holds, as TensorFlow's own needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.models import Model
from engine.saving import load_model
from engine.saving.contents import CONFIG

__all__ = ["load", "save"]


def save(obj: Any, export_dir: Any, signatures: Any = None, options: Any = None) -> None:
    """Saves a model into a folder.

    Args:
        obj: the model.
        export_dir: the folder, which is made if it is missing.
        signatures: without effect.
        options: without effect.

    Raises:
        TypeError: for something else than a model.
    """
    if not isinstance(obj, Model):
        msg = (
            f"a {type(obj).__name__} can't be saved as a model: save its variables with tf.train.Checkpoint(), or write it as a "
            "subclass of tf.keras.Model"
        )
        raise TypeError(msg)
    folder = Path(export_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    obj.save(folder, zipped=False)


def load(export_dir: Any, tags: Any = None, options: Any = None) -> Any:
    """Returns the model that `save` has put into a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the folder has a model of TensorFlow's own format.
    """
    folder = Path(export_dir)
    if (folder / CONFIG).exists():
        return load_model(folder)
    if (folder / "saved_model.pb").exists():
        msg = (
            f"{str(folder)!r} has a model in the format of TensorFlow: load it there with tf.keras.models.load_model(), and save it "
            "as `.keras` or `.h5`"
        )
        raise ValueError(msg)
    msg = f"there is no model in {str(folder)!r}: its description would be the file {str(folder / CONFIG)!r}"
    raise FileNotFoundError(msg)
