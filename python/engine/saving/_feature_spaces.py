"""`FeatureSpace` in files: those that its `save` writes, and Keras' own."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.layers import Normalization
from engine.layers.lookup import VOCABULARY_FILE, VocabularyLayer
from engine.saving import _zip
from engine.saving._h5 import H5Reader, opened
from engine.saving.contents import ASSETS, CONFIG
from engine.saving.model_config import parsed
from engine.utils.feature_space import FeatureSpace

_WEIGHTS = "model.weights.h5"


def feature_space_in(path: Path) -> FeatureSpace | None:
    """Returns the `FeatureSpace` in a `.keras` file; None if the file holds something else, such as a model."""
    if path.suffix != ".keras" or not path.is_file():
        return None
    with _zip.opened(path) as archive:
        text = _zip.text_member(archive, CONFIG)
        config = {} if text is None else parsed(text)
        if config.get("class_name") != "FeatureSpace":
            return None
        space = FeatureSpace.from_config(config.get("config") or {})
        with _weights(archive) as weights:
            for number, layer in enumerate(space.preprocessors.values()):
                # Keras numbers the columns in their order.
                folder = (
                    f"features/feature_{number}/preprocessor" if number else "features/feature/preprocessor"
                )
                if isinstance(layer, VocabularyLayer) and not layer._vocabulary.terms:
                    terms = _zip.text_member(archive, f"{ASSETS}/{folder}/{VOCABULARY_FILE}")
                    if terms is not None:
                        layer._read_vocabulary(terms)
                if isinstance(layer, Normalization) and layer.input_mean is None and weights is not None:
                    group = weights.group(folder)
                    if len(group):
                        layer.build((None, 1))
                        layer.load_own_variables(group)
    return space


@contextmanager
def _weights(archive: zipfile.ZipFile) -> Iterator[H5Reader | None]:
    """Opens Keras' file of weights, if there is one."""
    if _WEIGHTS not in archive.namelist():
        yield None
        return
    info = archive.getinfo(_WEIGHTS)
    with opened(io.BytesIO(_zip.bytes_of(archive, info)), info.compress_size) as root:
        yield H5Reader(root)
