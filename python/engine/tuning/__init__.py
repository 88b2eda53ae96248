"""Search for hyperparameters: `tune`, whose functions build models with the hyperparameters of KerasTuner."""

from __future__ import annotations

from engine.tuning.parameters import HyperParameters
from engine.tuning.results import TuneInterrupt, TuneResults
from engine.tuning.trials import Trial
from engine.tuning.tune import tune

__all__ = ["HyperParameters", "Trial", "TuneInterrupt", "TuneResults", "tune"]
