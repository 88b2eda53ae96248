"""Looks for a smaller training that fails in the same way."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from random_networks.cases import Case
from random_networks.checks import UntamedError
from random_networks.layers import Network
from random_networks.parts import Made

SECONDS = 60.0


def smallest(case: Case, check: Callable[[Case], None]) -> tuple[Case, BaseException] | None:
    """Returns the smallest training found that fails as `case` does, and its error; None if `case` doesn't fail.

    Raises:
        UntamedError: if another training must be drawn.
    """
    error = _failure(case, check)
    if error is None:
        return None
    if isinstance(error, UntamedError):
        raise error
    end = time.monotonic() + SECONDS
    found = case, error
    going = True
    while going:
        going = False
        for candidate in _simpler(found[0]):
            if time.monotonic() > end:
                return found
            other = _failure(candidate, check)
            if type(other) is type(error) and str(other).split()[0] == str(error).split()[0]:
                found, going = (candidate, other), True
                break
    return found


def _failure(case: Case, check: Callable[[Case], None]) -> BaseException | None:
    try:
        check(case)
    except Exception as error:
        return error
    return None


def _simpler(case: Case) -> Iterator[Case]:
    """Yields trainings that are a little simpler."""
    for network in _simpler_networks(case.network):
        yield replace(case, network=network)
    training, samples = case.training, case.samples
    changes = {
        "epochs": 1,
        "weighted": False,
        "class_weight": None,
        "way": "fit",
        "optimizer": Made("optimizers.SGD", {"learning_rate": 0.05}),
        "batch_size": samples.samples,
    }
    for name, value in changes.items():
        if getattr(training, name) != value:
            yield replace(case, training=replace(training, **{name: value}))
    for optimizer in _fewer_options(training.optimizer, needed=("learning_rate", "epsilon", "epsilon_1")):
        yield replace(case, training=replace(training, optimizer=optimizer))
    for loss in _simpler_code(training.goal.loss):
        yield replace(case, training=replace(training, goal=training.goal._replace(loss=loss)))
    for number in {samples.samples // 2, samples.samples - 1} - {0}:
        yield replace(
            case,
            samples=replace(samples, samples=number),
            training=replace(training, batch_size=min(training.batch_size, number)),
        )
    for name, value in {"zeros": "few", "kind": "reals", "form": "plain"}.items():
        if getattr(samples, name) != value:
            yield replace(case, samples=replace(samples, **{name: value}))


def _simpler_code(made: Made) -> Iterator[Made]:
    """Yields classes whose formulas lack a step."""
    for i, line in enumerate(made.code):
        name, _, formula = line.strip().partition(" = ")
        if name.startswith("v") and formula:
            for value in ("x", "y", "p", *(f"v{number}" for number in range(int(name[1:])))):
                code = tuple(
                    re.sub(rf"\b{name}\b", value, other) for j, other in enumerate(made.code) if j != i
                )
                yield replace(made, code=code)


def _simpler_networks(network: Network) -> Iterator[Network]:
    """Yields networks in which a value stands for another one, or a layer has less to it. Not all of them fit together."""
    for i, call in enumerate(network.calls[:-1], 1):
        layer = network.layers[call.layer]
        if isinstance(layer, Made) and layer.name == "layers.Rescaling":
            continue  # without it, bytes would make steps that grow
        for value in call.values:
            yield _used(_without(network, i, value))
    if network.frozen:
        yield replace(network, frozen=frozenset())
    for name, layer in network.layers.items():
        for simpler in _simpler_networks(layer) if isinstance(layer, Network) else _simpler_layers(layer):
            yield replace(network, layers={**network.layers, name: simpler})


def _without(network: Network, removed: int, instead: int) -> Network:
    """Returns the network without a call, whose readers read another value."""

    def place(value: int) -> int:
        value = instead if value == removed else value
        return value - (value > removed)

    calls = [
        replace(call, values=tuple(place(value) for value in call.values))
        for i, call in enumerate(network.calls, 1)
        if i != removed
    ]
    return replace(network, calls=tuple(calls))


def _used(network: Network) -> Network:
    """Returns the network without the calls on whose values nothing depends."""
    for i in range(len(network.calls) - 1, 0, -1):
        if not any(i in call.values for call in network.calls):
            return _used(_without(network, i, 0))
    return network


def _simpler_layers(layer: Made) -> Iterator[Made]:
    yield from _simpler_code(layer)
    yield from _fewer_options(
        layer,
        needed=(
            "units",
            "activation",
            "scale",
            "rate",
            "seed",
            "epsilon",
            "momentum",
            "input_dim",
            "output_dim",
        ),
    )
    if layer.options.get("activation", "linear") not in ("linear", "softmax", "sigmoid", "softplus"):
        yield replace(layer, options={**layer.options, "activation": "linear"})


def _fewer_options(made: Made, needed: tuple[str, ...]) -> Iterator[Made]:
    for name in made.options:
        if name not in needed:
            yield replace(made, options={key: value for key, value in made.options.items() if key != name})
