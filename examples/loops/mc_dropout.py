"""Monte Carlo dropout: how much predictions with dropout differ tells how uncertain they are (Gal, 2016)."""

import numpy as np

import engine as keras
from engine import layers, ops


class Uncertain(keras.Model):
    """A model whose predictions are means and standard deviations over draws of dropout."""

    draws = 50

    def predict_step(self, data):
        outputs = ops.stack([self(data, training=True) for _ in range(self.draws)])
        return {"mean": ops.mean(outputs, axis=0), "deviation": ops.std(outputs, axis=0)}


def main(epochs: int = 200) -> float:
    """Trains on points in [-2, 2], and returns how many times the deviation is larger outside than inside."""
    keras.utils.set_random_seed(9)
    rng = np.random.default_rng(9)
    x = rng.uniform(-2, 2, (400, 1)).astype("float32")
    y = np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)
    inputs = keras.Input((1,))
    hidden = layers.Dropout(0.1)(layers.Dense(64, activation="relu")(inputs))
    hidden = layers.Dropout(0.1)(layers.Dense(64, activation="relu")(hidden))
    model = Uncertain(inputs, layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.003), "mse")
    model.fit(x, y, epochs=epochs, verbose=0)
    inside = model.predict(np.linspace(-2, 2, 50)[:, None], verbose=0)["deviation"]
    outside = model.predict(np.linspace(4, 6, 50)[:, None], verbose=0)["deviation"]
    return float(outside.mean() / inside.mean())


if __name__ == "__main__":
    print(f"deviation outside over inside: {main():.2f}")
