"""Prediction for data that are larger than memory or lie on several machines: `engine.distributed.predict`.

It takes what other packages hold in partitions: arrays and frames of Dask, datasets of Ray, tables and files of Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.distributed.prediction import predict

__all__ = ["predict"]

if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
