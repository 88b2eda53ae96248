"""Update rules in NumPy by the formulas of Keras 3. They take the mappings of `_core.Program.compile`.

Here, the keys `kernel_decay` and `bias_decay` are the weight decay of kernels and biases. `for_core` makes a list of
them, which the core takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Spec = Mapping[str, Any]


class At(NamedTuple):
    """The learning rate and the number of a step, which counts from 1."""

    lr: float
    t: int


Rule = Callable[[Spec, Array, Array, Sequence[Array], At], None]


def sgd(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    if not o["momentum"]:
        w -= at.lr * g
        return
    m, mu = slots[0], o["momentum"]
    m[...] = mu * m - at.lr * g
    w += mu * m - at.lr * g if o["nesterov"] else m


def moments(o: Spec, g: Array, slots: Sequence[Array]) -> tuple[Array, Array]:
    m, v = slots[:2]
    m += (g - m) * (1 - o["beta_1"])
    v += (g * g - v) * (1 - o["beta_2"])
    return m, v


def adam(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    m, v = moments(o, g, slots)
    if o.get("amsgrad"):
        slots[2][...] = np.maximum(slots[2], v)
        v = slots[2]
    alpha = at.lr * math.sqrt(1 - o["beta_2"] ** at.t) / (1 - o["beta_1"] ** at.t)
    w -= alpha * m / (np.sqrt(v) + o["epsilon"])


def rmsprop(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    v, rho = slots[0], o["rho"]
    v[...] = rho * v + (1 - rho) * g * g
    denominator = v + o["epsilon"]
    if o.get("centered"):
        slots[-1][...] = rho * slots[-1] + (1 - rho) * g
        denominator -= slots[-1] ** 2
    step = at.lr * g / np.sqrt(denominator)
    if o["momentum"]:
        slots[1][...] = o["momentum"] * slots[1] + step
        step = slots[1]
    w -= step


def adamax(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    m, u = slots
    m += (g - m) * (1 - o["beta_1"])
    u[...] = np.maximum(o["beta_2"] * u, np.abs(g))
    w -= at.lr * m / ((1 - o["beta_1"] ** at.t) * (u + o["epsilon"]))


def nadam(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    m, v = moments(o, g, slots)
    u = [o["beta_1"] * (1 - 0.5 * 0.96**i) for i in range(1, at.t + 2)]
    product = math.prod(u[: at.t])
    m_hat = u[at.t] * m / (1 - product * u[at.t]) + (1 - u[at.t - 1]) * g / (1 - product)
    w -= at.lr * m_hat / (np.sqrt(v / (1 - o["beta_2"] ** at.t)) + o["epsilon"])


def adagrad(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    slots[0][...] += g * g
    w -= at.lr * g / np.sqrt(slots[0] + o["epsilon"])


def adadelta(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    (a, b), rho, epsilon = slots, o["rho"], o["epsilon"]
    a[...] = rho * a + (1 - rho) * g * g
    d = -np.sqrt(b + epsilon) * g / np.sqrt(a + epsilon)
    b[...] = rho * b + (1 - rho) * d * d
    w += at.lr * d


def lion(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    m, b1, b2 = slots[0], o["beta_1"], o["beta_2"]
    w -= at.lr * np.sign(b1 * m + (1 - b1) * g)
    m[...] = b2 * m + (1 - b2) * g


def ftrl(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    (a, z), p, l1 = slots, o["exponent"], o["l1_regularization_strength"]
    after = a + g * g
    z += g + 2 * o["l2_shrinkage_regularization_strength"] * w - (after**p - a**p) / at.lr * w
    quadratic = after**p / at.lr + 2 * o["l2_regularization_strength"] + o["beta"] / at.lr
    w[...] = (np.clip(z, -l1, l1) - z) / quadratic
    a[...] = after


def lamb(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    m, v = moments(o, g, slots)
    u = m / (1 - o["beta_1"] ** at.t) / (np.sqrt(v / (1 - o["beta_2"] ** at.t)) + o["epsilon"])
    size, length = np.sqrt((w * w).sum()), np.sqrt((u * u).sum())
    w -= (size / length if size > 0 and length > 0 else 1.0) * at.lr * u


def root_mean_square(x: Array) -> float:
    return float(np.sqrt((x * x).mean()))


def adafactor(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    """Adafactor. As in the core, row 0 of slot 1 has the means of columns, and column 0 of slot 2 those of rows."""
    v, in_row, in_column = slots
    share, squares = at.t ** -o["decay"], g * g + o["epsilon_1"]
    if w.ndim > 1:
        rows, columns = in_column[:, 0], in_row[0]
        rows += share * (squares.mean(axis=1) - rows)
        columns += share * (squares.mean(axis=0) - columns)
        v[...] = np.outer(rows / rows.mean(), columns)
    else:
        v += share * (squares - v)
    u = g / np.sqrt(v)
    u /= max(1.0, root_mean_square(u) / o["clip_threshold"])
    w -= max(o["epsilon_2"], root_mean_square(w)) * min(at.lr, 1 / math.sqrt(at.t)) * u


def muon(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    """Muon. Matrices are updated by the Newton-Schulz iteration, on the transpose of tall ones; vectors by Adam."""
    if w.ndim == 1:
        rates = {"beta_1": o["adam_beta_1"], "beta_2": o["adam_beta_2"], "epsilon": o["epsilon"]}
        return adam(rates, w, g, slots, At(at.lr * o["adam_lr_ratio"], at.t))
    m, mu = slots[0], o["momentum"]
    m[...] = mu * m + g
    x = g + mu * m if o["nesterov"] else m
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (np.sqrt((x * x).sum()) + 1e-7)
    for _ in range(o["ns_steps"]):
        gram = x @ x.T
        x = o["muon_a"] * x + (o["muon_b"] * gram + o["muon_c"] * gram @ gram) @ x
    factor = o["rms_rate"] * math.sqrt(max(w.shape)) if o["rms_rate"] else 1.0
    w -= at.lr * factor * (x.T if tall else x)
    return None


def schedule_free_adamw(o: Spec, w: Array, g: Array, slots: Sequence[Array], at: At) -> None:
    """Schedule-free AdamW. The weights are interpolated between z, which is slot 0, and the mean x of all z."""
    z, v = slots
    b1, b2 = o["beta_1"], o["beta_2"]
    x = (w - (1 - b1) * z) / b1
    v += (g * g - v) * (1 - b2)
    lr = at.lr * min(at.t / o["warmup_steps"], 1.0) if o["warmup_steps"] else at.lr
    z -= lr * g / (np.sqrt(v / (1 - b2**at.t)) + o["epsilon"])
    x += (z - x) / at.t
    w[...] = (1 - b1) * z + b1 * x


RULES: dict[str, tuple[int, Rule]] = {
    "sgd": (0, sgd),
    "adam": (2, adam),
    "rmsprop": (1, rmsprop),
    "adamax": (2, adamax),
    "nadam": (2, nadam),
    "adagrad": (1, adagrad),
    "adadelta": (2, adadelta),
    "lion": (1, lion),
    "ftrl": (2, ftrl),
    "lamb": (2, lamb),
    "adafactor": (3, adafactor),
    "muon": (2, muon),
    "schedule_free_adamw": (2, schedule_free_adamw),
}


# The options with which a rule keeps one array more for each weight.
OPTIONS = {"sgd": ("momentum",), "adam": ("amsgrad",), "rmsprop": ("momentum", "centered")}


def slot_count(optimizer: Spec) -> int:
    kind = optimizer["kind"]
    return RULES[kind][0] + sum(bool(optimizer.get(option)) for option in OPTIONS.get(kind, ()))


def initial_slots(optimizer: Spec, w: Array) -> list[Array]:
    if optimizer["kind"] == "schedule_free_adamw":
        return [w.copy(), np.zeros_like(w)]
    start = np.full_like(w, optimizer.get("initial_accumulator_value", 0.0))
    return [start, *(np.zeros_like(w) for _ in range(2))][: slot_count(optimizer)]


def update(
    optimizer: Spec, w: Array, g: Array, slots: Sequence[Array], *, learning_rate: float, step: int
) -> None:
    """Makes a step of `w` and `slots`, in place; `step` counts from 1. Arrays with two axes are kernels."""
    w -= learning_rate * optimizer.get("kernel_decay" if w.ndim > 1 else "bias_decay", 0.0) * w
    RULES[optimizer["kind"]][1](optimizer, w, g, slots, At(learning_rate, step))


def clipped(optimizer: Spec, gradients: Sequence[Array]) -> list[Array]:
    """Returns gradients clipped by value, by their norms, or by their global norm."""
    if value := optimizer.get("clipvalue"):
        return [np.clip(g, -value, value) for g in gradients]
    if limit := optimizer.get("clipnorm"):
        return [g * (limit / max(float(np.sqrt((g * g).sum())), limit)) for g in gradients]
    if limit := optimizer.get("global_clipnorm"):
        norm = math.sqrt(sum(float((g * g).sum()) for g in gradients))
        return [g * (limit / max(norm, limit)) for g in gradients]
    return list(gradients)


def for_core(optimizer: Spec, variables: Sequence[Array]) -> dict[str, Any]:
    """Returns the optimizer as a mapping for `_core.Program.compile` with these variables."""
    decays = [optimizer.get("kernel_decay" if v.ndim > 1 else "bias_decay", 0.0) for v in variables]
    return {**optimizer, "decays": decays, "orthogonalised": [v.ndim > 1 for v in variables]}


def read_slots(program: Any) -> list[list[Array]]:
    """Reads the optimizer's slots of each variable from `_core.Program`, in the scaling of textbooks."""
    slots = [program.state.read("slot", number) for number in range(program.state.counts["slot"])]
    return [[slot[index] for slot in slots] for index in range(len(program.variables))]


