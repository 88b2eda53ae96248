"""Model-agnostic meta-learning: a network learns to learn sine waves from ten points (Finn et al., 2017).

The inner step is a part of the function that the outer tape differentiates, so that second derivatives are computed.
"""

import numpy as np

import engine as keras
from engine import ops

INNER_RATE, SHOTS, TASKS = 0.05, 10, 4


def network(x, weights):
    """Returns the outputs of a network with these weights."""
    w1, b1, w2, b2, w3, b3 = weights
    return ops.matmul(ops.tanh(ops.matmul(ops.tanh(ops.matmul(x, w1) + b1), w2) + b2), w3) + b3


def loss_of(x, y, weights):
    return ops.mean(ops.square(network(x, weights) - y))


def adapted(x, y, weights):
    """Returns the weights after one step on a task."""
    with keras.GradientTape() as tape:
        tape.watch(weights)
        loss = loss_of(x, y, weights)
    gradients = tape.gradient(loss, weights)
    return [weight - INNER_RATE * gradient for weight, gradient in zip(weights, gradients)]


def task(rng):
    amplitude, phase = rng.uniform(0.5, 2.0), rng.uniform(0, np.pi)
    x = rng.uniform(-3, 3, (2 * SHOTS, 1)).astype("float32")
    y = (amplitude * np.sin(x + phase)).astype("float32")
    return x[:SHOTS], y[:SHOTS], x[SHOTS:], y[SHOTS:]


def main(steps: int = 300) -> float:
    """Trains the first weights, and returns the loss after one step on new tasks over that before the step."""
    rng = np.random.default_rng(8)
    keras.utils.set_random_seed(8)
    sizes = [(1, 24), (24, 24), (24, 1)]
    weights = []
    for inputs, outputs in sizes:
        start = rng.normal(size=(inputs, outputs)) / np.sqrt(inputs)
        weights += [keras.Variable(start.astype("float32")), keras.Variable(np.zeros(outputs, "float32"))]
    optimizer = keras.optimizers.Adam(0.003)
    for _ in range(steps):
        tasks = [task(rng) for _ in range(TASKS)]
        with keras.GradientTape() as outer:
            losses = [loss_of(xq, yq, adapted(x, y, weights)) for x, y, xq, yq in tasks]
            total = ops.sum(ops.stack(losses)) / TASKS
        optimizer.apply_gradients(zip(outer.gradient(total, weights), weights))
    before, after = 0.0, 0.0
    for x, y, xq, yq in (task(rng) for _ in range(50)):
        before += float(loss_of(xq, yq, weights))
        after += float(loss_of(xq, yq, adapted(x, y, weights)))
    return after / before


if __name__ == "__main__":
    print(f"loss after one step over that before: {main():.3f}")
