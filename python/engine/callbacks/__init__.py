"""Code that `fit`, `evaluate` and `predict` call on their way: your own, and what Keras brings along."""

from __future__ import annotations

from engine.callbacks.averages import SwapEMAWeights
from engine.callbacks.backup import BackupAndRestore
from engine.callbacks.base import Callback, CallbackList, History, LambdaCallback
from engine.callbacks.checkpoint import ModelCheckpoint
from engine.callbacks.guards import CSVLogger, TerminateOnNaN
from engine.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from engine.callbacks.rates import LearningRateScheduler
from engine.callbacks.tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
