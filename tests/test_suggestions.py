"""Tests of the suggestions for unknown names: the name that was probably meant, or none."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

import engine as keras
from engine._base import checks

# By module, for its function `get`: the written name, and the suggestion; None if no name is similar.
BY_NAME: dict[str, dict[str, str | None]] = {
    "losses": {
        "sparse_crossentropy": "sparse_categorical_crossentropy",
        "sparse_cross_entropy": "sparse_categorical_crossentropy",
        "sparse_categorical": "sparse_categorical_crossentropy",
        "sparse_categorial_crossentropy": "sparse_categorical_crossentropy",
        "categorical_crossentropi": "categorical_crossentropy",
        "catagorical_crossentropy": "categorical_crossentropy",
        "categorical_entropy": "categorical_generalized_cross_entropy",
        "binary_cross_entropy": "binary_crossentropy",
        "binary_focal": "binary_focal_crossentropy",
        "cross_entropy": "crossentropy",
        "mean_square_error": "mean_squared_error",
        "mean_squared": "mean_squared_error",
        "squared_error": "mean_squared_error",
        "mean_absolute": "mean_absolute_error",
        "mean_squared_log_error": "mean_squared_logarithmic_error",
        "kl_div": "kl_divergence",
        "cosine": "cosine_similarity",
        "hubber": "huber",
        "hinge_loss": "hinge",
        "mse_loss": "mse",
        "quadratic": None,
        "nll": None,
        "logloss": None,
        "": None,
        "!": None,
    },
    "metrics": {
        "accurcy": "accuracy",
        "acuracy": "accuracy",
        "roc_auc": "auc",
        "f1": "f1_score",
        "recal": "recall",
        "precison": "precision",
        "sparse_accuracy": "sparse_categorical_accuracy",
        "binary_acc": "binary_accuracy",
        "top_k": "top_k_categorical_accuracy",
        "sparse_top_k": "sparse_top_k_categorical_accuracy",
        "true_positive": "true_positives",
        "confusion": "confusion_matrix",
        "kappa": None,
        "mcc": None,
    },
    "optimizers": {
        "adm": "adam",
        "Adma": "adam",
        "adan": "adam",
        "nadm": "nadam",
        "adammax": "adamax",
        "rms_prop": "rmsprop",
        "rms": "rmsprop",
        "ada_grad": "adagrad",
        "sgdm": "sgd",
        "momentum": None,
        "stochastic_gradient_descent": None,
    },
    "activations": {
        "rellu": "relu",
        "sigmiod": "sigmoid",
        "soft_max": "softmax",
        "leaky": "leaky_relu",
        "hard_swich": "hard_swish",
        "linaer": "linear",
        "expo": "exponential",
        "gelu_new": "gelu",
        "none": None,
    },
    "initializers": {
        "he_norm": "he_normal",
        "glorot": "glorot_uniform",
        "truncated": "truncated_normal",
        "orthog": "orthogonal",
        "kaiming": None,
    },
    "regularizers": {"orthogonal_": "orthogonal_regularizer", "ridge": None},
    "constraints": {"min_max": "min_max_norm", "positive": None},
}

# By module: the requested attribute, and the suggestion.
BY_MODULE: dict[str, dict[str, str | None]] = {
    "engine": {
        "Sequental": "Sequential",
        "model": "Model",
        "optimisers": "optimizers",
        "losss": "losses",
        "Inputs": "Input",
    },
    "engine.preprocessing": {"sequences": "sequence", "images": None},
    "engine.preprocessing.text": {"Tokeniser": "Tokenizer"},
    "engine.preprocessing.sequence": {"pad_sequence": "pad_sequences"},
    "engine.tree": {"flaten": "flatten"},
    "engine.wrappers": {"KerasClasifier": "KerasClassifier"},
    "engine.dtype_policies": {"DTypePolcy": "DTypePolicy"},
    "engine.mixed_precision": {"set_global_polcy": "set_global_policy"},
    "engine.layers": {
        "Dens": "Dense",
        "dense": "Dense",
        "Dropuot": "Dropout",
        "BatchNorm": "BatchNormalization",
        "LayerNorm": "LayerNormalization",
        "BatchNormalisation": "BatchNormalization",
        "LeakyRelu": "LeakyReLU",
        "Relu": "ReLU",
        "Flaten": "Flatten",
        "Embeding": "Embedding",
        "Rescale": "Rescaling",
        "Normalize": "Normalization",
        "CategoricalEncoding": "CategoryEncoding",
        "inputlayer": "InputLayer",
        "GlobalAveragePool2D": "GlobalAveragePooling2D",
        "__wrapped__": None,
    },
    "engine.losses": {
        "MeanSquareError": "MeanSquaredError",
        "SparseCrossentropy": "SparseCategoricalCrossentropy",
    },
    "engine.metrics": {"F1": "F1Score", "Auc": "AUC", "TopKAccuracy": "TopKCategoricalAccuracy"},
    "engine.optimizers": {"Adm": "Adam", "RMSProp": "RMSprop", "sgd": "SGD"},
    "engine.optimizers.schedules": {"CosineDecayRestart": "CosineDecayRestarts"},
    "engine.activations": {"rellu": "relu"},
    "engine.initializers": {"HeUniformm": "HeUniform"},
    "engine.regularizers": {"L1_L2": "L1L2"},
    "engine.constraints": {"Maxnorm": "MaxNorm"},
    "engine.distillation": {"Distilller": "Distiller"},
    "engine.callbacks": {
        "EarlyStop": "EarlyStopping",
        "ModelCheckPoint": "ModelCheckpoint",
        "Checkpoint": "ModelCheckpoint",
        "ReduceLR": "ReduceLROnPlateau",
        "LRScheduler": "LearningRateScheduler",
        "CSVLog": "CSVLogger",
        "TensorBord": "TensorBoard",
    },
    "engine.models": {"Sequental": "Sequential", "load": "load_model"},
    "engine.saving": {"save": "save_model"},
    "engine.utils": {
        "to_categoric": "to_categorical",
        "set_seed": "set_random_seed",
        "plot_models": "plot_model",
    },
    "engine.datasets": {"minst": "mnist", "cifar11": None},
    "engine.datasets.mnist": {"load": "load_data"},
    "engine.datasets.fashion_mnist": {"load": "load_data"},
    "engine.datasets.boston_housing": {"load": "load_data"},
    "engine.datasets.california_housing": {"load": "load_data"},
    "engine.datasets.imdb": {"load": "load_data", "word_index": "get_word_index"},
    "engine.datasets.reuters": {"label_names": "get_label_names"},
    "engine.random": {"normall": "normal"},
    "engine.ops": {"meen": "mean", "soft_max": "softmax"},
    "engine.backend": {"clear_sesion": "clear_session"},
    "engine.config": {"set_float": "set_floatx"},
    "engine.plots": {"learning_curve": "learning_curves"},
    "engine.sklearn": {"MLPClasifier": "MLPClassifier"},
}


def suggested(error: pytest.ExceptionInfo[Any]) -> str | None:
    found = re.search(r"did you mean '([^']*)'\?", str(error.value))
    return found and found[1]


@pytest.mark.parametrize(("kind", "written"), [(kind, name) for kind in BY_NAME for name in BY_NAME[kind]])
def test_names(kind: str, written: str) -> None:
    with pytest.raises(ValueError, match="unknown `") as error:
        getattr(keras, kind).get(written)
    assert suggested(error) == BY_NAME[kind][written]


@pytest.mark.parametrize(
    ("home", "written"), [(home, name) for home in BY_MODULE for name in BY_MODULE[home]]
)
def test_attributes_of_modules(home: str, written: str) -> None:
    for needed in {"engine.plots": "matplotlib", "engine.sklearn": "sklearn"}.items():
        if needed[0] == home:
            pytest.importorskip(needed[1])
    with pytest.raises(AttributeError, match=f"module '{home}' has no attribute '{written}'") as error:
        getattr(importlib.import_module(home), written)
    assert suggested(error) == BY_MODULE[home][written]
    assert (error.value.name, error.value.obj) == (written, importlib.import_module(home))


def test_every_module_suggests() -> None:
    import pkgutil

    def family(module: Any) -> Any:
        yield module.__name__
        for name in module.__all__:
            value = getattr(module, name)
            if getattr(value, "__name__", "").startswith("engine.") and hasattr(value, "__path__"):
                yield from family(value)

    tops = [info.name for info in pkgutil.iter_modules(keras.__path__) if not info.name.startswith("_")]
    tested = {name.split(".")[1] for name in BY_MODULE if "." in name}
    assert set(tops) - tested == {"cli", "cython_api", "export"}  # not for import, or compiled
    assert set(family(keras.optimizers)) | set(family(keras.datasets)) <= set(BY_MODULE)


def test_what_is_left_out_may_be_imported() -> None:
    from engine.layers import LSTM, Conv2D, Dense

    why = r"module 'engine.layers' has no attribute 'Conv2D'. Keras has it, but convolutions"
    for use in (
        lambda: Conv2D(32, 3),
        lambda: Conv2D.from_config({}),
        lambda: keras.layers.Conv2D(filters=3),
    ):
        with pytest.raises(AttributeError, match=why) as error:
            use()
        assert (error.value.name, error.value.obj) == ("Conv2D", keras.layers)
    with pytest.raises(AttributeError, match=r"'LSTM'\. Keras has it, but recurrent layers"):

        class Own(LSTM):  # the error is what it is about
            pass

    assert not isinstance(Dense(1), (Conv2D, LSTM))
    assert isinstance(Dense(1), (Conv2D, Dense))
    assert repr(Conv2D) == "<engine.layers.Conv2D, which is left out>"
    with pytest.raises(TypeError, match=r"got <engine\.layers\.Conv2D, which is left out>"):
        keras.Sequential([Conv2D])
    with pytest.raises(AttributeError, match=r"'applications'\. Keras has it, but trained networks"):
        keras.applications.VGG16(weights=None)


def test_how_messages_read() -> None:
    with pytest.raises(AttributeError, match=r"'Nothing': it has the layers of dense networks"):
        keras.layers.Nothing  # noqa: B018 # the access must fail
    with pytest.raises(AttributeError, match=r"'Dens'; did you mean 'Dense'\?"):
        keras.layers.Dens  # noqa: B018
    assert checks.nearest("adan", ["adam"]) == "; did you mean 'adam'?"
    assert checks.nearest("x", ["adam"]) == "."
    assert checks.nearest("adam", []) == "."
