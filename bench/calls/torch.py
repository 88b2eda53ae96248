"""The calls of PyTorch, without `torch.compile`. Samples come from NumPy without a copy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from bench.calls import FAMILIES, RATES, WIDTHS, labels, matrices, samples

RULES: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def eager(rows: int) -> Callable[[], Any]:
    x, y = map(torch.from_numpy, matrices(rows))
    return lambda: torch.sum(torch.add(torch.tanh(x), y))


def alone(name: str) -> Callable[[int], Callable[[], Any]]:
    def prepared(rows: int) -> Callable[[], Any]:
        x, y = map(torch.from_numpy, matrices(rows))
        return lambda: FAMILIES[name](torch, x, y)

    return prepared


def network() -> Any:
    parts = [part for sizes in pairwise(WIDTHS) for part in (nn.Linear(*sizes), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def predict(rows: int) -> Callable[[], Any]:
    model, (x, _) = network(), samples(rows)

    def call() -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    return call


def update(rule: str, reads: bool = False) -> Callable[[int], Callable[[], Any]]:
    """Returns what prepares a step; `reads` makes a float of the loss."""

    def prepared(rows: int) -> Callable[[], Any]:
        model, (x, y) = network(), samples(rows)
        optimizer = RULES[rule](model.parameters(), RATES[rule])

        def step() -> Any:
            optimizer.zero_grad()
            loss = functional.mse_loss(model(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            return loss.item() if reads else loss.detach()

        return step

    return prepared


def train_on_labels(rows: int) -> Callable[[], Any]:
    model, (x, _), y = network(), samples(rows), labels(rows)
    optimizer = RULES["sgd"](model.parameters(), RATES["sgd"])

    def step() -> Any:
        classes = torch.from_numpy(y)
        optimizer.zero_grad()
        logits = model(torch.from_numpy(x))
        loss = functional.cross_entropy(logits, classes)
        loss.backward()
        optimizer.step()
        _ = (logits.detach().argmax(1) == classes).float().mean().item()
        return loss.item()

    return step


def own_step(rows: int) -> Callable[[], Any]:
    model, (x, y) = network(), samples(rows)
    optimizer = RULES["sgd"](model.parameters(), RATES["sgd"])

    def step() -> Any:
        targets = torch.from_numpy(y)
        optimizer.zero_grad()
        found = model(torch.from_numpy(x))
        loss = functional.mse_loss(found, targets)
        loss.backward()
        optimizer.step()
        _ = functional.l1_loss(found.detach(), targets).item()  # the mean over a batch is that of its metric
        return loss.item()

    return step


CALLS: dict[str, Callable[[int], Callable[[], Any]]] = {
    "eager": eager,
    **{name: alone(name) for name in FAMILIES},
    "predict": predict,
    "train_on_batch": update("sgd", reads=True),
    "train_on_labels": train_on_labels,
    "own_step": own_step,
    "update_sgd": update("sgd"),
    "update_adam": update("adam"),
    "tape": update("sgd"),
}
