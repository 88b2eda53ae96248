"""Models: layers that are trained and used for predictions together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import absent
from engine.models.cloning import clone_model
from engine.models.model import Functional, Model
from engine.models.sequential import Sequential

if TYPE_CHECKING:
    from engine.saving import load_model, model_from_json, save_model

__all__ = ["Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


def __getattr__(name: str) -> Any:
    # These are imported on first use, since they need zip archives and JSON.
    if name in (
        "load_model",
        "model_from_json",
        "save_model",
    ):
        from engine import saving

        return getattr(saving, name)
    return absent(__name__, name)
