"""`tf.errors`: the errors of Python that the engine raises where TensorFlow raises its own."""

from __future__ import annotations

__all__ = [
    "AlreadyExistsError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "ResourceExhaustedError",
    "UnimplementedError",
]

AlreadyExistsError = FileExistsError
InvalidArgumentError = ValueError
NotFoundError = FileNotFoundError
OutOfRangeError = IndexError
ResourceExhaustedError = MemoryError
UnimplementedError = NotImplementedError
