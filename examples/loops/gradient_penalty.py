"""WGAN-GP: a critic whose gradient by its inputs is held near length 1, by a derivative of a derivative."""

import numpy as np

import engine as keras
from engine import layers, ops

NOISE, CRITIC_STEPS = 4, 3


def network(inputs: int, outputs: int):
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            layers.Dense(32, activation="tanh"),
            layers.Dense(32, activation="tanh"),
            layers.Dense(outputs),
        ]
    )


def gradient_penalty(critic, real, fake):
    """Returns the mean squared distance of the gradient's length from 1, between real and made points."""
    share = keras.random.uniform((len(real), 1))
    between = ops.convert_to_tensor(real * share + fake * (1 - share))
    with keras.GradientTape() as tape:
        tape.watch(between)
        scores = critic(between)
    gradients = tape.gradient(scores, between)
    lengths = ops.sqrt(ops.sum(ops.square(gradients), axis=1) + 1e-12)
    return ops.mean(ops.square(lengths - 1.0))


def main(steps: int = 500, batch: int = 64) -> float:
    """Trains critic and generator on two clusters, and returns the error of the mean of the made points."""
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    critic, generator = network(2, 1), network(NOISE, 2)
    decay = keras.optimizers.schedules.CosineDecay
    of_critic = keras.optimizers.Adam(decay(5e-3, CRITIC_STEPS * steps), beta_1=0.5, beta_2=0.9)
    of_generator = keras.optimizers.Adam(decay(5e-3, steps), beta_1=0.5, beta_2=0.9)
    for _ in range(steps):
        for _ in range(CRITIC_STEPS):
            centres = np.where(rng.random((batch, 1)) < 0.5, [[1.0, 0.5]], [[2.0, 1.5]])
            real = (centres + 0.1 * rng.normal(size=(batch, 2))).astype("float32")
            fake = generator(keras.random.normal((batch, NOISE)))
            with keras.GradientTape() as tape:
                loss = (
                    ops.mean(critic(fake))
                    - ops.mean(critic(real))
                    + 10.0 * gradient_penalty(critic, real, fake)
                )
            weights = critic.trainable_variables
            of_critic.apply_gradients(zip(tape.gradient(loss, weights), weights))
        with keras.GradientTape() as tape:
            loss = -ops.mean(critic(generator(keras.random.normal((batch, NOISE)))))
        weights = generator.trainable_variables
        of_generator.apply_gradients(zip(tape.gradient(loss, weights), weights))
    made = generator.predict(keras.random.normal((500, NOISE)), verbose=0)
    return float(np.abs(made.mean(axis=0) - [1.5, 1.0]).max())


if __name__ == "__main__":
    print(f"error of the mean: {main():.3f}")