class Stepper:
    """An optimizer with its state for some variables.

    Args:
        optimizer: mapping that `update` takes.
        variables: arrays that are updated in place.
        trainable: whether each variable is trained.
    """

    def __init__(self, optimizer: Spec, variables: Sequence[Array], trainable: Sequence[bool]) -> None:
        self.optimizer, self.variables, self.trainable = optimizer, variables, trainable
        self.slots = [initial_slots(optimizer, v) for v in variables]
        self.sums = [np.zeros_like(v) for v in variables]
        self.averages = [np.zeros_like(v) for v in variables]
        self.batches = 0

    def step(self, gradients: Sequence[Array], learning_rate: float) -> None:
        """Uses the gradients of one batch."""
        many = self.optimizer.get("accumulate", 1)
        self.batches += 1
        sums = [total + g for total, g in zip(self.sums, gradients, strict=True)]
        learning = [i for i, on in enumerate(self.trainable) if on]
        if self.batches % many:
            self.sums = sums
        else:
            means = clipped(self.optimizer, [sums[i] / np.asarray(many, sums[i].dtype) for i in learning])
            for i, g in zip(learning, means, strict=True):
                update(
                    self.optimizer,
                    self.variables[i],
                    g,
                    self.slots[i],
                    learning_rate=learning_rate,
                    step=self.batches // many,
                )
            self.sums = [np.zeros_like(v) for v in self.variables]
        if self.optimizer.get("averages"):
            self._average((self.batches - 1) // many + 1, learning)

    def _average(self, number: int, learning: Sequence[int]) -> None:
        momentum = self.optimizer["average_momentum"] if number > 1 else 0.0
        often = self.optimizer.get("overwrite", 0)
        for i in learning:
            self.averages[i] = momentum * self.averages[i] + (1 - momentum) * self.variables[i]
            if often and number % often == 0:
                self.variables[i][...] = self.averages[i]
