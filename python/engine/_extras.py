"""Packages that bring one feature more, and a message for where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def extra(module: str, name: str, wanted_by: str, instead: str = "") -> Any:
    """Import a package that only some installations have.

    Args:
        module: to import.
        name: of the extra that brings it.
        wanted_by: what needs it, for the message.
        instead: what to do without it.

    Returns:
        The module.

    Raises:
        ImportError: if it can't be imported; the message tells how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        todo = f"pip install 'mlp-engine[{name}]'" + (f", or {instead}" if instead else "")
        msg = f"{wanted_by} needs {package}, which can't be imported ({error}): {todo}"
        raise ImportError(msg) from error
