"""What an estimator is told, and what it keeps of its training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sklearn.base import BaseEstimator

from engine._program import Float32
from engine.sklearn._samples import Array, Encoded


class Record(BaseEstimator, ABC):
    """The arguments of all estimators, and their attributes."""

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    callbacks: Any
    validation_data: Any

    n_iter_: int
    t_: int
    n_outputs_: int
    n_layers_: int
    n_features_in_: int
    out_activation_: str
    coefs_: list[Array]
    intercepts_: list[Array]
    loss_: float
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: Any
    best_validation_score_: Any
    _no_improvement_count: int
    _best_weights: list[Array]

    @abstractmethod
    def _score_of(self, outputs: Float32, held_out: Encoded) -> float:
        """How good the model's outputs are."""
