"""Checks the names that scripts for dense networks use, with the arguments, order and defaults of Keras."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import keras
import pytest

import engine

NAMES = {
    "": "Sequential Input Model Layer Loss Metric Optimizer Initializer Regularizer version",
    "layers": """
        Dense Flatten Reshape Permute RepeatVector Dropout AlphaDropout GaussianDropout GaussianNoise
        ActivityRegularization BatchNormalization LayerNormalization RMSNormalization UnitNormalization LeakyReLU ReLU
        ELU PReLU Softmax Activation Embedding Rescaling Normalization CategoryEncoding Discretization Identity Input InputLayer Layer
        RandomTranslation RandomRotation RandomZoom Lambda Masking GlobalAveragePooling1D GlobalAveragePooling2D
        GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAvgPool1D GlobalMaxPool1D serialize deserialize""",
    "activations": """
        relu relu6 leaky_relu elu selu celu gelu silu swish mish softplus softsign tanh hard_tanh tanh_shrink sigmoid
        hard_sigmoid log_sigmoid hard_silu hard_swish soft_shrink hard_shrink threshold exponential linear softmax
        log_softmax get serialize deserialize""",
    "initializers": """
        Zeros Ones Constant Identity RandomNormal TruncatedNormal RandomUniform VarianceScaling GlorotNormal
        GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Orthogonal Initializer get serialize deserialize""",
    "regularizers": "L1 L2 L1L2 OrthogonalRegularizer Regularizer get serialize deserialize",
    "constraints": "MaxNorm NonNeg UnitNorm MinMaxNorm Constraint get serialize deserialize",
    "losses": """
        MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError Huber LogCosh
        CosineSimilarity Hinge SquaredHinge CategoricalHinge KLDivergence Poisson BinaryCrossentropy
        BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy SparseCategoricalCrossentropy Loss
        mean_squared_error mean_absolute_error mean_absolute_percentage_error mean_squared_logarithmic_error huber
        log_cosh cosine_similarity hinge squared_hinge categorical_hinge kl_divergence poisson binary_crossentropy
        binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy
        sparse_categorical_crossentropy get serialize deserialize""",
    "metrics": """
        Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy TopKCategoricalAccuracy
        SparseTopKCategoricalAccuracy Precision Recall TruePositives FalsePositives TrueNegatives FalseNegatives AUC
        SensitivityAtSpecificity SpecificityAtSensitivity PrecisionAtRecall RecallAtPrecision F1Score FBetaScore
        MeanSquaredError RootMeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError
        MeanSquaredLogarithmicError R2Score LogCoshError CosineSimilarity Hinge SquaredHinge CategoricalHinge
        KLDivergence Poisson BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy Mean Sum
        MeanMetricWrapper Metric get serialize deserialize""",
    "optimizers": """
        SGD Adam AdamW Adamax Nadam Lamb RMSprop Adagrad Adadelta Lion Ftrl Adafactor Muon Optimizer get serialize
        deserialize""",
    "optimizers.schedules": """
        ExponentialDecay PiecewiseConstantDecay PolynomialDecay InverseTimeDecay CosineDecay CosineDecayRestarts
        LearningRateSchedule serialize deserialize""",
    "callbacks": """
        Callback EarlyStopping ReduceLROnPlateau LearningRateScheduler CSVLogger TerminateOnNaN LambdaCallback
        SwapEMAWeights History TensorBoard ModelCheckpoint BackupAndRestore""",
    "models": "Sequential clone_model load_model save_model model_from_json",
    "saving": """
        load_model save_model load_weights save_weights register_keras_serializable get_registered_name
        get_registered_object deserialize_keras_object serialize_keras_object""",
    "utils": """
        to_categorical set_random_seed normalize pad_sequences PyDataset Progbar get_file is_keras_tensor model_to_dot plot_model
        timeseries_dataset_from_array""",
    "random": "SeedGenerator beta binomial categorical dropout gamma normal randint shuffle truncated_normal uniform",
    "config": """
        floatx set_floatx epsilon set_epsilon backend max_epochs max_steps_per_epoch set_max_epochs
        set_max_steps_per_epoch enable_traceback_filtering disable_traceback_filtering is_traceback_filtering_enabled""",
    "tree": """
        assert_same_paths assert_same_structure flatten flatten_with_path is_nested lists_to_tuples map_shape_structure
        map_structure map_structure_up_to pack_sequence_as traverse""",
    "datasets.mnist": "load_data",
    "datasets.fashion_mnist": "load_data",
}
METHODS = """
    compile fit evaluate predict train_on_batch test_on_batch predict_on_batch summary get_layer add pop build
    get_compile_config compile_from_config get_weights set_weights count_params reset_metrics save save_weights
    load_weights to_json from_config"""

# Arguments for features that the engine lacks, such as other devices.
NOT_HERE = {
    "sparse",
    "ragged",
    "optional",
    "batch_shape",
    "tensor",
    "dtype",
    "kwargs",
    "base_config",
    "data_format",
}
NOT_HERE |= {"jit_compile", "distribution", "input_tensor"}
NOT_HERE |= {"path"}  # `None` means the file of the package


def find(module: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        module = getattr(module, part)
    return module


def every_name() -> Iterator[tuple[str, str]]:
    for path, names in NAMES.items():
        for name in names.split():
            yield path, name


def arguments(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    # `name=None` means the name of the class.
    return {
        p.name: None if p.name == "name" else p.default
        for p in parameters
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in NOT_HERE
    }


def assert_same_arguments(theirs: Any, ours: Any) -> None:
    expected, found = arguments(theirs), arguments(ours)
    assert {name: found.get(name, "missing") for name in expected} == expected
    order = [name for name in found if name in expected]
    positional = [
        name for name in expected if inspect.signature(theirs).parameters[name].kind.name != "KEYWORD_ONLY"
    ]
    assert order[: len(positional)] == positional


@pytest.mark.parametrize(("path", "name"), list(every_name()))
def test_name(path: str, name: str) -> None:
    theirs, ours = getattr(find(keras, path), name), getattr(find(engine, path), name)
    if name != "serialize":  # its argument has another name in each module of Keras
        assert_same_arguments(theirs, ours)


@pytest.mark.parametrize("name", METHODS.split())
def test_method(name: str) -> None:
    assert_same_arguments(getattr(keras.Sequential, name), getattr(engine.Sequential, name))


def test_weights_have_the_names_of_keras() -> None:
    """TensorBoard shows weights by these names."""
    ours, theirs = (
        module.Sequential(
            [
                module.Input((6,)),
                module.layers.Dense(3, name="dense"),
                module.layers.BatchNormalization(name="norm"),
                module.layers.PReLU(name="prelu"),
            ]
        )
        for module in (engine, keras)
    )
    names = [f"{layer.name}/{name}" for layer in ours.layers for name in layer._weight_names]
    assert names == [weight.path.partition("/")[2] for weight in theirs.weights]


# Keras stores or ignores further arguments of these.
TAKES_ANYTHING = {"LambdaCallback", "ReduceLROnPlateau", "InputLayer", "Input"}


@pytest.mark.parametrize("module", ["layers", "optimizers", "losses", "metrics", "initializers", "callbacks"])
def test_arguments_of_other_names_raise_the_same(module: str) -> None:
    """Missing arguments are reported later, unless Keras checks them first."""
    for name in sorted(set(NAMES[module].split()) - TAKES_ANYTHING):
        raised: list[tuple[type[BaseException], str]] = []
        for api in (keras, engine):
            cls = getattr(getattr(api, module), name)
            if inspect.isclass(cls):
                with pytest.raises((TypeError, ValueError)) as caught:
                    cls(wrong=1)
                raised.append((caught.type, str(caught.value)))
        if raised and "required positional" not in raised[0][1]:
            assert raised[1][0] is raised[0][0], name
            assert "wrong" in raised[1][1] or "takes no arguments" in raised[1][1], name
