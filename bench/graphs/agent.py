"""What the updates of all agents have in common."""

from __future__ import annotations

DISCOUNT = 0.99
RENEWED_EVERY = 200  # updates, after which the target network gets the weights
