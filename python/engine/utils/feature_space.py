"""`FeatureSpace`, which turns the columns of a table into one array for a model, each column by a layer of its own."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine import layers
from engine._base.atomic_files import replacing
from engine._base.checks import WrongTypeError, checked_config, choice, integer, label, path_of, require
from engine._base.left_out import SaysWhatIsLeftOut
from engine._base.spec import auto_name
from engine._base.tensor_like import Tensor
from engine._data.array_conversion import as_float32, real_array, require_finite
from engine._data.batch_streams import is_indexed, raw_batches, samples_of_batch
from engine._data.frames import columns_by_name
from engine._data.strings import contains_strings, strings_in
from engine.layers.lookup import VocabularyLayer
from engine.utils.serialization import deserialize_keras_object, serialize_keras_object

# The module in which Keras defines the classes that a config names.
_MODULE = "keras.src.layers.preprocessing.feature_space"
# The layers whose outputs are integers, so that they can be encoded and crossed.
_DISCRETE = (layers.StringLookup, layers.IntegerLookup, layers.Hashing, layers.Discretization)
# The version of Keras that a file names.
_KERAS = "3.12.0"


class Feature(NamedTuple):
    """How one column is read.

    Attributes:
        dtype: "float32", "int32" or "string".
        preprocessor: the layer that computes what the model gets.
        output_mode: "float" for its outputs as they are, "int" for integers, "one_hot" for vectors made of integers.
    """

    dtype: str
    preprocessor: Any
    output_mode: str


class Cross(NamedTuple):
    """Columns that are hashed together.

    Attributes:
        feature_names: the names of the columns.
        crossing_dim: the number of bins.
        output_mode: "int" or "one_hot".
    """

    feature_names: tuple[str, ...]
    crossing_dim: int
    output_mode: str

    @property
    def name(self) -> str:
        """The name of the encoded column."""
        return "_X_".join(self.feature_names)


class FeatureSpace(SaysWhatIsLeftOut):
    """Turns a dict of columns into one array for a model, and keeps what it has learned from the data.

    Each column has a kind: "float", "float_rescaled", "float_normalized", "float_discretized", "integer_categorical",
    "string_categorical", "integer_hashed" or "string_hashed", or the result of the method of that name with its arguments, such as
    `FeatureSpace.float_discretized(num_bins=10)`. Integers and strings become one-hot vectors, unless asked otherwise.

    Args:
        features: dict from the names of columns to their kinds.
        output_mode: "concat" joins all encoded columns, those of the features in the order of their names, then those of crosses;
            "dict" returns a dict of them.
        crosses: list of columns that are hashed together: tuples of names, or results of `FeatureSpace.cross`.
        crossing_dim: number of bins for each tuple in `crosses`.
        hashing_dim: number of bins for the kinds "integer_hashed" and "string_hashed".
        num_discretization_bins: number of bins for the kind "float_discretized".
        name: name of the object.

    Raises:
        ValueError: for an unknown kind, or a cross of unknown columns.

    Example:
        >>> import numpy as np
        >>> from engine.utils import FeatureSpace
        >>> table = {"age": np.array([20.0, 40.0]), "pet": np.array(["cat", "dog"])}
        >>> space = FeatureSpace({"age": "float_normalized", "pet": "string_categorical"})
        >>> space.adapt(table)
        >>> space(table).tolist()
        [[-1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Sequence[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        require(Mapping, features, "features", "a dict of the kinds of columns by their names")
        require((list, tuple), crosses, "crosses", "a list of tuples of names of columns")
        if not features:
            msg = f"The `features` argument cannot be None or empty, got {features!r}: give the kind of each column"
            raise ValueError(msg)
        self.name = auto_name("feature_space") if name is None else label(name)
        self.output_mode = choice(output_mode, "output_mode", ("concat", "dict"))
        self.crossing_dim = integer(crossing_dim, "crossing_dim", 1)
        self.hashing_dim = integer(hashing_dim, "hashing_dim", 1)
        self.num_discretization_bins = integer(num_discretization_bins, "num_discretization_bins", 1)
        self.features = {key: self._feature_of(key, value) for key, value in features.items()}
        self.crosses = [self._cross_of(value) for value in crosses or ()]
        self.preprocessors = {key: feature.preprocessor for key, feature in self.features.items()}
        self.inputs = {
            key: layers.Input((1,), dtype=feature.dtype, name=key) for key, feature in self.features.items()
        }
        self.crossers = {
            cross.name: layers.HashedCrossing(cross.crossing_dim, name=cross.name) for cross in self.crosses
        }
        self._require_encodable()
        self._encoders: dict[str, Any] = {}
        self._concatenate = layers.Concatenate()
        self._encoded: Any = None

    # The kinds of columns.

    @classmethod
    def cross(cls, feature_names: Sequence[str], crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """Returns an entry of `crosses`: columns that are hashed together.

        Args:
            feature_names: the names of the columns.
            crossing_dim: number of bins.
            output_mode: "one_hot" or "int".
        """
        mode = choice(output_mode, "output_mode", ("int", "one_hot"))
        return Cross(tuple(feature_names), integer(crossing_dim, "crossing_dim", 1), mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """Returns a kind of column of your own.

        Args:
            dtype: "float32", "int32" or "string".
            preprocessor: a layer, which is called on (n, 1).
            output_mode: "float", "int" or "one_hot".
        """
        return Feature(dtype, preprocessor, choice(output_mode, "output_mode", ("int", "one_hot", "float")))

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Returns the kind of numbers that the model gets as they are.

        Args:
            name: of the layer; default one with a number.
        """
        return Feature("float32", layers.Identity(name=_named(name, "float")), "float")

    @classmethod
    def float_rescaled(cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None) -> Feature:
        """Returns the kind of numbers that are rescaled.

        Args:
            scale: the factor.
            offset: what is added.
            name: of the layer; default one with a number.
        """
        layer = layers.Rescaling(scale=scale, offset=offset, name=_named(name, "float_rescaled"))
        return Feature("float32", layer, "float")

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """Returns the kind of numbers that are brought to mean 0 and variance 1.

        Args:
            name: of the layer; default one with a number.
        """
        return Feature("float32", layers.Normalization(name=_named(name, "float_normalized")), "float")

    @classmethod
    def float_discretized(
        cls, num_bins: int, bin_boundaries: Any = None, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Returns the kind of numbers that are put into bins.

        Args:
            num_bins: number of bins that hold about as many numbers each.
            bin_boundaries: the boundaries of the bins, instead of `num_bins`.
            output_mode: "one_hot" or "int".
            name: of the layer; default one with a number.
        """
        count = num_bins if bin_boundaries is None else None
        layer = layers.Discretization(bin_boundaries, count, name=_named(name, "float_discretized"))
        return cls.feature("float32", layer, output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Returns the kind of integers that stand for categories.

        Args:
            max_tokens: the largest number of categories; None for no limit.
            num_oov_indices: number of further categories for integers that the data hadn't.
            output_mode: "one_hot" or "int".
            name: of the layer; default one with a number.
        """
        layer = layers.IntegerLookup(max_tokens, num_oov_indices, name=_named(name, "integer_categorical"))
        return cls.feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Returns the kind of strings that stand for categories.

        Args:
            max_tokens: the largest number of categories; None for no limit.
            num_oov_indices: number of further categories for strings that the data hadn't.
            output_mode: "one_hot" or "int".
            name: of the layer; default one with a number.
        """
        layer = layers.StringLookup(max_tokens, num_oov_indices, name=_named(name, "string_categorical"))
        return cls.feature("string", layer, output_mode)

    @classmethod
    def string_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Returns the kind of strings that are hashed.

        Args:
            num_bins: number of bins.
            output_mode: "one_hot" or "int".
            name: of the layer; default one with a number.
        """
        return cls.feature(
            "string", layers.Hashing(num_bins, name=_named(name, "string_hashed")), output_mode
        )

    @classmethod
    def integer_hashed(cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None) -> Feature:
        """Returns the kind of integers that are hashed.

        Args:
            num_bins: number of bins.
            output_mode: "one_hot" or "int".
            name: of the layer; default one with a number.
        """
        return cls.feature(
            "int32", layers.Hashing(num_bins, name=_named(name, "integer_hashed")), output_mode
        )

    def _feature_of(self, name: str, kind: Any) -> Feature:
        if isinstance(kind, Feature):
            return kind
        if isinstance(kind, Mapping):
            return _feature_in(kind)
        options: dict[str, dict[str, Any]] = {
            "float": {},
            "float_rescaled": {},
            "float_normalized": {},
            "float_discretized": {"num_bins": self.num_discretization_bins},
            "integer_categorical": {},
            "string_categorical": {},
            "integer_hashed": {"num_bins": self.hashing_dim},
            "string_hashed": {"num_bins": self.hashing_dim},
        }
        chosen = choice(kind, f"features[{name!r}]", tuple(options))
        feature: Feature = getattr(self, chosen)(name=name, **options[chosen])
        return feature

    def _cross_of(self, value: Any) -> Cross:
        if isinstance(value, Mapping):
            value = self.cross(**value.get("config", value))
        if not isinstance(value, (Cross, list, tuple)):
            msg = f"`crosses` must be a list of tuples of names of columns, got {value!r:.60} in it"
            raise WrongTypeError(msg)
        cross = value if isinstance(value, Cross) else self.cross(value, self.crossing_dim)
        unknown = [name for name in cross.feature_names if name not in self.features]
        if unknown:
            msg = (
                "All features referenced in the `crosses` argument should be present in the `features` dict. Received "
                f"unknown features: {unknown}"
            )
            raise ValueError(msg)
        return cross

    def _require_encodable(self) -> None:
        """Raises ValueError for a column whose outputs can't be encoded or joined as it says."""
        for name, feature in self.features.items():
            discrete = _is_discrete(feature.preprocessor)
            if feature.output_mode == "one_hot" and not discrete:
                msg = (
                    f"Feature '{name}' has `output_mode='one_hot'`. Thus its preprocessor should be one of "
                    f"{', '.join(layer.__name__ for layer in _DISCRETE)} with integer outputs, got {feature.preprocessor!r}: "
                    "use output_mode='float' or 'int'"
                )
                raise ValueError(msg)
        if self.output_mode == "concat":
            specs: dict[str, Any] = self.features | {cross.name: cross for cross in self.crosses}
            for name, spec in specs.items():
                if spec.output_mode == "int":
                    msg = (
                        f"Cannot concatenate features because feature '{name}' has not been encoded (it has "
                        "output_mode='int'). Consider using `output_mode='dict'`."
                    )
                    raise ValueError(msg)
        for cross in self.crosses:
            for name in cross.feature_names:
                if not _is_discrete(self.preprocessors[name]):
                    msg = (
                        f"feature '{name}' of the cross {cross.feature_names} is no column of integers or strings: discretize "
                        "it, or leave it out"
                    )
                    raise ValueError(msg)

    # Learning from data.

    def adapt(self, dataset: Any) -> None:
        """Learns what the columns need from data: vocabularies, boundaries of bins, mean and variance.

        Args:
            dataset: a dict of columns or a data frame; or an iterable or a `PyDataset` of batches, which are such dicts or tuples
                (dict, y).

        Raises:
            ValueError: if a column is missing.
            TypeError: for data of another form, or a column of the wrong type.
        """
        adapted = [key for key, layer in self.preprocessors.items() if _needs_adapting(layer)]
        columns = self._columns_of(dataset, adapted)
        for key in adapted:
            self.preprocessors[key].adapt(columns[key])
        self._encoders, self._encoded = {}, None

    def _columns_of(self, dataset: Any, names: Sequence[str]) -> dict[str, Any]:
        """Returns the columns of those names in all batches, each (n, 1)."""
        table = _table_in(dataset)
        if table is not None:
            return {name: self._column(table, name)[0] for name in names}
        if isinstance(dataset, (str, bytes, np.ndarray)) or not (
            isinstance(dataset, Iterable) or is_indexed(dataset)
        ):
            msg = f"`adapt()` takes a dict of columns, a data frame, or batches of them, got {dataset!r:.60}"
            raise TypeError(msg)
        parts_of_columns: dict[str, list[Any]] = {name: [] for name in names}
        for batch in dataset if isinstance(dataset, Iterable) else raw_batches(dataset):
            part = _table_in(samples_of_batch(batch))
            if part is None:
                msg = f"`adapt()` takes batches that are dicts of columns or tuples (dict, y), got {batch!r:.60}"
                raise TypeError(msg)
            for name in names:
                parts_of_columns[name].append(self._column(part, name)[0])
        return {name: np.concatenate(parts) for name, parts in parts_of_columns.items()}

    def _column(self, table: Mapping[str, Any], name: str) -> tuple[NDArray[Any], bool]:
        """Returns a column as (n, 1), and whether it was a single value."""
        if name not in table:
            msg = f"the data must have a column {name!r}, got {[*table]}"
            raise ValueError(msg)
        value, dtype = table[name], self.features[name].dtype
        if dtype == "string":
            strings, shape = strings_in(value, name)
            array: NDArray[Any] = np.empty(len(strings), object)
            array[:] = strings
            array = array.reshape(shape)
        elif contains_strings(value):
            msg = f"column {name!r} must hold numbers, as it has the dtype {dtype}, but holds strings: use a kind of strings"
            raise TypeError(msg)
        else:
            array = np.asarray(value) if np.ndim(value) == 0 else real_array(value, name)
        single = array.ndim == 0
        return (array.reshape(1, 1) if single else array[:, np.newaxis] if array.ndim == 1 else array), single

    # Encoding.

    def get_inputs(self) -> dict[str, Any]:
        """Returns a dict of symbolic inputs, one for each column, for a model that reads columns.

        Raises:
            ValueError: before `adapt`, if a column needs it.
        """
        self._require_adapted()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """Returns what a model computes from `get_inputs()`: a symbolic tensor, or a dict of them.

        A model of `inputs=space.get_encoded_features()` trains on what the object returned before, which is faster, and one of
        `inputs=space.get_inputs()` with the same outputs reads columns.

        Raises:
            ValueError: before `adapt`, if a column needs it.
        """
        self._require_adapted()
        if self._encoded is None:
            encoded = {key: layer(self.inputs[key]) for key, layer in self.preprocessors.items()}
            self._encoded = self._merged(encoded)
        return self._encoded

    def __call__(self, data: Any) -> Any:
        """Returns the encoded columns: float32 (n, entries), or a dict of arrays for `output_mode="dict"`.

        Args:
            data: dict of columns (n,) or (n, 1), or a data frame; or a dict of single values, of which the result has no batch
                axis.

        Raises:
            ValueError: if a column is missing or unknown, or before `adapt`.
            TypeError: if `data` is no dict of columns, or a column has the wrong type.
        """
        self._require_adapted()
        table = _table_in(data)
        if table is None:
            msg = (
                f"A FeatureSpace can only be called with a dict of columns or a data frame, got {data!r:.60}"
            )
            raise TypeError(msg)
        unknown = [name for name in table if name not in self.features]
        if unknown:
            msg = f"the data has the columns {unknown}, which the FeatureSpace doesn't know: leave them out"
            raise ValueError(msg)
        columns = {name: self._column(table, name) for name in self.features}
        encoded = {name: self._preprocessed(name, column) for name, (column, _) in columns.items()}
        merged = self._merged(encoded)
        if not all(single for _, single in columns.values()):
            return merged
        if isinstance(merged, dict):
            return {name: rows[0] for name, rows in merged.items()}
        return merged[0]

    def _preprocessed(self, name: str, column: NDArray[Any]) -> Any:
        layer = self.preprocessors[name]
        if self.features[name].dtype == "float32":
            rows = as_float32(column)
            require_finite(rows, column, name)
            return layer(rows)
        return layer(column)

    def _merged(self, encoded_features: Mapping[str, Any]) -> Any:
        """Returns preprocessed columns, with crosses, encoded and joined; of arrays or symbolic tensors."""
        crossed = {
            cross.name: self.crossers[cross.name]([encoded_features[name] for name in cross.feature_names])
            for cross in self.crosses
        }
        specs: dict[str, Any] = self.features | {cross.name: cross for cross in self.crosses}
        encoded = {}
        for name in [*sorted(encoded_features), *sorted(crossed)]:
            value = crossed[name] if name in crossed else encoded_features[name]
            encoded[name] = self._encoder(name)(value) if specs[name].output_mode == "one_hot" else value
        if self.output_mode == "dict":
            return encoded
        values = [*encoded.values()]
        if isinstance(values[0], np.ndarray):
            return np.concatenate([np.asarray(column, np.float32) for column in values], axis=-1).view(Tensor)
        return self._concatenate(values) if len(values) > 1 else values[0]

    def _encoder(self, name: str) -> Any:
        """Returns the layer that makes one-hot vectors of the integers of a column."""
        if name not in self._encoders:
            layer = self.crossers.get(name) or self.preprocessors[name]
            if isinstance(layer, VocabularyLayer):
                count = layer.vocabulary_size()
            else:  # as in Keras, bins for which there were too few numbers have a place, too
                count = layer._bins if layer.num_bins is None else layer.num_bins
            self._encoders[name] = layers.CategoryEncoding(count, "multi_hot")
        return self._encoders[name]

    def _require_adapted(self) -> None:
        waiting = [
            name
            for name, layer in self.preprocessors.items()
            if _needs_adapting(layer) and not _is_adapted(layer)
        ]
        if waiting:
            msg = (
                "You need to call `.adapt(dataset)` on the FeatureSpace before you can start using it: the features "
                f"{waiting} learn from data"
            )
            raise ValueError(msg)

    # Config and files.

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, with what `adapt` has found. Keras reads it, too."""
        features = {name: _config_of_feature(feature) for name, feature in self.features.items()}
        crosses = [
            _described("Cross", {**cross._asdict(), "feature_names": [*cross.feature_names]})
            for cross in self.crosses
        ]
        names = ("output_mode", "crossing_dim", "hashing_dim", "num_discretization_bins")
        plain = {name: getattr(self, name) for name in names}
        return {"features": features, "crosses": crosses, **plain}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FeatureSpace:
        """Creates a FeatureSpace from `config`, as returned by `get_config`."""
        return cls(**checked_config(config))

    def save(self, filepath: Any) -> None:
        """Saves the object, with what `adapt` has found, to a file that `saving.load_model` loads.

        Args:
            filepath: path that ends in `.keras`.

        Raises:
            ValueError: for another suffix.
            OSError: if the file can't be written.
        """
        path = path_of(filepath, "filepath")
        if not path.endswith(".keras"):
            msg = f"`filepath` must end in `.keras`, got {path!r}"
            raise ValueError(msg)
        built = {name: {"input_shape": [None, 1]} for name in self.features}
        config = {
            "module": "keras.utils",
            "class_name": "FeatureSpace",
            "config": self.get_config(),
            "registered_name": "FeatureSpace",
            "build_config": built,
        }
        empty = io.BytesIO()
        np.savez(empty)
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": _KERAS}))
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.weights.npz", empty.getvalue())  # Keras wants a file of weights


def _named(name: str | None, kind: str) -> str:
    """Returns the name of the layer of a column."""
    return f"{name or auto_name(kind)}_preprocessor"


def _table_in(data: Any) -> Mapping[str, Any] | None:
    """Returns a dict of columns, or None if `data` is neither that nor a data frame."""
    table = columns_by_name(data)
    return table if isinstance(table, Mapping) else None


def _is_discrete(layer: Any) -> bool:
    return isinstance(layer, _DISCRETE) and layer.output_mode == "int" and not getattr(layer, "invert", False)


def _needs_adapting(layer: Any) -> bool:
    """Returns whether a layer learns from data what the user has not given."""
    if isinstance(layer, layers.Normalization):
        return layer.input_mean is None
    if isinstance(layer, layers.Discretization):
        return layer.num_bins is not None
    if isinstance(layer, VocabularyLayer):
        return not layer._vocabulary.given
    return hasattr(layer, "adapt")


def _is_adapted(layer: Any) -> bool:
    if isinstance(layer, layers.Normalization):
        return bool(layer.built)
    if isinstance(layer, layers.Discretization):
        return layer.bin_boundaries is not None
    return not isinstance(layer, VocabularyLayer) or bool(layer._vocabulary.terms)


def _described(class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {"module": _MODULE, "class_name": class_name, "config": config, "registered_name": class_name}


def _config_of_feature(feature: Feature) -> dict[str, Any]:
    layer = serialize_keras_object(feature.preprocessor)
    if isinstance(feature.preprocessor, layers.Normalization) and feature.preprocessor.built:
        statistics = {name: getattr(feature.preprocessor, name) for name in ("mean", "variance")}
        layer["config"] |= {
            name: np.asarray(value).reshape(-1).tolist() for name, value in statistics.items()
        }
    return _described("Feature", {**feature._asdict(), "preprocessor": layer})


def _feature_in(config: Mapping[str, Any]) -> Feature:
    """Returns the kind of column that a config describes."""
    feature_config = dict(config.get("config", config))
    layer = feature_config.get("preprocessor")
    if isinstance(layer, Mapping):
        if layer.get("class_name") == "TFDIdentity":  # that of Keras
            layer = {**layer, "module": "keras.layers", "class_name": "Identity", "registered_name": None}
        layer = deserialize_keras_object(layer)
    return FeatureSpace.feature(
        str(feature_config.get("dtype")), layer, str(feature_config.get("output_mode"))
    )
