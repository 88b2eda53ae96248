"""Optimizers whose steps need stored gradients, as mappings for the core and the reference."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

MOMENTS = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
ADAM = {"kind": "adam", **MOMENTS}
SGD = {"kind": "sgd", "momentum": 0.0, "nesterov": False}
RMSPROP = {"kind": "rmsprop", "rho": 0.9, "momentum": 0.0, "epsilon": 1e-5, "centered": False}
FTRL = {
    "kind": "ftrl",
    "exponent": 0.5,
    "initial_accumulator_value": 0.1,
    "l1_regularization_strength": 0.0,
    "l2_regularization_strength": 0.0,
    "l2_shrinkage_regularization_strength": 0.0,
    "beta": 0.0,
}

ADAFACTOR = {
    "kind": "adafactor",
    "decay": 0.8,
    "epsilon_1": 1e-30,
    "epsilon_2": 1e-3,
    "clip_threshold": 1.0,
}

MUON = {
    "kind": "muon",
    "momentum": 0.9,
    "nesterov": 1.0,
    "adam_beta_1": 0.9,
    "adam_beta_2": 0.99,
    "epsilon": 1e-5,
    "adam_lr_ratio": 0.5,
    "muon_a": 3.4445,
    "muon_b": -4.775,
    "muon_c": 2.0315,
    "ns_steps": 5,
    "rms_rate": 0.2,
}

SCHEDULE_FREE = {
    "kind": "schedule_free_adamw",
    "beta_1": 0.9,
    "beta_2": 0.99,
    "epsilon": 1e-5,
    "warmup_steps": 0.0,
}

RULES: dict[str, dict[str, Any]] = {
    # Its second moment soon forgets, as the largest value so far is another one only where the moment has fallen.
    "amsgrad": {**ADAM, "beta_2": 0.5, "epsilon": 1e-4, "amsgrad": True},
    "rmsprop": RMSPROP,
    "rmsprop_momentum": {**RMSPROP, "momentum": 0.5, "epsilon": 1e-4},
    "rmsprop_centered": {**RMSPROP, "centered": True, "epsilon": 1e-3},
    "rmsprop_centered_momentum": {**RMSPROP, "centered": True, "momentum": 0.8, "epsilon": 1e-3},
    "adamax": {"kind": "adamax", **MOMENTS},
    "nadam": {"kind": "nadam", **MOMENTS},
    "adagrad": {"kind": "adagrad", "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    "adadelta": {"kind": "adadelta", "rho": 0.95, "epsilon": 1e-7},
    "lion": {"kind": "lion", "beta_1": 0.9, "beta_2": 0.99},
    "lamb": {"kind": "lamb", **MOMENTS},
    "adafactor": ADAFACTOR,
    "adafactor_unclipped": {**ADAFACTOR, "decay": 0.5, "epsilon_2": 0.1, "clip_threshold": 2.0},
    "muon": MUON,
    "muon_plain": {**MUON, "nesterov": 0.0, "ns_steps": 2, "rms_rate": 0.0},
    "schedule_free_adamw": SCHEDULE_FREE,
    "schedule_free_adamw_warm": {**SCHEDULE_FREE, "beta_1": 0.6, "warmup_steps": 4.0},
    "ftrl": FTRL,
    "ftrl_penalties": {
        **FTRL,
        "l1_regularization_strength": 1e-3,
        "l2_regularization_strength": 0.1,
        "l2_shrinkage_regularization_strength": 0.05,
        "beta": 0.2,
    },
}

OPTIONS: dict[str, dict[str, Any]] = {
    "clipvalue": {**ADAM, "clipvalue": 0.01},
    "clipnorm": {**SGD, "clipnorm": 0.05},
    "global_clipnorm": {**SGD, "momentum": 0.9, "global_clipnorm": 0.1},
    "large_clipnorm": {**SGD, "clipnorm": 1e6},
    "accumulate": {**ADAM, "accumulate": 2},
    "accumulate_clipped": {**SGD, "accumulate": 3, "global_clipnorm": 0.1},
    "averages": {**ADAM, "averages": True, "average_momentum": 0.9},
    "averages_overwrite": {**RMSPROP, "averages": True, "average_momentum": 0.7, "overwrite": 3},
    "decay": {**RMSPROP, "kernel_decay": 0.3, "bias_decay": 0.1},
    "lamb_clipped": {"kind": "lamb", **MOMENTS, "global_clipnorm": 0.1, "kernel_decay": 0.3},
    "schedule_free_decay": {**SCHEDULE_FREE, "clipnorm": 0.1, "kernel_decay": 0.3, "bias_decay": 0.1},
    "adafactor_clipped": {**ADAFACTOR, "clipvalue": 0.01, "kernel_decay": 0.3, "bias_decay": 0.1},
    "adafactor_accumulated": {**ADAFACTOR, "accumulate": 2, "clipnorm": 0.1},
}

L1 = {"kernel_l1": 1e-4, "bias_l1": 1e-4}


def norms(over: str) -> dict[str, Any]:
    return {"kind": "norm", "over": over, "low": 0.2, "high": 0.9, "rate": 0.8}


def networks(dense: Callable[..., dict[str, Any]], case: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    """Returns trainings of wide and narrow layers, so that threads divide weights in every way.

    Args:
        dense: a function that makes a layer of `units` and `activation`.
        case: a function that makes a training of layers, a loss, an optimizer and a batch size.
    """
    plain = [dense(200, "relu", l2=1e-4), dense(130, "tanh"), dense(64, "relu"), dense(10, "softmax")]
    asking = [
        {**dense(150, "relu", l2=1e-4), **L1, "kernel_constraint": norms("column")},
        {**dense(130, "tanh"), "kernel_constraint": norms("row")},
        {**dense(64, "tanh"), "kernel_constraint": norms("row")},
        {
            **dense(20, "relu"),
            "kernel_constraint": norms("all"),
            "bias_constraint": norms("row"),
        },
        {**dense(10, "softmax"), "kernel_constraint": {"kind": "non_negative"}},
    ]
    several = [
        dense(160, "relu", l2=1e-4),
        dense(200, "tanh"),
        {"kind": "dropout", "rate": 0.2, "seed": 3},
        dense(90, "silu"),
        dense(64, "relu"),
        dense(10, "softmax"),
    ]
    wide = [dense(300, "relu"), dense(700, "tanh"), dense(10, "softmax")]
    gains = [plain[0], {"kind": "column_scale", "shape": [20, 10]}, *plain[1:]]
    norm = {"kind": "batch_normalization", "momentum": 0.9, "epsilon": 1e-3}
    slopes = {"kind": "column_scale", "rule": "leaky", "use_shift": False}
    reused = [
        dense(150, "relu"),
        dense(150, "tanh", l2=1e-3),
        norm,
        slopes,
        {**dense(150, "relu", l2=1e-3), "first": 1},
        {**norm, "first": 2},
        {**dense(150, "linear", l2=1e-3), "first": 1},
        {**slopes, "first": 3},
        dense(10, "linear"),
        dense(10, "sigmoid"),
        {**dense(10, "linear"), "first": 9},
        {**dense(10, "softmax"), "first": 9},
    ]
    loss = "sparse_categorical_crossentropy"
    averaged = {**OPTIONS["global_clipnorm"], "averages": True, "average_momentum": 0.9, "overwrite": 3}
    return {
        "penalties_and_constraints": partial(case, asking, loss, averaged, 70),
        "several_panels": partial(case, several, loss, ADAM, 40),
        "several_panels_in_small_batches": partial(case, several, loss, ADAM, 6),
        "several_panels_in_large_batches": partial(case, wide, loss, ADAM, 128),
        "lamb": partial(case, plain, loss, {**RULES["lamb"], "clipnorm": 0.5, "accumulate": 2}, 70),
        "adafactor": partial(case, gains, loss, {**RULES["adafactor"], "kernel_decay": 0.1}, 70),
        "muon": partial(
            case, gains, loss, {**MUON, "clipnorm": 0.5, "accumulate": 2, "kernel_decay": 0.1}, 70
        ),
        "reused": partial(case, reused, loss, OPTIONS["accumulate_clipped"], 70),
        "reused_alone": partial(case, reused, loss, {**ADAM, "kernel_decay": 0.1}, 70),
        "nadam": partial(case, plain, loss, RULES["nadam"], 70),
        "schedule_free": partial(
            case, plain, loss, {**RULES["schedule_free_adamw_warm"], "accumulate": 2, "kernel_decay": 0.1}, 70
        ),
        "ftrl": partial(case, plain, loss, {**RULES["ftrl_penalties"], "exponent": 0.6}, 70),
    }
