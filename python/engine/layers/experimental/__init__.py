"""The place that tf.keras once had for layers that are in `engine.layers` now."""

from __future__ import annotations

from engine.layers.experimental import preprocessing

__all__ = ["preprocessing"]
