"""Deep Q-learning on CartPole, with a replay memory and a target network (Mnih et al., 2015)."""

import sys
from collections import deque
from pathlib import Path

import numpy as np

import engine as keras
from engine import layers, ops

sys.path.insert(0, str(Path(__file__).parent))
from cart_pole import CartPole

DISCOUNT, BATCH, RENEWED_EVERY = 0.99, 64, 200


def q_network(env):
    return keras.Sequential(
        [
            keras.Input((env.observations,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(env.actions),
        ]
    )


def main(episodes: int = 250) -> float:
    """Trains an agent, and returns the mean reward of its last ten episodes."""
    keras.utils.set_random_seed(3)
    env, rng = CartPole(3), np.random.default_rng(3)
    model, target = q_network(env), q_network(env)
    target.set_weights(model.get_weights())
    optimizer, loss_fn = keras.optimizers.Adam(5e-4), keras.losses.Huber()
    memory, rewards, steps = deque(maxlen=10_000), [], 0

    @keras.function
    def update(states, actions, gained, nexts, ends):
        best = ops.argmax(model(nexts), axis=1)  # double Q-learning (van Hasselt et al., 2016)
        following = ops.sum(target(nexts) * ops.one_hot(best, env.actions), axis=1)
        aims = gained + DISCOUNT * (1 - ends) * following
        with keras.GradientTape() as tape:
            values = ops.sum(model(states) * ops.one_hot(actions, env.actions), axis=1)
            loss = loss_fn(aims[:, None], values[:, None])
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    for episode in range(episodes):
        state, over, total = env.reset(), False, 0.0
        while not over:
            curiosity = max(0.02, 1.0 - episode / (0.4 * episodes))
            if rng.random() < curiosity:
                action = int(rng.integers(env.actions))
            else:
                action = int(np.argmax(model(state[None])[0]))
            following, reward, over = env.step(action)
            memory.append((state, action, reward, following, over))
            state, total, steps = following, total + reward, steps + 1
            if len(memory) >= 4 * BATCH:
                chosen = [memory[place] for place in rng.integers(len(memory), size=BATCH)]
                states, actions, gained, nexts, ends = zip(*chosen)
                update(*(np.array(each, "float32") for each in (states, actions, gained, nexts, ends)))
            if steps % RENEWED_EVERY == 0:
                target.set_weights(model.get_weights())
        rewards.append(total)
    return float(np.mean(rewards[-10:]))


if __name__ == "__main__":
    print(f"mean reward of the last ten episodes: {main():.1f}")
