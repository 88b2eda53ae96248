"""An actor-critic agent on CartPole: one network gives the probabilities of actions and the value of the state."""

import sys
from pathlib import Path

import numpy as np

import engine as keras
from engine import layers, ops

sys.path.insert(0, str(Path(__file__).parent))
from cart_pole import CartPole

DISCOUNT = 0.99


def main(episodes: int = 200) -> float:
    """Trains an agent, and returns the mean reward of its last ten episodes."""
    keras.utils.set_random_seed(4)
    env, rng = CartPole(4), np.random.default_rng(4)
    inputs = keras.Input((env.observations,))
    common = layers.Dense(64, activation="relu")(inputs)
    model = keras.Model(inputs, [layers.Dense(env.actions)(common), layers.Dense(1)(common)])
    optimizer, huber = keras.optimizers.Adam(0.01), keras.losses.Huber()
    rewards = []
    for _ in range(episodes):
        states, actions, gained = [], [], []
        state, over = env.reset(), False
        while not over:
            logits, _ = model(state[None])
            action = int(rng.choice(env.actions, p=ops.softmax(np.asarray(logits, "float64")[0])))
            states.append(state)
            actions.append(action)
            state, reward, over = env.step(action)
            gained.append(reward)
        rewards.append(sum(gained))
        returns, later = [], 0.0
        for reward in gained[::-1]:
            later = reward + DISCOUNT * later
            returns.insert(0, later)
        aims = np.array(returns, "float32")
        aims = (aims - aims.mean()) / (aims.std() + 1e-6)
        # Episodes have different lengths. Batches of one size are compiled once.
        padded = 32 * -(-len(aims) // 32)
        kept = np.zeros(padded, "float32")
        kept[: len(aims)] = 1.0
        batch, chosen, wanted = (
            np.zeros((padded, env.observations), "float32"),
            np.zeros(padded, "int32"),
            np.zeros(padded, "float32"),
        )
        batch[: len(aims)], chosen[: len(aims)], wanted[: len(aims)] = states, actions, aims
        with keras.GradientTape() as tape:
            logits, values = model(batch)
            values = ops.squeeze(values, -1)
            logs = ops.sum(ops.log_softmax(logits) * ops.one_hot(chosen, env.actions), axis=1)
            advantages = ops.stop_gradient(wanted - values)
            actor = -ops.sum(logs * advantages * kept)
            critic = huber(wanted * kept, values * kept) * float(padded)
            loss = actor + critic
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    return float(np.mean(rewards[-10:]))


if __name__ == "__main__":
    print(f"mean reward of the last ten episodes: {main():.1f}")
