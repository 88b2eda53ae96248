"""Optimizers with their arguments, as all tests of optimizers take them, and the formulas of these arguments in float64."""

from __future__ import annotations

import inspect
from typing import Any

from engine import optimizers

RULES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.05}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"epsilon": 1e-4}),
    ("RMSprop", {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-4}),
    ("RMSprop", {"centered": True, "epsilon": 1e-4}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "epsilon": 1e-4}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}),
    # With a second moment that soon forgets, as its largest value so far is another one only where it has fallen.
    ("Adam", {"amsgrad": True, "beta_2": 0.5, "epsilon": 1e-4}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True, "beta_2": 0.5, "epsilon": 1e-4}),
    ("Adamax", {}),
    ("Adamax", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adagrad", {"learning_rate": 0.05}),
    ("Adagrad", {"initial_accumulator_value": 0.01, "epsilon": 1e-3}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adadelta", {"rho": 0.8, "epsilon": 1e-3}),
    ("Lion", {"learning_rate": 1e-3}),
    ("Lion", {"beta_1": 0.7, "beta_2": 0.8}),
    ("Lamb", {}),
    ("Lamb", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-3}),
    ("Adafactor", {"learning_rate": 0.05}),
    ("Adafactor", {"beta_2_decay": -0.5, "epsilon_2": 0.1, "clip_threshold": 0.5, "relative_step": False}),
    ("Muon", {"learning_rate": 0.01}),
    ("Muon", {"learning_rate": 0.01, "rms_rate": None, "nesterov": False}),
    ("Muon", {"learning_rate": 0.01, "exclude_layers": ["dense_1|last"]}),
    ("Muon", {"ns_steps": 2, "momentum": 0.8, "adam_lr_ratio": 0.5, "adam_beta_2": 0.9, "epsilon": 1e-4}),
    ("Muon", {"weight_decay": 0.5, "adam_weight_decay": None, "clipnorm": 0.1}),
    ("ScheduleFreeAdamW", {"epsilon": 1e-5}),
    ("ScheduleFreeAdamW", {"learning_rate": 0.01, "beta_1": 0.6, "beta_2": 0.9, "epsilon": 1e-4, "warmup_steps": 6}),
    ("ScheduleFreeAdamW", {"epsilon": 1e-4, "weight_decay": 0.5, "clipnorm": 0.1}),
    ("ScheduleFreeAdamW", {"epsilon": 1e-4, "gradient_accumulation_steps": 2, "use_ema": True}),
    ("Ftrl", {"learning_rate": 0.05}),
    ("Ftrl", {"learning_rate": 0.05, "learning_rate_power": -0.7, "initial_accumulator_value": 0.2}),
    ("Ftrl", {"learning_rate": 0.05, "l1_regularization_strength": 0.01, "beta": 0.1}),
    ("Ftrl", {"learning_rate": 0.05, "l2_regularization_strength": 0.1, "l2_shrinkage_regularization_strength": 0.01}),
]  # fmt: skip
# Others with the arguments that they have by default.
_named = {name for name, _ in RULES} | {"LossScaleOptimizer", "Optimizer"}
RULES += [(name, {}) for name in optimizers.__all__ if name[0].isupper() and name not in _named]
OPTIONS: list[dict[str, Any]] = [
    {"weight_decay": 0.1},
    {"clipnorm": 0.1},
    {"clipvalue": 0.01},
    {"global_clipnorm": 0.1},
    {"loss_scale_factor": 8.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "clipnorm": 0.1, "weight_decay": 0.1, "use_ema": True},
]
# What any optimizer takes, with a rule of two slots, of one, and of one for a whole matrix.
WITH_OPTIONS = [
    (name, {"learning_rate": 0.01, **({"epsilon": 1e-4} if name == "RMSprop" else {}), **options})
    for name in ("Adam", "RMSprop", "Adafactor")
    for options in OPTIONS
]
KINDS = {"AdamW": "adam", "ScheduleFreeAdamW": "schedule_free_adamw"}  # others are called as in lower case


def as_formula(name: str, options: dict[str, Any], exclude: list[str] | None = None) -> dict[str, Any]:
    """Returns the mapping for `reference_optimizers` of an optimizer's arguments; `exclude` lists what doesn't decay."""
    parameters = inspect.signature(getattr(optimizers, name)).parameters
    found = {key: parameter.default for key, parameter in parameters.items()} | options
    decay = found["weight_decay"] or 0.0
    formula = {
        **found,
        "kind": KINDS.get(name, name.lower()),
        "kernel_decay": 0.0 if "kernel" in (exclude or ()) else decay,
        "bias_decay": 0.0 if "bias" in (exclude or ()) else found.get("adam_weight_decay", decay) or 0.0,
        "decay": -found.get("beta_2_decay", 0.0),
        "exponent": -found.get("learning_rate_power", 0.0),
        "accumulate": found["gradient_accumulation_steps"] or 1,
        "averages": found["use_ema"],
        "average_momentum": found["ema_momentum"],
        "overwrite": found["ema_overwrite_frequency"],
        "rms_rate": found.get("rms_rate") or 0.0,
    }
    return {key: value for key, value in formula.items() if value is not None}
