"""Names that Keras has for the dtype policy of new layers, beside those of `engine.config` and `engine.dtype_policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.config import dtype_policy, set_dtype_policy
from engine.dtype_policies import DTypePolicy
from engine.optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]

Policy, global_policy, set_global_policy = DTypePolicy, dtype_policy, set_dtype_policy

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
