"""Loading either succeeds completely or changes nothing, whichever array cannot be read."""

from __future__ import annotations

import copy
import io
import itertools
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, metrics, models, optimizers
from engine.saving.contents import Variables

FORMATS = [".npz", ".keras", ".safetensors", ".weights.h5", ".weights.json", ".h5"]


@keras.saving.register_keras_serializable("half")
class Scale(layers.Layer):
    """A custom layer that loads its weight, a number and a list one after the other."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((input_shape[-1],), "ones")
        self.seen, self.marks = 0, np.zeros(3)

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.factor, np.sum(upstream * inputs, axis=0)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        store["seen"], store["marks"] = np.array(self.seen), self.marks

    def load_own_variables(self, store: Any) -> None:
        self.factor.assign(store["0"])
        self.seen = int(store["seen"])
        self.marks[:] = store["marks"]


def network(seed: int, own: bool = True) -> keras.Sequential:
    """Returns a trained model with nested models, a custom layer, and weights that are not trained."""
    keras.utils.set_random_seed(seed)
    inner = keras.Sequential([layers.Dense(4, "relu"), layers.BatchNormalization()])
    end = [Scale()] if own else []
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4), inner, *end, layers.Dense(2)])
    model.compile(optimizers.Adam(0.01), "mse")
    for _ in range(3):
        model.train_on_batch(np.ones((2, 3), np.float32), np.ones((2, 2), np.float32))
    if own:
        model.layers[2].seen, model.layers[2].marks = seed, np.full(3, float(seed))
    return model


def everything(model: Any) -> list[Any]:
    own = [(layer.seen, layer.marks.tolist()) for layer in model.layers if isinstance(layer, Scale)]
    optimizer = [np.asarray(variable).tobytes() for variable in model.optimizer.variables]
    return [
        [array.tobytes() for array in model.get_weights()],
        optimizer,
        int(model.optimizer.iterations),
        own,
    ]


def save(model: Any, path: Path) -> None:
    if path.name.endswith(".weights.json"):
        model.save_weights(path, max_shard_size=100 / 2**30)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


class LargeArrayError(MemoryError):
    """A subclass of MemoryError, as NumPy has one."""


class Failing:
    """Makes the reading of the array with a certain number fail, counted from 1."""

    def __init__(self, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.error, read = sys.maxsize, error, Variables.__getitem__

        def failing(variables: Any, name: str) -> Any:
            self.left -= 1
            if self.left == 0:
                raise self.error
            return read(variables, name)

        monkeypatch.setattr(Variables, "__getitem__", failing)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), MemoryError),
        (LargeArrayError("Unable to allocate 4 TiB"), MemoryError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(1), SystemExit),
        (ValueError("damaged"), ValueError),
        (KeyError("0"), ValueError),
        (OSError(5, "Input/output error", "m"), OSError),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else type(each).__name__,
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_at_any_array(
    suffix: str, error: Any, expected: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, own = tmp_path / f"m{suffix}", suffix != ".h5"
    model, other = network(1, own), network(2, own)
    save(model, path)
    before, failing = everything(other), Failing(error, monkeypatch)
    loads = [other.load_weights] if "weights" in suffix else [other.load_weights, models.load_model]
    if suffix == ".keras":
        loads = loads[1:]
    for load in loads:
        for number in range(1, 100):
            failing.left = number
            raised: BaseException | None = None
            try:
                load(path)
            except BaseException as caught:  # also KeyboardInterrupt
                raised = caught
            assert isinstance(raised, expected) == (failing.left <= 0), raised
            assert raised is None or expected is not ValueError or path.name in str(raised)
            assert raised is None or expected is not MemoryError or isinstance(raised, MemoryError)
            assert everything(other) == before or failing.left > 0
            if failing.left > 0:  # there are no more arrays
                break
        assert 12 < number < 99
        failing.left = sys.maxsize
        other = network(2, own)


def test_memory_that_runs_out_while_a_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    model = network(1)
    model.save(tmp_path / "m.npz")
    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(MemoryError):
        model.load_weights(tmp_path / "m.npz")
    monkeypatch.undo()
    with monkeypatch.context() as patch:
        patch.setattr("engine.saving.model_config.json.loads", fail)
        with pytest.raises(MemoryError):
            models.load_model(tmp_path / "m.npz")
        with pytest.raises(MemoryError):
            models.model_from_json("{}")


def archives(path: Path, *wrong: Any) -> Iterator[tuple[str, bytes]]:
    """Yields the archive at `path` with each array in turn replaced by a wrong one, and the name of that array."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name in contents if name.endswith(".npy") and not name.startswith("engine/")]
    for changed, array in itertools.product(names, wrong):
        damaged, buffer = io.BytesIO(), io.BytesIO()
        np.save(damaged, array)
        with zipfile.ZipFile(buffer, "w") as new:
            for name, content in contents.items():
                new.writestr(name, damaged.getvalue() if name == changed else content)
        yield changed, buffer.getvalue()


