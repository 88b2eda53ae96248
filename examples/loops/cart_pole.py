"""CartPole in NumPy: a pole on a cart, which an agent keeps upright by pushing the cart left or right."""

import numpy as np

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
MOST_ANGLE, MOST_POSITION, MOST_STEPS = 12 * np.pi / 180, 2.4, 200


class CartPole:
    """The environment of Barto, Sutton and Anderson (1983). Each step that the pole stands gives a reward of 1.

    Args:
        seed: of the states at the beginning of episodes.
    """

    actions, observations = 2, 4

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)

    def reset(self):
        """Begins an episode, and returns its first state: position, speed, angle and angular speed."""
        self._state, self._steps = self._rng.uniform(-0.05, 0.05, 4), 0
        return self._state.astype("float32")

    def step(self, action: int):
        """Pushes the cart to the left (0) or right (1). Returns the state, the reward, and whether the episode is over."""
        _, speed, angle, turning = self._state
        force = FORCE if action == 1 else -FORCE
        mass, moment = CART + POLE, POLE * HALF_LENGTH
        sine, cosine = np.sin(angle), np.cos(angle)
        push = (force + moment * turning**2 * sine) / mass
        angular = (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / mass))
        linear = push - moment * angular * cosine / mass
        self._state += SECONDS * np.array([speed, linear, turning, angular])
        self._steps += 1
        fell = abs(self._state[0]) > MOST_POSITION or abs(self._state[2]) > MOST_ANGLE
        return self._state.astype("float32"), 1.0, bool(fell or self._steps >= MOST_STEPS)
