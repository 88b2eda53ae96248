"""The operations of the core: what layers lower to, as dicts that `Program` reads (see `engine._core.Program`).

A layer is lowered for one shape of samples. A sample is `groups` rows of equal width in memory, and an operation works
on the rows one by one, so on the last axis. What an operation doesn't say has the default that is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, cast

from engine._core_interface.host_steps import LayerHost

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class _Common(TypedDict, total=False):
    """Fields of every operation, which models add."""

    groups: int
    """Rows of a sample; 1."""
    masked: bool
    """Whether the operation reads the mask of its inputs; False."""
    inputs: list[int]
    """The numbers of the operations whose outputs it reads, or -1 - i for input i of the model; the one before it."""
    first: int
    """If a layer is used again: the number of the operation in its first use, whose weights this one has."""


class _Penalties(TypedDict, total=False):
    """Penalties and constraints of the two weights that an operation may have, which the core calls kernel and bias."""

    kernel_l1: float
    kernel_l2: float
    kernel_host_penalty: bool
    """Whether Python computes the penalty, in a `PenaltyStep`."""
    kernel_constraint: Mapping[str, Any]
    bias_l1: float
    bias_l2: float
    bias_host_penalty: bool
    bias_constraint: Mapping[str, Any]


class _Weights(_Penalties, total=False):
    """Fields of an operation that has weights."""

    trainable: bool
    """Whether training updates the weights; True."""


class ActivationFields(TypedDict):
    """An activation of the core."""

    activation: str
    """One of `csrc/formulas/kinds.h`."""
    parameters: NotRequired[Sequence[float]]
    """Its constants, in the order in which the core takes them."""


class DenseOperation(_Weights, _Common):
    """`activation(x @ kernel + bias)`."""

    kind: Literal["dense"]
    units: int
    use_bias: bool
    activation: NotRequired[str]
    """"linear"."""
    parameters: NotRequired[Sequence[float]]
    precision: NotRequired[str]
    """To which a GPU rounds the operands of products: "float32", "tensorfloat32", "bfloat16" or "float16"; "float32"."""


class ActivationOperation(ActivationFields, _Common):
    """An activation; of a whole row for softmax and the like."""

    kind: Literal["activation"]


class DropoutOperation(_Common):
    """In training, sets a fraction of the numbers to 0 and scales the others by `1 / (1 - rate)`."""

    kind: Literal["dropout"]
    rate: float
    seed: int


class NoiseSharing(TypedDict, total=False):
    """Which numbers of a batch have the same noise."""

    shared: bool
    """Whether all samples of the batch have the same; False."""
    shape: list[int]
    """That of a sample."""
    noise_shape: list[int]
    """That of the noise of a sample, with 1 in place of lengths along which numbers have the same; `shape`."""


class NoiseOperation(NoiseSharing, _Common):
    """In training, changes numbers at random."""

    kind: Literal["noise"]
    rate: float
    seed: int
    scale: float
    """The factor of what is kept, or the standard deviation."""
    distribution: NotRequired[Literal["mask", "normal"]]
    """"mask", which keeps a number or drops it."""
    combination: NotRequired[Literal["multiply", "add", "alpha"]]
    """"multiply"."""
    mean: NotRequired[float]
    kept: NotRequired[float]
    """For "alpha": the addend of what is kept."""
    dropped: NotRequired[float]
    """For "alpha": what takes the place of what is dropped."""


class RescalingOperation(_Common):
    """`scale * x + offset`."""

    kind: Literal["rescaling"]
    scale: float
    offset: float


class PermuteOperation(_Common):
    """Axis k of a sample of the output is axis `axes[k]` of one of the input."""

    kind: Literal["permute"]
    lengths: list[int]
    """Those of the axes of a sample of the input."""
    axes: list[int]


class RepeatOperation(_Common):
    """All numbers of a sample, several times."""

    kind: Literal["repeat"]
    count: int


class ColumnScaleFields(_Weights, total=False):
    """`gain * x + shift`, where gain and shift are weights, one for each number of a row."""

    use_gain: bool
    """True."""
    use_shift: bool
    """True."""
    shape: list[int]
    """The shape in which users see the weights."""


class ColumnScaleOperation(ColumnScaleFields, _Common):
    """`gain * x + shift`, or by the rule "leaky" `x` where it is positive and else `gain * x`."""

    kind: Literal["column_scale"]
    rule: NotRequired[Literal["scaled", "leaky"]]
    """"scaled"."""
    gain: NotRequired[list[float]]
    """Constants instead of weights."""
    shift: NotRequired[list[float]]


class BatchNormalizationOperation(ColumnScaleFields, _Common):
    """Normalizes each number of a row over the batch in training, by moving averages otherwise."""

    kind: Literal["batch_normalization"]
    momentum: float
    epsilon: float
    renorm_momentum: NotRequired[float]
    """Only with batch renormalization, and so are the bounds of its correction."""
    rmin: NotRequired[float]
    rmax: NotRequired[float]
    dmax: NotRequired[float]


class StandardizeOperation(_Common):
    """`(x - mean) / spread`, of constants or of weights that training doesn't change."""

    kind: Literal["standardize"]
    spread: Literal["variance", "deviation", "inverse"]
    epsilon: float
    shape: list[int]
    mean: NotRequired[list[float]]
    """Constants instead of weights."""
    variance: NotRequired[list[float]]


