"""The arguments `loss`, `loss_weights` and `metrics` of `compile`, taken apart into what each output of a model has.

Keras accepts one value for all outputs, a list with an entry for each, or a dict by the names of the outputs. `Compiled` calls these
functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from engine import metrics
from engine._base.checks import real
from engine._base.spec import free_name


class MetricOfOutput(NamedTuple):
    """A metric given to `compile`: its name in the logs, the number of its output, and whether sample weights count."""

    name: str
    metric: metrics.Metric
    output: int
    weighted: bool


def is_per_output(argument: object) -> bool:
    """Returns whether `argument` is a list or dict of several, and not a config."""
    return isinstance(argument, (list, tuple)) or (
        isinstance(argument, Mapping) and "class_name" not in argument
    )


def require_names_of_output(names: Collection[str], **arguments: object) -> None:
    """Raises ValueError if a dict among arguments of `compile` has a key that isn't a name of the model's one output.

    Args:
        names: the names that the output has.
        arguments: the arguments, by name.
    """
    for argument, value in arguments.items():
        if not isinstance(value, Mapping) or not is_per_output(value):
            continue
        unknown = [key for key in value if key not in names]
        if unknown:
            expected = " or ".join(map(repr, sorted(names)))
            msg = f"`{argument}` has the key {unknown[0]!r}, but the model's one output is named {expected}"
            raise ValueError(msg)


def with_missing_outputs(argument: Any, outputs: Sequence[str]) -> Any:
    """Returns a dict of losses or weights by output with None for those outputs that it lacks; anything else as it is."""
    return (
        dict(argument) | {name: None for name in outputs if name not in argument}
        if isinstance(argument, Mapping)
        else argument
    )


def losses_of_outputs(value: Any, outputs: Sequence[str]) -> list[Any]:
    """Returns the loss of each output, or None.

    Args:
        value: the argument of `compile`.
        outputs: the names of the outputs, if there are several.
    """
    if not outputs:
        return [_single(value, "loss")]
    if not is_per_output(value):
        return [value] * len(outputs)
    of_outputs = _by_output(
        value, outputs, "loss", "one loss for all outputs, a list with one for each output"
    )
    return [_single(loss, "loss") for loss in of_outputs]


def loss_weights_of_outputs(value: Any, outputs: Sequence[str]) -> list[float]:
    """Returns the factor of the loss of each output, in the same way."""
    if not outputs:
        weights = [_single(value, "loss_weights")]
    elif value is None:
        weights = [None] * len(outputs)
    else:
        weights = _by_output(value, outputs, "loss_weights", "a list with one number for each output")
        weights = [_single(weight, "loss_weights") for weight in weights]
    return [1.0 if weight is None else real(weight, "loss_weights") for weight in weights]


def _by_output(value: Any, outputs: Sequence[str], argument: str, expected_entries: str) -> list[Any]:
    """Returns the entries of a list or dict, one for each output.

    Args:
        value: the argument.
        outputs: the names of the outputs.
        argument: its name, for messages.
        expected_entries: what it should be, for messages.
    """
    expected = f"`{argument}` must be {expected_entries}, or a dict with the keys {list(outputs)}"
    if isinstance(value, Mapping):
        if set(value) != set(outputs):
            msg = f"{expected}, got a dict with the keys {list(value)}"
            raise ValueError(msg)
        return [value[name] for name in outputs]
    if not isinstance(value, (list, tuple)) or len(value) != len(outputs):
        msg = f"{expected}, got {value!r}"
        raise ValueError(msg)
    return list(value)


def _single(value: object, argument: str) -> object:
    """Returns the loss or weight for one output, which Keras also accepts in lists or dicts of one."""
    if not is_per_output(value):
        return value
    parts = list(value.values()) if isinstance(value, Mapping) else list(cast("Sequence[object]", value))
    if len(parts) != 1:
        msg = (
            f"`{argument}` must be one for each output of the model, got {len(parts)} for one output: {value!r}. A loss that "
            "reads several outputs at once is left out: override compute_loss()"
        )
        raise ValueError(msg)
    return _single(parts[0], argument)


def metrics_of_outputs(plain: object, weighted: object, outputs: Sequence[str]) -> list[MetricOfOutput]:
    """Returns the metrics given to `compile`, in the order in which Keras returns their values.

    Args:
        plain: the argument `metrics`.
        weighted: the argument `weighted_metrics`.
        outputs: the names of the outputs, if there are several.
    """
    placed = [
        (metric, output, weighs)
        for argument, metrics_given, weighs in (
            ("metrics", plain, False),
            ("weighted_metrics", weighted, True),
        )
        for output, of_output in enumerate(_metrics_by_output(argument, metrics_given, outputs))
        for metric in map(metrics.metric_for_training, _flat(of_output))
    ]
    prefixes = [f"{name}_" for name in outputs] or [""]
    names = _unique_names([(prefixes[output], metric.name, weighs) for metric, output, weighs in placed])
    entries = [MetricOfOutput(name, *row) for name, row in zip(names, placed, strict=True)]
    return sorted(entries, key=lambda entry: entry.name) if outputs else entries


def _metrics_by_output(argument: str, value: object, outputs: Sequence[str]) -> list[Any]:
    """Returns the metrics of each output: one, a list of them, or an empty list."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple, dict)):
        msg = f"`{argument}` must be a list such as ['accuracy'], a tuple or a dict, got {value!r}"
        raise ValueError(msg)
    if not outputs:
        return [value]
    if not value:
        return []
    if isinstance(value, Mapping) and set(value) <= set(outputs):
        return [value.get(name) or [] for name in outputs]
    if isinstance(value, (list, tuple)) and len(value) == len(outputs):
        return [[] if entry is None else entry for entry in value]
    msg = (
        f"`{argument}` must be a list with one entry for each output, a metric or a list of metrics, or a dict with keys "
        f"among {list(outputs)}, got {value!r}"
    )
    raise ValueError(msg)


def _flat(nested: object) -> Iterator[object]:
    """Yields the metrics in nested lists and dicts, in order. A config dict is a metric itself."""
    if isinstance(nested, Mapping) and "class_name" not in nested:
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        for part in nested:
            yield from _flat(part)
    else:
        yield nested


def _unique_names(metrics_given: Sequence[tuple[str, str, bool]]) -> list[str]:
    """Returns the names of metrics in the logs, made unique as in Keras: `weighted_accuracy`, `accuracy_1`.

    Args:
        metrics_given: for each metric the prefix of its output, its own name, and whether sample weights count.
    """
    names = ["loss"]
    for prefix, name, weighs in metrics_given:
        base = f"{prefix}weighted_{name}" if weighs and f"{prefix}{name}" in names else f"{prefix}{name}"
        names.append(free_name(base, names))
    return names[1:]
