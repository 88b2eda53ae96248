"""Data sets: MNIST, which the package contains, and Fashion-MNIST, which is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.datasets import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
