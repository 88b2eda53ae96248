"""A physics-informed network solves u'' = -u with u(0) = 0 and u'(0) = 1, whose solution is sin(t)."""

import numpy as np

import engine as keras
from engine import layers, ops


def main(steps: int = 1500, points: int = 64) -> float:
    """Trains the network, and returns the largest error in [0, 3]."""
    keras.utils.set_random_seed(10)
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(24, activation="tanh"),
            layers.Dense(24, activation="tanh"),
            layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps))
    times = ops.convert_to_tensor(np.linspace(0, 3, points, dtype="float32")[:, None])
    for _ in range(steps):
        with keras.GradientTape() as tape:
            with keras.GradientTape() as second:
                second.watch(times)
                with keras.GradientTape() as first:
                    first.watch(times)
                    u = model(times)
                speed = first.gradient(u, times)
            acceleration = second.gradient(speed, times)
            equation = ops.mean(ops.square(acceleration + u))
            start = ops.square(u[0, 0]) + ops.square(speed[0, 0] - 1.0)
            loss = equation + 10.0 * start
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return float(np.abs(model.predict(times, verbose=0) - np.sin(times)).max())


if __name__ == "__main__":
    print(f"largest error: {main():.4f}")
