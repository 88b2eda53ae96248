"""Data sets: MNIST, which the package contains, and others, which are downloaded and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine._base.lazy_imports import on_first_use
from engine.datasets import fashion_mnist, mnist

if TYPE_CHECKING:
    from engine.datasets import boston_housing, california_housing, imdb, reuters

__all__ = ["boston_housing", "california_housing", "fashion_mnist", "imdb", "mnist", "reuters"]

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(
        __name__,
        boston_housing="boston_housing",
        california_housing="california_housing",
        imdb="imdb",
        reuters="reuters",
    )
