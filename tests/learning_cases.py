"""Optimizers whose steps need the gradient in memory, as mappings for the core and the reference."""

from __future__ import annotations

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

RULES: dict[str, dict[str, Any]] = {
    "amsgrad": {**ADAM, "amsgrad": True},
    "rmsprop": RMSPROP,
    "rmsprop_momentum": {**RMSPROP, "momentum": 0.5, "epsilon": 1e-4},
    "rmsprop_centered": {**RMSPROP, "centered": True, "epsilon": 1e-3},
    "rmsprop_centered_momentum": {**RMSPROP, "centered": True, "momentum": 0.8, "epsilon": 1e-3},
    "adamax": {"kind": "adamax", **MOMENTS},
    "nadam": {"kind": "nadam", **MOMENTS},
    "adagrad": {"kind": "adagrad", "initial_accumulator_value": 0.1, "epsilon": 1e-7},
    "adadelta": {"kind": "adadelta", "rho": 0.95, "epsilon": 1e-7},
    "lion": {"kind": "lion", "beta_1": 0.9, "beta_2": 0.99},
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
}
