"""A generative adversarial network: two networks with an optimizer each learn points on a circle."""

import numpy as np

import engine as keras
from engine import layers, ops


class GAN(keras.Model):
    """Two networks: the generator makes points of noise, and the discriminator tells them from real ones."""

    def __init__(self, noise: int = 4):
        super().__init__()
        self.noise = noise
        self.generator = keras.Sequential(
            [
                keras.Input((noise,)),
                layers.Dense(32, activation="relu"),
                layers.Dense(32, activation="relu"),
                layers.Dense(2),
            ]
        )
        self.discriminator = keras.Sequential(
            [
                keras.Input((2,)),
                layers.Dense(32),
                layers.LeakyReLU(0.2),
                layers.Dense(32),
                layers.LeakyReLU(0.2),
                layers.Dense(1),
            ]
        )
        self.d_loss, self.g_loss = keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    @property
    def metrics(self):
        return [self.d_loss, self.g_loss]

    def train_step(self, real):
        count = ops.shape(real)[0]
        ones, zeros = ops.ones((count, 1)), ops.zeros((count, 1))

        fake = self.generator(keras.random.normal((count, self.noise)))
        with keras.GradientTape() as tape:
            d_loss = self.loss_fn(ones, self.discriminator(real)) + self.loss_fn(
                zeros, self.discriminator(fake)
            )
        weights = self.discriminator.trainable_weights
        self.d_optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights))

        with keras.GradientTape() as tape:
            fake = self.generator(keras.random.normal((count, self.noise)))
            g_loss = self.loss_fn(ones, self.discriminator(fake))
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights))

        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {"d_loss": self.d_loss.result(), "g_loss": self.g_loss.result()}


def main(samples: int = 2048, epochs: int = 60) -> float:
    """Trains the network, and returns the mean distance of its points from the circle."""
    keras.utils.set_random_seed(1)
    angles = np.random.default_rng(1).uniform(0, 2 * np.pi, samples)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")
    gan = GAN()
    gan.compile(keras.optimizers.Adam(1e-3, beta_1=0.5), keras.optimizers.Adam(1e-3, beta_1=0.5))
    gan.fit(circle, batch_size=64, epochs=epochs, verbose=0)
    made = gan.generator.predict(keras.random.normal((500, gan.noise)), verbose=0)
    return float(np.mean(np.abs(np.linalg.norm(made, axis=1) - 1)))


if __name__ == "__main__":
    print(f"mean distance from the circle: {main():.3f}")
