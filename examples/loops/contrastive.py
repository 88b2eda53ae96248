"""Contrastive and triplet losses: an encoder moves points of one class together and others apart."""

import numpy as np

import engine as keras
from engine import layers, ops

MARGIN = 1.0


def contrastive_loss(same, distances):
    return ops.mean(
        same * ops.square(distances) + (1.0 - same) * ops.square(ops.maximum(MARGIN - distances, 0.0))
    )


def triplet_loss(anchor, positive, negative):
    near = ops.sum(ops.square(anchor - positive), axis=1)
    far = ops.sum(ops.square(anchor - negative), axis=1)
    return ops.mean(ops.maximum(near - far + MARGIN, 0.0))


def main(steps: int = 300, batch: int = 64, triplets: bool = True) -> float:
    """Trains an encoder of rings, and returns how often the nearest other point has the same class."""
    keras.utils.set_random_seed(6)
    rng = np.random.default_rng(6)
    labels = rng.integers(3, size=600)
    angles = rng.uniform(0, 2 * np.pi, 600)
    radius = labels + 1 + 0.1 * rng.normal(size=600)
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1).astype("float32")
    encoder = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(2),
        ]
    )
    optimizer = keras.optimizers.Adam(3e-3)
    places = [np.flatnonzero(labels == label) for label in range(3)]
    for _ in range(steps):
        anchors = rng.integers(600, size=batch)
        positives = np.array([rng.choice(places[labels[each]]) for each in anchors])
        negatives = np.array(
            [rng.choice(places[(labels[each] + rng.integers(1, 3)) % 3]) for each in anchors]
        )
        with keras.GradientTape() as tape:
            anchor, positive, negative = (encoder(points[each]) for each in (anchors, positives, negatives))
            if triplets:
                loss = triplet_loss(anchor, positive, negative)
            else:
                ends = ops.concatenate([positive, negative])
                distances = ops.norm(ops.concatenate([anchor, anchor]) - ends + 1e-6, axis=1)
                loss = contrastive_loss(np.repeat([1.0, 0.0], batch).astype("float32"), distances)
        weights = encoder.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
    codes = encoder.predict(points, verbose=0)
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=2) + np.diag(np.full(600, np.inf))
    return float(np.mean(labels[np.argmin(distances, axis=1)] == labels))


if __name__ == "__main__":
    print(f"nearest point of the same class: triplets {main():.3f}, pairs {main(triplets=False):.3f}")
