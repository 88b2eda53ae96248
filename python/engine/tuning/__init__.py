"""Search for hyperparameters: `tune`, whose functions build models with the hyperparameters of KerasTuner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.tuning.parameters import HyperParameters
from engine.tuning.results import TuneInterrupt, TuneResults
from engine.tuning.trials import Trial
from engine.tuning.tune import tune

__all__ = ["HyperParameters", "Trial", "TuneInterrupt", "TuneResults", "tune"]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