class RowNormalizationOperation(_Common):
    """Normalizes each row over its numbers."""

    kind: Literal["row_normalization"]
    epsilon: float
    centred: bool
    """Whether to subtract the mean."""
    unit: NotRequired[bool]
    """Whether to divide by the norm instead of the standard deviation; False."""


class EmbeddingOperation(_Weights, _Common):
    """Replaces each index by its row of a table."""

    kind: Literal["embedding"]
    tokens: int
    """Rows of the table."""
    units: int
    """Columns of the table."""
    masks: bool
    """Whether index 0 is masked."""


class EncodingOperation(_Common):
    """Replaces the indices in a row by a vector that marks or counts them."""

    kind: Literal["encoding"]
    tokens: int
    counts: bool


class ImageAugmentationOperation(_Common):
    """In training, moves, turns, zooms, flips or distorts images at random."""

    kind: Literal["image_augmentation"]
    height: int
    width: int
    channels: int
    fill: str
    fill_value: float
    nearest: bool
    """Whether a pixel takes its value from the nearest one, instead of bilinear interpolation."""
    seed: int
    down: NotRequired[list[float]]
    """The smallest and the largest shift, as fractions of the height."""
    right: NotRequired[list[float]]
    turns: NotRequired[list[float]]
    zoom: NotRequired[list[float]]
    zoom_width: NotRequired[list[float]]
    """The zoom of the width, if it differs from that of the height."""
    mirrors: NotRequired[bool]
    turns_over: NotRequired[bool]
    alpha: NotRequired[float]
    """The largest displacement of an elastic distortion, in pixels, and the filter that smooths it."""
    taps: NotRequired[list[float]]


class PoolingOperation(_Common):
    """The mean or the maximum of all rows of a sample, for each of their numbers."""

    kind: Literal["mean", "max"]


class MaskOperation(_Common):
    """Masks rows whose numbers all equal `value`, and sets them to 0."""

    kind: Literal["mask"]
    value: float


class CustomVariable(TypedDict):
    """A weight of a custom layer; further fields are those of its penalty and constraint, with the prefix `weight_`."""

    shape: list[int]
    trainable: bool


class CustomOperation(_Common):
    """An operation that Python computes, in a `ForwardStep` and a `BackwardStep`."""

    kind: Literal["custom"]
    units: int
    """Numbers of one output sample."""
    variables: list[CustomVariable]
    host: LayerHost
    trainable: NotRequired[bool]
    mask_rows: NotRequired[int]
    """If it makes a mask: the number of rows of one output sample."""


class ActivityRegularizationOperation(_Common):
    """Returns its inputs and adds a penalty on them to the loss, which Python computes."""

    kind: Literal["activity_regularization"]
    host: LayerHost


class AddOperation(_Common):
    """Adds its inputs, which have the same size."""

    kind: Literal["add"]


class ConcatenateOperation(_Common):
    """Joins the rows of its inputs, which have the same number of rows."""

    kind: Literal["concatenate"]


LayerOperation = (
    DenseOperation
    | ActivationOperation
    | DropoutOperation
    | NoiseOperation
    | RescalingOperation
    | PermuteOperation
    | RepeatOperation
    | ColumnScaleOperation
    | BatchNormalizationOperation
    | StandardizeOperation
    | RowNormalizationOperation
    | EmbeddingOperation
    | EncodingOperation
    | ImageAugmentationOperation
    | PoolingOperation
    | MaskOperation
    | CustomOperation
    | ActivityRegularizationOperation
    | AddOperation
    | ConcatenateOperation
)
"""One operation, as a layer lowers to it."""

_Operation = TypeVar("_Operation", bound=Mapping[str, Any])


def extended(operation: _Operation, fields: Mapping[str, Any]) -> _Operation:
    """Returns an operation with further fields, which a type checker can't compare with its kind.

    Args:
        operation: has the fields that are always there.
        fields: such as those of an activation, or of the penalties on weights.
    """
    return cast(_Operation, {**operation, **fields})


def activation_operation(fields: ActivationFields) -> ActivationOperation:
    """Returns the operation that applies an activation."""
    return cast(ActivationOperation, {"kind": "activation", **fields})


def variable_node(shape: Sequence[int], flat: bool = False, **fields: Any) -> dict[str, Any]:
    """Returns a node whose output is a variable of a shape; `flat` says whether a matrix is stored as one row."""
    stored = {"flat": True} if flat and len(shape) == 2 else {}  # noqa: PLR2004 # a matrix
    return {
        "kind": "variable",
        "inputs": [],
        "input_shapes": [],
        "shape": list(shape),
        "trainable": True,
        **stored,
        **fields,
    }
