"""The engine's speed, beside that of other libraries: `python -m bench`."""

from __future__ import annotations
