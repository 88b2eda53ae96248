"""Code at the turns of `fit`, `evaluate` and `predict`: your own, and what Keras brings along."""

from __future__ import annotations

from engine.callbacks.averages import SwapEMAWeights
from engine.callbacks.base import Callback, CallbackList, History, LambdaCallback
from engine.callbacks.guards import CSVLogger, TerminateOnNaN
from engine.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from engine.callbacks.rates import LearningRateScheduler
from engine.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