def test_one_array_that_is_wrong(tmp_path: Path) -> None:
    model, other = network(1), network(2)
    model.save(tmp_path / "m.npz")
    before, count = everything(other), 0
    for name, content in archives(tmp_path / "m.npz", np.zeros((7, 1, 2)), np.array("text")):
        (tmp_path / "n.npz").write_bytes(content)
        count += 1
        with pytest.raises(ValueError, match=r"n\.npz"):
            other.load_weights(tmp_path / "n.npz")
        assert everything(other) == before, name
    assert count > 40


def test_a_layer_that_is_passed_over_is_as_it_was(tmp_path: Path) -> None:
    """With `skip_mismatch`, a skipped custom layer keeps its weight and its other state."""
    model = network(1)
    model.save(tmp_path / "m.npz")
    expected = everything(network(2))
    for name, content in archives(tmp_path / "m.npz", np.zeros((7, 1, 2))):
        if name.startswith("layers/scale"):
            (tmp_path / "n.npz").write_bytes(content)
            other = network(2)
            with pytest.warns(UserWarning, match="A total of 1 objects could not be loaded"):
                other.load_weights(tmp_path / "n.npz", skip_mismatch=True)
            assert other.layers[2].get_weights()[0].tobytes() in expected[0]
            assert everything(other)[3] == expected[3]
            assert np.array_equal(other.layers[0].get_weights()[0], model.layers[0].get_weights()[0])


def test_warnings_that_are_errors(tmp_path: Path) -> None:
    model, other = network(1), keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(5)])
    model.save(tmp_path / "m.npz")
    before = other.get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="could not be loaded"):
            other.load_weights(tmp_path / "m.npz", skip_mismatch=True)
    assert all(map(np.array_equal, other.get_weights(), before))


def test_weights_that_are_set() -> None:
    model = network(1)
    before, weights = everything(model), model.get_weights()
    wrong: Any
    for number in range(len(weights)):
        for wrong in (
            np.zeros((9, 9)),
            "text",
            None,
            np.full(weights[number].shape, 1e300),
            1j * weights[number],
        ):
            changed = [2 * array for array in weights]
            changed[number] = wrong
            with pytest.raises((TypeError, ValueError)):
                model.set_weights(changed)
            assert everything(model) == before
    for layer in (model.layers[0], model.layers[1], model.layers[1].layers[1]):
        weights = layer.get_weights()
        for number in range(len(weights)):
            changed = [2 * array for array in weights]
            changed[number] = np.zeros((9, 9))
            with pytest.raises(ValueError, match="shape"):
                layer.set_weights(changed)
            store = {str(place): array for place, array in enumerate(changed)}
            if isinstance(layer, layers.Layer):
                with pytest.raises(ValueError, match="shape"):
                    layer.load_own_variables(store)
                del store[str(number)]
                with pytest.raises((KeyError, ValueError)):
                    layer.load_own_variables(store | {"more": weights[0]})
            assert everything(model) == before


