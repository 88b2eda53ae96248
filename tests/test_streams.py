"""Tests of batches from generators, iterables, and data sets that are read by number."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import FEATURES, Blobs, classifier, same_weights, trained

import engine as keras


def batches(blobs: Blobs, size: int = 32, weights: Any = None) -> Iterator[Any]:
    for begin in range(0, 150, size):
        part = slice(begin, begin + size)
        yield (
            (blobs.x[part], blobs.y[part])
            if weights is None
            else (blobs.x[part], blobs.y[part], weights[part])
        )


class Numbered(keras.utils.PyDataset):
    """Batches of 32 that are read by number."""

    def __init__(self, blobs: Blobs, **options: Any) -> None:
        super().__init__(**options)
        self.blobs = blobs
        self.told: list[str] = []

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return list(batches(self.blobs))[index]

    def on_epoch_begin(self) -> None:
        self.told.append("begin")

    def on_epoch_end(self) -> None:
        self.told.append("end")


class Old:
    """A data set that has no base class."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return list(batches(self.blobs))[index]


class Again:
    """An iterable that can be iterated again."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs

    def __iter__(self) -> Iterator[Any]:
        return batches(self.blobs)


STREAMS: dict[str, Callable[[Blobs], Any]] = {
    "numbered": Numbered,
    "by threads": lambda blobs: Numbered(blobs, workers=3, max_queue_size=2),
    "old": Old,
    "again": Again,
    "lists": lambda blobs: map(list, batches(blobs)),
    "generator": batches,
}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_train_as_arrays_do(kind: str, blobs: Blobs) -> None:
    epochs = 1 if kind in ("generator", "lists") else 3
    expected = trained(blobs.x, blobs.y, shuffle=False, epochs=epochs, validation_data=(blobs.x, blobs.y))
    model = trained(STREAMS[kind](blobs), shuffle=False, epochs=epochs, validation_data=STREAMS[kind](blobs))
    assert same_weights(model, expected)
    for name, values in expected.history.history.items():
        assert model.history.history[name] == pytest.approx(values)
    assert model.history.params["steps"] == (5 if kind in ("numbered", "by threads", "old") else None)
    assert model.evaluate(STREAMS[kind](blobs)) == pytest.approx(model.evaluate(blobs.x, blobs.y))
    assert np.array_equal(model.predict(STREAMS[kind](blobs)), model.predict(blobs.x))
    assert np.array_equal(model.predict(STREAMS[kind](blobs), steps=2), model.predict(blobs.x[:64]))


def test_processes_fetch_batches(blobs: Blobs) -> None:
    data = Numbered(blobs, workers=2, use_multiprocessing=True)
    assert same_weights(trained(data, shuffle=False), trained(blobs.x, blobs.y, shuffle=False))


def test_numbered_batches_are_shuffled_and_told(blobs: Blobs) -> None:
    data = Numbered(blobs)
    model = trained(data)
    assert data.told == ["begin", "end"] * 2
    assert not same_weights(model, trained(data, shuffle=False))
    assert same_weights(model, trained(data))


def test_a_model_is_built_by_its_first_batch(blobs: Blobs) -> None:
    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    seen: list[int] = []

    def counted() -> Iterator[Any]:
        for number, batch in enumerate(batches(blobs)):
            seen.append(number)
            yield batch

    model.fit(counted(), verbose=0)
    assert model.input_shape == (None, FEATURES)
    assert seen == [0, 1, 2, 3, 4]
    assert model.optimizer.iterations == 5


def test_steps_of_generators(blobs: Blobs) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield from batches(blobs)

    stream = endless()
    model = trained(stream, steps_per_epoch=2, epochs=3, validation_data=endless(), validation_steps=1)
    assert model.optimizer.iterations == 6
    assert model.history.params["steps"] == 2
    assert np.array_equal(next(stream)[0], blobs.x[32:64])
    assert model.history.history["val_loss"][0] != model.history.history["val_loss"][1]
    assert model.evaluate(endless(), steps=2) == pytest.approx(model.evaluate(blobs.x[:64], blobs.y[:64]))


def test_the_end_of_a_generator_ends_training_with_a_warning(blobs: Blobs) -> None:
    with pytest.warns(UserWarning, match="Your input ran out of data; interrupting training"):
        model = trained(batches(blobs), epochs=3)
    assert model.history.epoch == [0]
    with (
        pytest.warns(UserWarning, match="`steps_per_epoch=3` asks for more batches than the data has left"),
        pytest.warns(UserWarning, match="Your input ran out"),
    ):
        model = trained(batches(blobs), epochs=3, steps_per_epoch=3)
    assert model.optimizer.iterations == 5
    with pytest.raises(ValueError, match="`x`, of type generator, yields no batches"):
        trained(iter(()) if False else (batch for batch in ()))


def test_weights_in_streams(blobs: Blobs) -> None:
    weights = np.linspace(0, 2, 150)
    expected = trained(
        blobs.x, blobs.y, sample_weight=weights, class_weight={1: 3.0}, shuffle=False, epochs=1
    )
    assert same_weights(trained(batches(blobs, weights=weights), class_weight={1: 3.0}, epochs=1), expected)


def test_batches_of_changing_sizes(blobs: Blobs) -> None:
    cuts = [0, 5, 70, 71, 150]
    parts = [(blobs.x[a:b], blobs.y[a:b]) for a, b in pairwise(cuts)]
    model = trained(iter(parts), epochs=1)
    by_hand = trained(blobs.x, blobs.y, epochs=0)
    for x, y in parts:
        by_hand.train_on_batch(x, y)
    assert same_weights(model, by_hand)


def test_hooks_see_batches_of_streams(blobs: Blobs) -> None:
    seen: list[int] = []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    trained(Again(blobs), callbacks=[note])
    assert seen == [0, 1, 2, 3, 4] * 2


def test_mistakes_in_streams_leave_the_last_good_step(blobs: Blobs) -> None:
    def broken(**changes: Any) -> Iterator[Any]:
        for number, (x, y) in enumerate(batches(blobs)):
            yield changes.get("batch", (changes.get("x", x), changes.get("y", y))) if number == 2 else (x, y)

    holed = blobs.x[:32].copy()
    holed[4, 1] = np.nan
    cases: list[tuple[dict[str, Any], str]] = [
        ({"x": holed}, "`batch 2 x` must be finite .* but row 4 holds nan"),
        ({"x": blobs.x[:32, :5]}, r"`batch 2 x` must have shape \(n, 6\), got \(32, 5\)"),
        ({"y": np.full(32, 7)}, "`batch 2 y` must hold class indices in .* row 0 holds 7"),
        ({"y": blobs.y[:3]}, "`batch 2 x` has 32 samples but `batch 2 y` has 3"),
        ({"batch": blobs.x[:32]}, r"`batch 2 of x` must be \(x, y\) or \(x, y, sample_weight\), got ndarray"),
        ({"batch": (1, 2, 3, 4)}, "`batch 2 of x` must be .*, got 4 part"),
    ]
    for changes, message in cases:
        model = classifier()
        with pytest.raises((ValueError, TypeError), match=message):
            model.fit(broken(**changes), verbose=0)
        assert model.optimizer.iterations == 2
        model.fit(blobs.x, blobs.y, verbose=0)
    with pytest.raises(ValueError, match="`validation batch 2 y` must hold"):
        classifier().fit(blobs.x, blobs.y, validation_data=broken(y=np.full(32, 7)), verbose=0)
    model = classifier()
    with pytest.raises(ValueError, match="`validation batch 0 y` must hold"):
        model.fit(blobs.x, blobs.y, validation_data=iter([(blobs.x, blobs.y + 7)]), verbose=0)
    with pytest.raises(ValueError, match=r"`validation x`, of type .*, yields no batches"):
        model.fit(blobs.x, blobs.y, validation_data=iter(()), verbose=0)
    assert model.optimizer.iterations == 0
    with pytest.raises(ZeroDivisionError):
        classifier().fit(((1 / 0, 1) for _ in range(3)), verbose=0)


def test_arguments_beside_streams(blobs: Blobs) -> None:
    model = classifier()
    for name, value in (("y", blobs.y), ("sample_weight", np.ones(150))):
        with pytest.raises(
            ValueError, match=f"`{name}` must not be given beside an `x` that yields batches, here"
        ):
            model.fit(batches(blobs), **{name: value})
    with pytest.raises(ValueError, match="`validation_split` needs samples whose number is known"):
        model.fit(batches(blobs), validation_split=0.1)
    with pytest.raises(ValueError, match="`class_weight='balanced'` needs all labels at once"):
        model.fit(batches(blobs), class_weight="balanced")
    with pytest.raises(ValueError, match="`out` needs samples whose number is known"):
        model.predict(batches(blobs), out=np.empty((150, 3), np.float32))
    assert model.optimizer.iterations == 0


def test_py_dataset_needs_a_number() -> None:
    class Endless(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index: int) -> Any:
            return np.ones((2, FEATURES)), np.zeros(2)

    class Unfinished(keras.utils.PyDataset):
        def __getitem__(self, index: int) -> Any:
            return None

    model = trained(Endless(), steps_per_epoch=4)
    assert model.optimizer.iterations == 8
    with pytest.raises(NotImplementedError, match="Unfinished must have `__len__`"):
        trained(Unfinished())
    assert len(list(zip(range(3), Endless(), strict=False))) == 3


def test_loaders_of_torch(blobs: Blobs) -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(blobs.x), torch.from_numpy(blobs.y))
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    assert same_weights(trained(loader), trained(blobs.x, blobs.y, shuffle=False))


def test_an_evaluation_without_data_says_so(blobs: Blobs) -> None:
    class Shrinking(keras.utils.PyDataset):
        """Has no batches after the first epoch."""

        length = 1

        def __len__(self) -> int:
            return self.length

        def __getitem__(self, index: int) -> Any:
            return blobs.x[:32], blobs.y[:32]

        def on_epoch_end(self) -> None:
            self.length = 0

    with pytest.raises(ValueError, match="this evaluation yielded batches before, but no more now"):
        trained(Numbered(blobs), validation_data=Shrinking(), epochs=2)


class Watched(keras.utils.PyDataset):
    """Five batches; `alive` tells which of those that it has made still exist."""

    def __init__(self, count: int = 5) -> None:
        super().__init__()
        self.count, self.made = count, list[Any]()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        x = np.full((4, 3), index, np.float32)
        self.made.append(weakref.ref(x))
        return x, np.zeros((4, 1), np.float32)

    @property
    def alive(self) -> int:
        gc.collect()
        return sum(each() is not None for each in self.made)


@pytest.mark.parametrize("own_step", [False, True])
@pytest.mark.parametrize("form", ["generator", "iterable", "data set"])
def test_each_batch_is_freed_when_the_next_one_is_trained(form: str, own_step: bool) -> None:
    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

        if own_step:

            def train_step(self, data: Any) -> Any:
                return super().train_step(data)

    class Iterable:
        def __iter__(self) -> Iterator[Any]:
            return (data[index] for index in range(5))

    data, alive = Watched(), list[int]()
    model = Model()
    model.compile("sgd", "mse")
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: alive.append(data.alive))
    given = {"generator": (data[index] for index in range(10)), "iterable": Iterable(), "data set": data}[
        form
    ]
    steps = 5 if form == "generator" else None
    model.fit(given, epochs=2, steps_per_epoch=steps, verbose=0, callbacks=[seen])
    assert alive == [1] * 10


def test_a_data_set_without_batches_is_refused_plainly() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="`x`, of type Watched, yields no batches"):
            call(Watched(0), verbose=0)
    with pytest.raises(ValueError, match="`validation x`, of type Watched, yields no batches"):
        model.fit(Watched(), validation_data=Watched(0), verbose=0)
