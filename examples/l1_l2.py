"""Penalties on weights against overfitting: 2,000 images, a fifth of them with wrong labels."""

import numpy as np

import engine as keras

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train, y_train = x_train[:2000] / 255.0, y_train[:2000]
x_test = x_test / 255.0
rng = np.random.default_rng(0)
wrong = rng.random(len(y_train)) < 0.2
y_train = np.where(wrong, rng.integers(0, 10, len(y_train)), y_train)

penalties = {
    "none": None,
    "l1": keras.regularizers.L1(1e-3),
    "l2": keras.regularizers.L2(1e-2),
}
print("penalty  training  test    gap     weights below 0.001")
for name, penalty in penalties.items():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(256, activation="relu", kernel_regularizer=penalty),
            keras.layers.Dense(10, activation="softmax", kernel_regularizer=penalty),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=30, verbose=0)
    training_loss, training_accuracy = model.evaluate(x_train, y_train, verbose=0)
    test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
    gap = training_accuracy - test_accuracy
    small = (abs(model.layers[1].get_weights()[0]) < 0.001).mean()
    print(f"{name:>7}  {training_accuracy:8.4f}  {test_accuracy:.4f}  {gap:.4f}  {small:19.1%}")
print(f"Test accuracy: {test_accuracy:.4f}")
