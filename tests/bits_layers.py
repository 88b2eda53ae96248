"""Operations of the core for the networks of `bits_worker.py`."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]


def dense(units: int, activation: str, *, l2: float = 0.0, bias: bool = True) -> Spec:
    return {
        "kind": "dense",
        "units": units,
        "use_bias": bias,
        "activation": activation,
        "kernel_l2": l2,
        "bias_l2": l2,
        "trainable": True,
    }


def dropout(rate: float, seed: int) -> Spec:
    return {"kind": "dropout", "rate": rate, "seed": seed}


PACKED = [dense(330, "silu", l2=1e-4), dense(270, "relu", bias=False), dense(5, "sigmoid")]
SMOOTH: list[Spec] = [
    *(
        dense(100, name)
        for name in (
            "gelu",
            "mish",
            "softplus",
            "gelu_tanh",
            "log_softmax",
            "selu",
            "sparsemax",
            "tanh_shrink",
        )
    ),
    {"kind": "activation", "activation": "elu", "parameters": [0.5]},
    dense(5, "exponential"),
]
NORMS = {"kind": "norm", "low": 0.2, "high": 0.9, "rate": 0.8}
NOISE = {"kind": "noise", "rate": 0.2, "seed": 5}
WARP = {"kind": "image_augmentation", "height": 20, "width": 10, "channels": 2, "seed": 3}
RESCALE = {"kind": "rescaling", "scale": 1 / 255, "offset": 0.0}
ROWS_OF_SAMPLES: list[Spec] = [
    {"kind": "permute", "lengths": [150, 2], "axes": [1, 0]},
    dense(90, "relu") | {"groups": 5},
    {"kind": "permute", "lengths": [2, 5, 15, 3], "axes": [3, 0, 2, 1]},
    {"kind": "repeat", "count": 2},
    dense(6, "sigmoid"),
]
NORMALIZED_AND_NOISY: list[Spec] = [
    NOISE | {"distribution": "normal", "combination": "add", "scale": 0.1},
    dense(240, "linear"),
    {
        "kind": "batch_normalization",
        "momentum": 0.9,
        "epsilon": 1e-3,
        "kernel_constraint": NORMS | {"over": "all"},
        "bias_constraint": {"kind": "non_negative"},
    },
    {
        "kind": "column_scale",
        "rule": "leaky",
        "use_shift": False,
        "kernel_constraint": {"kind": "non_negative"},
    },
    {"kind": "row_normalization", "centred": True, "epsilon": 1e-3, "groups": 6},
    NOISE | {"combination": "alpha", "scale": 0.9, "kept": 0.1, "dropped": -1.5},
    dense(40, "relu") | {"groups": 6},
    {"kind": "row_normalization", "centred": False, "unit": True, "epsilon": 1e-12},
    dense(6, "linear"),
]
AUGMENTED: list[Spec] = [
    RESCALE,
    WARP
    | {
        "down": [-0.1, 0.1],
        "turns": [-0.1, 0.2],
        "zoom": [-0.2, 0.3],
        "mirrors": True,
        "fill": "wrap",
    },
    WARP | {"alpha": 10.0, "taps": [0.2, 0.6, 0.2]},
    dense(200, "softmax"),
]
MASKED: list[Spec] = [
    {"kind": "embedding", "tokens": 50, "units": 19, "masks": True},
    dense(40, "relu") | {"groups": 12},
    {"kind": "mask", "value": 0.0, "groups": 12},
    {"kind": "mean", "groups": 12, "masked": True},
    dense(300, "relu"),
    {
        "kind": "batch_normalization",
        "momentum": 0.9,
        "epsilon": 1e-3,
        "renorm_momentum": 0.8,
        "rmax": 1.2,
        "dmax": 0.3,
    },
    {"kind": "mean", "groups": 5},
    {"kind": "max", "groups": 2},
    dense(6, "sigmoid"),
]
MASKED_OUTPUTS: list[Spec] = [
    {"kind": "mask", "value": 0.0, "groups": 6},
    dense(120, "relu") | {"groups": 6},
    dense(7, "softmax") | {"groups": 6},
]
TOKENS: list[Spec] = [
    {"kind": "embedding", "tokens": 50, "units": 20, "kernel_constraint": NORMS | {"over": "row"}},
    dense(300, "relu"),
    {"kind": "batch_normalization", "momentum": 0.9, "epsilon": 1e-3, "use_shift": False},
    dense(6, "sigmoid"),
]
