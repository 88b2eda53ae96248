"""Callbacks: objects whose methods `fit`, `evaluate` and `predict` call at certain moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.callbacks.base import Callback, CallbackList, History, LambdaCallback, ProgbarLogger
from engine.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from engine.callbacks.rates import LearningRateScheduler

if TYPE_CHECKING:
    from engine.callbacks.averages import SwapEMAWeights
    from engine.callbacks.backup import BackupAndRestore
    from engine.callbacks.checkpoint import ModelCheckpoint
    from engine.callbacks.csv_logger import CSVLogger
    from engine.callbacks.remote import RemoteMonitor
    from engine.callbacks.tensorboard import TensorBoard
    from engine.callbacks.terminate_on_nan import TerminateOnNaN

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
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]

__getattr__ = on_first_use(
    __name__,
    BackupAndRestore="backup",
    CSVLogger="csv_logger",
    ModelCheckpoint="checkpoint",
    RemoteMonitor="remote",
    SwapEMAWeights="averages",
    TensorBoard="tensorboard",
    TerminateOnNaN="terminate_on_nan",
)


def __dir__() -> list[str]:
    return __all__