class Unreadable(dict[str, Any]):
    """A store in which one array cannot be read."""

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            msg = "damaged"
            raise ValueError(msg)
        return super().__getitem__(name)


def test_the_state_of_an_optimizer() -> None:
    model = network(1)
    optimizer, before = model.optimizer, everything(model)
    store: dict[str, Any] = {}
    optimizer.save_own_variables(store)
    doubled = {name: 2 * array for name, array in store.items()}
    for name, value in store.items():
        for wrong in (np.zeros((9, 9)), np.full(np.shape(value), "text"), None):
            with pytest.raises((TypeError, ValueError)):
                optimizer.load_own_variables(Unreadable(doubled | {name: wrong}))
            assert everything(model) == before, name
    with pytest.raises(ValueError, match="damaged"):
        optimizer.load_own_variables(doubled, Unreadable({"0": None}))
    assert everything(model) == before


class Pair(metrics.Metric):
    """A metric with two variables."""

    def __init__(self) -> None:
        super().__init__("pair")
        self.first, self.second = self.add_variable((2,)), self.add_variable((2,))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.first.assign(self.first + 1)

    def result(self) -> Any:
        return self.first[0]


def test_what_metrics_have_added_up() -> None:
    metric = Pair()
    for second in (np.zeros(3), "text"):
        with pytest.raises(ValueError, match=r"broadcast|could not convert|shape"):
            metric.load_own_variables({"0": np.ones(2), "1": second})
        assert not metric.first.numpy().any()
    with pytest.raises(KeyError):
        metric.load_own_variables({"0": np.ones(2)})
    assert not metric.first.numpy().any()

    class Own(metrics.Accuracy):
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            super().update_state(y_true, y_pred, sample_weight)

    own = Own()
    own.update_state([1, 2], [1, 3])
    before = own.result()
    with pytest.raises(IndexError):
        own.load_own_variables({"state": np.zeros(2)})
    assert own.result() == before


def test_what_a_model_is_compiled_with() -> None:
    model = network(1)
    before, config = everything(model), model.get_compile_config()
    wrong: Any
    for name, wrong in (
        ("optimizer", "none"),
        ("optimizer", {"class_name": "Adam", "config": {"learning_rate": -1}}),
        ("loss", "none"),
        ("loss", 3),
        ("metrics", ["none"]),
        ("metrics", 3),
        ("weighted_metrics", ["mse", {"class_name": "none"}]),
        ("loss_weights", "much"),
        ("steps_per_execution", -1),
    ):
        with pytest.raises((TypeError, ValueError)):
            model.compile_from_config(copy.deepcopy(config) | {name: wrong})
        assert everything(model) == before, name
        assert model.get_compile_config() == config, name


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".weights.h5", ".h5"])
def test_what_is_no_such_file_is_said_alike(suffix: str, tmp_path: Path) -> None:
    model, path = network(1), tmp_path / f"m{suffix}"
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(FileNotFoundError, match=r"(?i)no such file"):
        model.load_weights(path)
    with pytest.raises(IsADirectoryError):
        model.load_weights(tmp_path / f"folder{suffix}")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=path.name):
        model.load_weights(path)
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(ValueError, match=path.name):
        model.load_weights(path)


def test_errors_of_safetensors_are_no_errors_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors

    from engine.saving import _safetensors

    model, path = keras.Sequential([keras.Input((2,)), layers.Dense(2)]), tmp_path / "m.safetensors"
    model.save_weights(path)
    reader = _safetensors.SafeTensors().open
    with reader(path) as file:
        stored = file.group("layers/dense").stored["0"]

        class Broken:
            def __getattr__(self, name: str) -> Any:
                raise safetensors.SafetensorError(name)

        monkeypatch.setattr(file, "_file", Broken())
        for use in (stored.read, lambda: file.group("layers/dense")):
            with pytest.raises(ValueError, match="this is no file of safetensors, or a part of one: get_"):
                use()
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="this is no file of safetensors"), reader(path):
        pass
