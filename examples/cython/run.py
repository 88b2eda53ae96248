# Build the extension first: python setup.py build_ext --inplace
import time

import numpy as np
from pendulum import balance

import engine as keras
from engine.cython_api import Predictor

STEPS = 1_000_000

# The network learns the torques of a linear controller.
keras.utils.set_random_seed(0)
states = np.random.default_rng(0).uniform((-1, -4), (1, 4), (4096, 2)).astype(np.float32)
torques = -30 * states[:, :1] - 8 * states[:, 1:]

model = keras.Sequential(
    [
        keras.Input((2,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1),
    ]
)
model.compile(keras.optimizers.Adam(0.01), loss="mse")
model.fit(states, torques, epochs=20, verbose=0)

policy = Predictor(model, inputs=2, outputs=1)
begin = time.perf_counter()
steps = balance(policy, 0.5, 0.0, STEPS)
compiled = (time.perf_counter() - begin) / steps
print(f"Steps upright: {steps} of {STEPS}")

state = np.array([[0.5, 0.0]], np.float32)
begin = time.perf_counter()
for _ in range(20_000):
    model.predict(state, verbose=0)
called = (time.perf_counter() - begin) / 20_000
print(
    f"A prediction takes {1e9 * compiled:.0f} ns, and `predict` from Python {1e9 * called:.0f} ns: "
    f"{called / compiled:.0f} times as long"
)
