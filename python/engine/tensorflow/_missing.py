"""The names of TensorFlow that `engine.tensorflow` lacks, each with what to write instead."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from typing import Any

_SESSIONS = "sessions, placeholders and graphs of TensorFlow 1 are left out: functions compute at once, and tf.GradientTape() derives them"
_RAGGED = "ragged and sparse tensors are left out: pad rows by tf.keras.utils.pad_sequences(), or give `fit` a matrix of SciPy"
_PIXELS = (
    "images are changed by layers, such as tf.keras.layers.RandomRotation; read and resize them with Pillow"
)
_RECORDS = "files of TensorFlow records are left out: keep data as Parquet, .npy or CSV, and read them by pyarrow, NumPy or pandas"
_EXPORT = "model.export() writes ONNX (.onnx) or C (.h)"

_INSTEAD = {
    "tf": {
        "InteractiveSession Session app compat contrib enable_eager_execution flags get_variable global_variables_initializer "
        "gradients layers placeholder reset_default_graph variable_scope": _SESSIONS,
        "IndexedSlices RaggedTensor RaggedTensorSpec SparseTensor SparseTensorSpec ragged sparse": _RAGGED,
        "TensorArray": "append to a list, and call tf.stack()",
        "audio signal": "sound is left out: networks here are dense",
        "autograph": "tf.function() compiles what it can, and runs the rest as it is written",
        "estimator": "call `fit` of a tf.keras.Model; engine.wrappers has estimators of scikit-learn",
        "feature_column": "describe columns by tf.keras.utils.FeatureSpace",
        "image": _PIXELS,
        "lite": _EXPORT,
        "lookup": "look indices up by tf.keras.layers.StringLookup or IntegerLookup",
        "parse_tensor": _RECORDS,
        "profiler": "engine.utils.explain_batch() tells what a batch computes, and how long it takes",
        "py_func": "call tf.py_function()",
        "raw_ops": "call the functions of tf and tf.math",
        "sets": "call the functions of NumPy for sets",
        "tpu xla": "the engine computes on CPUs",
    },
    "tf.data": {
        "FixedLengthRecordDataset TFRecordDataset": _RECORDS,
        "experimental.CsvDataset experimental.make_csv_dataset": "read the file by pandas.read_csv(), and call from_tensor_slices(dict(frame))",
    },
    "tf.io": {
        "FixedLenFeature TFRecordWriter VarLenFeature parse_example parse_single_example parse_tensor serialize_tensor": _RECORDS,
        "decode_csv": "read the file by pandas.read_csv()",
        "decode_image decode_jpeg decode_png": _PIXELS,
    },
    "tf.nn": {
        "atrous_conv2d avg_pool avg_pool2d conv1d conv2d conv2d_transpose conv3d depthwise_conv2d max_pool max_pool2d": "convolutions and pooling are left out: networks here are dense",
        "ctc_loss rnn_cell": "recurrent networks are left out: networks here are dense",
        "nce_loss sampled_softmax_loss": "call sparse_softmax_cross_entropy_with_logits(), which computes all classes",
    },
    "tf.train": {
        "AdamOptimizer GradientDescentOptimizer MomentumOptimizer RMSPropOptimizer": "call the classes of tf.keras.optimizers",
        "BytesList Example Feature Features FloatList Int64List SequenceExample": _RECORDS,
        "Saver": "call tf.train.Checkpoint(), and its methods save() and restore()",
    },
}


def finder(module: str, prefix: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a module: an error that says what to write instead of a name that it lacks.

    Args:
        module: the `__name__` of the module.
        prefix: what scripts call it, as "tf.nn".
    """

    def getattr_(name: str) -> Any:
        for names, instead in _INSTEAD.get(prefix, {}).items():
            if name in names.split():
                msg = f"{prefix}.{name} is left out of engine.tensorflow: {instead}"
                raise AttributeError(msg, name=name)
        known = [each for each in vars(sys.modules[module]) if not each.startswith("_")]
        near = difflib.get_close_matches(name, known, 1)
        end = f"; did you mean {prefix}.{near[0]}?" if near and not name.startswith("_") else ""
        msg = f"engine.tensorflow has no {prefix}.{name}{end}"
        raise AttributeError(msg, name=name)

    return getattr_
