"""The names that Keras 2 had in this module: layers and functions that join outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import from_package

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = from_package(
        __name__,
        """Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average concatenate dot maximum minimum
        multiply subtract""",
    )
