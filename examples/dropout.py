"""Dropout against overfitting: the same network with three rates, on 2,000 images."""

import engine as keras

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train, y_train = x_train[:2000] / 255.0, y_train[:2000]
x_test = x_test / 255.0

print("dropout  training  test   gap")
for rate in (0.0, 0.2, 0.5):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dropout(rate),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=30, verbose=0)
    training_loss, training_accuracy = model.evaluate(x_train, y_train, verbose=0)
    test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
    gap = training_accuracy - test_accuracy
    print(f"{rate:7.1f}  {training_accuracy:8.4f}  {test_accuracy:.4f}  {gap:.4f}")
print(f"Test accuracy: {test_accuracy:.4f}")
