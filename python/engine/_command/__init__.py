"""What the subcommands of `engine`, which `engine.cli` parses, do: `engine mnist` and `engine demo`."""

from __future__ import annotations
