"""The drawings of the explanations; each function returns one, which a notebook shows."""

from __future__ import annotations

from figures.contract import chains
from figures.plan import rooms, steps
from figures.sparse import record
from figures.step import epilogues
from figures.threads import owners, timeline

__all__ = ["chains", "epilogues", "owners", "record", "rooms", "steps", "timeline"]
