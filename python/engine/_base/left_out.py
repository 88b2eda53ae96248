"""The names of Keras 3.15 that the engine leaves out, each with the reason.

The error for the use of such a name says "Keras has it, but", followed by the reason. `lazy_imports` reads the table of
modules, and classes that derive from `SaysWhatIsLeftOut` read the table of members.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

_CONVOLUTIONS = "convolutions and pooling over windows are left out: networks here are dense. There are Flatten and the global poolings"
_RECURRENT = "recurrent layers are left out: networks here are dense"
_ATTENTION = "attention is left out: networks here are dense"
_WRAPPERS = "layers around other layers are left out: write a layer of your own that has the inner one as an attribute"
_IMAGES = (
    "this change of images is left out. There are RandomFlip, RandomTranslation, RandomRotation, RandomZoom, "
    "RandomElastic and Rescaling"
)
_SOUND = "layers for sound are left out: networks here are dense"
_OTHER_LIBRARIES = "layers of other libraries are left out: the core computes NumPy arrays alone"
_QUANTIZATION = "quantization is left out: the engine computes in float32"
_BACKENDS = "there is one backend, the core"
_REMATERIALIZATION = (
    "the values of a batch are kept until its gradients are computed, and never computed twice"
)
_SCOPES = "scopes of names, state and memory are left out: the core computes whole models"
_DEVICES = "distribution is left out: the engine computes on one CPU, or one GPU"
_PIXELS = "reading and drawing images is left out: use Pillow or matplotlib"
_FILES = "readers of folders are left out: any generator, iterable or utils.PyDataset of batches will do"
_OPTIMIZERS = (
    "formulas of optimizers of your own are left out: the core steps the weights. In a train_step of your own you may assign "
    "what you compute to them"
)
_TAPES = "functions are derived by GradientTape and value_and_grad"
_OWN_STEPS = (
    "the engine makes these functions by itself: override train_step(), test_step() or predict_step()"
)
_STATELESS = "stateless calls are JAX's: state is kept where it is"
_TREES = "trees of state are JAX's: use get_weights(), `variables` and save()"
_SUBMODULES = "there is no module of older versions"
_INTERNAL = "this is a helper of Keras' own implementation"

_Reasons = Mapping[str, str]

# The names that each module of Keras has and the engine leaves out, by the reason. "" is the module `keras` itself.
NAMES: Mapping[str, _Reasons] = {
    "": {
        _QUANTIZATION: "Quantizer quantizers",
        _DEVICES: "distribution",
        _SCOPES: "RematScope StatelessScope SymbolicScope name_scope remat",
        "functions of keras.ops are called on symbols, and Model(inputs, outputs) has them as layers": "Function Operation",
        "trained networks for images are left out: networks here are dense": "applications",
        "its place is taken by engine.plots": "visualization",
        _SUBMODULES: "legacy",
        _INTERNAL: "src",
    },
    "layers": {
        _CONVOLUTIONS: """
            Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose Convolution1D Convolution2D
            Convolution3D Convolution1DTranspose Convolution2DTranspose Convolution3DTranspose DepthwiseConv1D
            DepthwiseConv2D SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D
            AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D MaxPooling1D MaxPooling2D
            MaxPooling3D MaxPool1D MaxPool2D MaxPool3D AdaptiveAveragePooling1D AdaptiveAveragePooling2D
            AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D ZeroPadding1D
            ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D""",
        _RECURRENT: """
            RNN SimpleRNN SimpleRNNCell LSTM LSTMCell GRU GRUCell StackedRNNCells Bidirectional ConvLSTM1D ConvLSTM2D
            ConvLSTM3D""",
        _ATTENTION: "Attention AdditiveAttention MultiHeadAttention GroupQueryAttention",
        _WRAPPERS: "Wrapper TimeDistributed SpectralNormalization Pipeline",
        "products over other axes than the last are left out: use Permute, Reshape and Dense": "EinsumDense",
        "embeddings that are also turned back are left out: use Embedding and Dense": "ReversibleEmbedding",
        _IMAGES: """
            AugMix AutoContrast CenterCrop ContrastLimitedAdaptiveHistogramEqualization CutMix Equalization
            MaxNumBoundingBoxes MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter
            RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomGaussianBlur RandomGrayscale RandomHue
            RandomInvert RandomPerspective RandomPosterization RandomSaturation RandomSharpness RandomShear Resizing
            Solarization""",
        _SOUND: "MelSpectrogram STFTSpectrogram",
        _OTHER_LIBRARIES: "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    },
    "ops": {
        "operations for networks of images are left out: networks here are dense": """
            adaptive_average_pool adaptive_max_pool average_pool conv conv_transpose depth_to_space depthwise_conv fold
            image max_pool separable_conv space_to_depth unfold""",
        "operations for recurrent networks are left out: networks here are dense": "ctc_decode ctc_loss",
        "derivatives in one direction are left out: use GradientTape or value_and_grad": "jvp",
    },
    "dtype_policies": {
        _QUANTIZATION: """
            AWQDTypePolicy GPTQDTypePolicy Int4DTypePolicy QuantizedDTypePolicy QuantizedFloat8DTypePolicy""",
        "each layer has its own policy, `layer.dtype_policy`": "DTypePolicyMap",
    },
    "losses": {"alignments of sequences are left out: networks here are dense": "CTC ctc"},
    "optimizers": {
        "a model has one optimizer here": "MultiOptimizer OptimizerMap",
    },
    "backend": {
        _CONVOLUTIONS: "conv1d conv2d conv3d conv2d_transpose depthwise_conv2d separable_conv2d pool2d pool3d",
        _RECURRENT: "rnn",
        _TAPES: "gradients",
        "there are no placeholders: use Input()": "placeholder",
        "there is no session, as there is no TensorFlow below": "get_session set_session tf",
        "alignments of sequences are left out: networks here are dense": "ctc_batch_cost ctc_decode ctc_label_dense_to_sparse",
    },
    "callbacks": {
        "checkpoints of Orbax are JAX's: use ModelCheckpoint or BackupAndRestore": "OrbaxCheckpoint"
    },
    "initializers": {_SOUND: "STFT STFTInitializer stft"},
    "saving": {"files are not edited in place: load weights, change them, and save them": "KerasFileEditor"},
    "utils": {
        _INTERNAL: "Config",
        _FILES: "audio_dataset_from_directory image_dataset_from_directory text_dataset_from_directory",
        _PIXELS: "array_to_img bounding_boxes img_to_array load_img save_img",
        "the inputs of a model are model.inputs": "get_source_inputs",
        _SUBMODULES: "legacy",
    },
    "preprocessing": {
        _PIXELS: "image",
        _FILES: "image_dataset_from_directory text_dataset_from_directory",
    },
    "config": {
        _ATTENTION: "disable_flash_attention enable_flash_attention is_flash_attention_enabled",
        _BACKENDS: "is_nnx_enabled set_backend",
        "files never hold code here, so that reading them is safe": "enable_unsafe_deserialization",
    },
    "datasets": {
        "photographs are left out: networks here are dense. There are MNIST and Fashion-MNIST": "cifar10 cifar100",
    },
}

# The members of each class, and of the classes that derive from it, that the engine leaves out, by the reason.
MEMBERS: Mapping[str, _Reasons] = {
    "KerasTensor": {
        "tensors are dense here": "ragged ragged_rank row_splits_dtype sparse",
    },
    "Layer": {
        _QUANTIZATION: """
            enable_lora quantization_mode quantize quantized_build quantized_call variable_serialization_spec""",
        "a layer has add_loss(), and metrics are those of compile()": "add_metric",
        "compute_output_spec() tells what comes out": "symbolic_call",
        _STATELESS: "stateless_call",
        _REMATERIALIZATION: "rematerialized_call",
        _INTERNAL: "convert_weight",
    },
    "DTypePolicy": {_INTERNAL: "convert_input"},
    "FeatureSpace": {
        "a FeatureSpace is no layer here: it is called on columns, and its layers are in `preprocessors`": """
            add_loss add_metric add_variable add_weight build build_from_config call compute_dtype compute_mask
            compute_output_shape compute_output_spec count_params dtype dtype_policy get_build_config get_weights input
            input_dtype input_spec load_own_variables losses metrics metrics_variables non_trainable_variables
            non_trainable_weights output path quantization_mode quantize quantized_build quantized_call
            rematerialized_call save_own_variables set_weights stateless_call supports_masking symbolic_call trainable
            trainable_variables trainable_weights variable_dtype variables weights""",
    },
    "Discretization": {"outputs are float32 here": "output_dtype"},
    "_Augmentation": {
        _INTERNAL: """
            get_clipped_bbox
            get_random_transformation get_shifted_bbox get_transformed_x_y
            transform_bounding_boxes transform_images transform_labels transform_segmentation_masks
            transform_single_bounding_box transform_single_image transform_single_label
            transform_single_segmentation_mask""",
    },
    "Model": {
        "a model has add_loss(), and metrics are those of compile()": "add_metric",
        _OWN_STEPS: "make_predict_function make_test_function make_train_function",
        _STATELESS: "compute_loss_and_updates stateless_call stateless_compute_loss",
        _TREES: "get_state_tree set_state_tree jax_state_sync",
        _REMATERIALIZATION: "rematerialized_call",
        _QUANTIZATION: """
            get_quantization_layer_structure quantization_mode quantize quantized_build quantized_call""",
        "compute_output_spec() tells what comes out": "symbolic_call",
        "masks are made and passed on by layers": "compute_mask supports_masking",
        "its place is taken by save_weights() and load_weights()": "load_own_variables save_own_variables",
    },
    "Metric": {
        _STATELESS: "stateless_reset_state stateless_result stateless_update_state",
        _INTERNAL: "interpolate_pr_auc",
    },
    "Optimizer": {
        _STATELESS: "stateless_apply",
        _OPTIMIZERS: "update_step",
        "the core keeps the state: read and assign `variables`": """
            add_optimizer_variables add_variable add_variable_from_reference assign assign_add assign_sub""",
        _INTERNAL: "lr_adjust transpose_last_axis zeropower_via_newtonschulz5",
    },
    "LossScaleOptimizer": {
        "a loop of your own skips steps that are not finite without being asked": "check_finite"
    },
    "TensorBoard": {"there is no TensorFlow to write summaries with: log numbers by `logs`": "summary"},
}


def names_of(reasons: _Reasons) -> Iterator[tuple[str, str]]:
    """Yields each name with its reason."""
    for reason, names in reasons.items():
        for name in names.split():
            yield name, reason


@cache
def _reasons(table: str, key: str) -> Mapping[str, str]:
    return dict(names_of({"names": NAMES, "members": MEMBERS}[table].get(key, {})))


def reason_of(module: str, name: str) -> str | None:
    """Returns the reason why `module`, a full name such as "engine.layers", leaves out a `name` of Keras'; else None."""
    submodule = module.partition(".")[2]
    return _reasons("names", "ops" if submodule.startswith("ops.") else submodule).get(name)


class SaysWhatIsLeftOut:
    """The base of classes whose error for an unknown attribute says why a member of Keras' class is left out."""

    if not TYPE_CHECKING:  # with `__getattr__` a type checker would accept every attribute

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_"):
                for base in type(self).__mro__:
                    reason = _reasons("members", base.__name__).get(name)
                    if reason is not None and base.__module__.startswith("engine."):
                        msg = f"{type(self).__name__!r} has no attribute {name!r}. Keras has it, but {reason}"
                        raise AttributeError(msg, name=name, obj=self)
            # Raises AttributeError. If a property raised one, Python calls this method, and the property's message is kept.
            return object.__getattribute__(self, name)
