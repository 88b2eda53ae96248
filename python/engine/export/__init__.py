"""Exports models to other programs: ONNX, C headers, and state dicts of PyTorch. The methods of `Model` call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from engine._base.checks import nearest, path_of
from engine.export.c_format import write_c
from engine.export.graph import Graph, Parts, graph_of, is_written_whole
from engine.export.onnx_format import write_onnx
from engine.export.torch_states import from_torch_state_dict, to_torch_state_dict

__all__ = [
    "Graph",
    "Parts",
    "destination",
    "from_torch_state_dict",
    "graph_of",
    "is_written_whole",
    "to_torch_state_dict",
]


class ExportFormat(NamedTuple):
    """A format: its suffix, the function that writes it, and the arguments of that besides the model and the path."""

    suffix: str
    write: Callable[..., None]
    options: tuple[str, ...]


FORMATS = {
    "onnx": ExportFormat(".onnx", write_onnx, ("opset_version",)),
    "c": ExportFormat(".h", write_c, ("prefix",)),
}


def destination(filepath: object, format: str | None, options: dict[str, Any]) -> Callable[[Graph], None]:
    """Returns a function that writes a graph to `filepath`.

    Args:
        filepath: the path of the file.
        format: "onnx" or "c"; None decides by the suffix, `.onnx` or `.h`.
        options: arguments of the format.

    Raises:
        TypeError: if `filepath` is no path, or the format has no such argument.
        ValueError: if the format or the suffix is unknown.
    """
    path = Path(path_of(filepath, "filepath"))
    formats = " and ".join(f"{name!r} ({kind.suffix})" for name, kind in FORMATS.items())
    if format is None:
        fitting = [name for name, kind in FORMATS.items() if kind.suffix == path.suffix.lower()]
        if not fitting:
            msg = (
                f"`filepath` {str(path)!r} doesn't tell the format by its suffix: there are {formats}. End it so, or name "
                "the `format`"
            )
            raise ValueError(msg)
        format = fitting[0]
    if format not in FORMATS:
        msg = f"`format` must be 'onnx' or 'c', got {format!r}: exports are {formats} here, and other formats are left out"
        raise ValueError(msg)
    kind = FORMATS[format]
    for option in options:
        if option not in kind.options:
            msg = f"export to {format!r} has no argument `{option}`{nearest(option, kind.options)} It takes: {kind.options[0]}"
            raise TypeError(msg)
    return lambda graph: kind.write(graph, path, **options)
