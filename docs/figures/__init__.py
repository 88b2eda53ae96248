"""The drawings of the explanations. Each function returns one, which a notebook shows."""

from __future__ import annotations

from figures.contract import orders
from figures.gpu import batch_on_cluster, blocks, teams, ways_of_running
from figures.graph import operations, rooms
from figures.sparse import record
from figures.step import epilogues
from figures.threads import loops, owners, timeline

__all__ = [
    "batch_on_cluster",
    "blocks",
    "epilogues",
    "loops",
    "operations",
    "orders",
    "owners",
    "record",
    "rooms",
    "teams",
    "timeline",
    "ways_of_running",
]
