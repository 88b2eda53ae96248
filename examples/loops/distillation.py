"""Knowledge distillation: a small network learns the softened outputs of a large one (Hinton et al., 2015)."""

import numpy as np

import engine as keras
from engine import layers, ops


class Distiller(keras.Model):
    """A student with its teacher; `fit` trains the student."""

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.teacher.trainable = False

    def compile(self, optimizer, metrics, alpha: float = 0.3, temperature: float = 4.0):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.distillation_loss = keras.losses.KLDivergence()
        self.alpha, self.temperature = alpha, temperature

    def call(self, inputs, training=None):
        return self.student(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        soft = ops.softmax(self.teacher(x, training=False) / self.temperature, axis=1)
        own = ops.softmax(y_pred / self.temperature, axis=1)
        distilled = self.distillation_loss(soft, own) * self.temperature**2
        return self.alpha * self.student_loss(y, y_pred) + (1 - self.alpha) * distilled


def main(samples: int = 1500, epochs: int = 20) -> float:
    """Trains a teacher, then a student, and returns the accuracy of the student."""
    keras.utils.set_random_seed(7)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(samples, 10)).astype("float32")
    y = np.argmax(np.tanh(x @ rng.normal(size=(10, 16))) @ rng.normal(size=(16, 4)), axis=1)
    teacher = keras.Sequential([keras.Input((10,)), layers.Dense(128, activation="relu"), layers.Dense(4)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher.compile("adam", loss, metrics=["accuracy"])
    teacher.fit(x, y, epochs=2 * epochs, verbose=0)
    student = keras.Sequential([keras.Input((10,)), layers.Dense(12, activation="relu"), layers.Dense(4)])
    distiller = Distiller(student, teacher)
    distiller.compile(
        keras.optimizers.Adam(0.01), metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    )
    distiller.fit(x, y, epochs=epochs, verbose=0)
    return float(distiller.evaluate(x, y, verbose=0, return_dict=True)["accuracy"])


if __name__ == "__main__":
    print(f"accuracy of the student: {main():.3f}")
