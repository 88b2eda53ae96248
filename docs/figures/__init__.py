"""The drawings of the explanations; each function returns one, which a notebook shows."""

from __future__ import annotations

from figures.contract import orders
from figures.plan import rooms, steps
from figures.sparse import record
from figures.step import epilogues
from figures.threads import owners, timeline

__all__ = ["epilogues", "orders", "owners", "record", "rooms", "steps", "timeline"]
