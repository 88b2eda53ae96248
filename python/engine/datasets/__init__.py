"""Data sets that travel inside the package: no network needed."""

from __future__ import annotations

from engine.datasets import mnist

__all__ = ["mnist"]
