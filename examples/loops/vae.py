"""A variational autoencoder with reparametrisation, whose `train_step` adds two losses."""

import numpy as np

import engine as keras
from engine import layers, ops


class Sampling(layers.Layer):
    """Draws from the normal distributions with these means and logarithms of variances."""

    def __init__(self, seed: int = 5):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        mean, log_var = inputs
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * noise


class VAE(keras.Model):
    """Encoder and decoder of points of some width, with a hidden space of another."""

    def __init__(self, width: int, hidden: int = 2):
        super().__init__()
        inputs = keras.Input((width,))
        x = layers.Dense(32, activation="relu")(inputs)
        mean, log_var = layers.Dense(hidden)(x), layers.Dense(hidden)(x)
        self.encoder = keras.Model(inputs, [mean, log_var, Sampling()([mean, log_var])])
        self.decoder = keras.Sequential(
            [keras.Input((hidden,)), layers.Dense(32, activation="relu"), layers.Dense(width)]
        )
        names = ("loss", "reconstruction_loss", "kl_loss")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self):
        return list(self.trackers.values())

    def train_step(self, data):
        with keras.GradientTape() as tape:
            mean, log_var, code = self.encoder(data)
            reconstruction = ops.mean(ops.sum(ops.square(data - self.decoder(code)), axis=1))
            kl = -0.5 * ops.mean(ops.sum(1 + log_var - ops.square(mean) - ops.exp(log_var), axis=1))
            loss = reconstruction + 0.1 * kl
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        for tracker, value in zip(self.metrics, (loss, reconstruction, kl)):
            tracker.update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}


def main(samples: int = 1024, epochs: int = 60) -> float:
    """Trains on points near a plane, and returns the reconstruction loss over the variance of the points."""
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(5)
    points = (
        rng.normal(size=(samples, 2)) @ rng.normal(size=(2, 8)) + 0.05 * rng.normal(size=(samples, 8))
    ).astype("float32")
    vae = VAE(8)
    vae.compile(optimizer=keras.optimizers.Adam(3e-3))
    history = vae.fit(points, epochs=epochs, batch_size=64, verbose=0)
    return history.history["reconstruction_loss"][-1] / float(points.var(axis=0).sum())


if __name__ == "__main__":
    print(f"part of the variance that is lost: {main():.3f}")
