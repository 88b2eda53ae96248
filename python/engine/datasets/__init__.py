"""Data sets: MNIST, which travels inside the package, and Fashion-MNIST from a cache, a folder or the network."""

from __future__ import annotations

from engine.datasets import fashion_mnist, mnist

__all__ = ["fashion_mnist", "mnist"]
