"""Text that models print: the progress of a training and the table of `summary()`."""

from __future__ import annotations
