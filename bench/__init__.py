"""Compares the speed of the engine with that of other libraries: `python -m bench`."""

from __future__ import annotations
