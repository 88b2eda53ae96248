"""Early stopping against overfitting: 2,000 images, of which the same share of every class is held out."""

import engine as keras

(x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train, y_train = x_train[:2000] / 255.0, y_train[:2000]
x_test = x_test / 255.0

print("patience  epochs  best val_loss  last val_loss  test loss  test accuracy")
for patience in (None, 2, 5):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Flatten(input_shape=(28, 28)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = []
    if patience is not None:
        callbacks = [keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True)]
    history = model.fit(
        x_train, y_train, epochs=40, validation_split=0.2, stratify=True, callbacks=callbacks, verbose=0
    )
    losses = history.history["val_loss"]
    test_loss, test_accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(
        f"{patience or 'never':>8}  {len(losses):6d}  {min(losses):13.4f}  {losses[-1]:13.4f}  {test_loss:9.4f}"
        f"  {test_accuracy:13.4f}"
    )
print(f"Test accuracy: {test_accuracy:.4f}")
