"""Scripts of TensorFlow with `import engine.tensorflow as tf`: each function, tensors, data sets, checkpoints, loops."""

from __future__ import annotations

import importlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_cases

import engine as keras
import engine.tensorflow as tf

RESULTS = json.loads((Path(__file__).parent / "tensorflow_results.json").read_text(encoding="utf-8"))
SUBMODULES = [
    "config",
    "data",
    "debugging",
    "distribute",
    "errors",
    "io",
    "linalg",
    "math",
    "nn",
    "random",
    "saved_model",
    "strings",
    "summary",
    "train",
]
RNG = np.random.default_rng(8)


# Functions


def assert_alike(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict) and "values" in wanted:
        assert (found["dtype"], found["shape"]) == (wanted["dtype"], wanted["shape"])
        if wanted["dtype"] in ("string", "bool"):
            assert found["values"] == wanted["values"]
        else:
            numbers = [np.asarray(each["values"], np.float64) for each in (found, wanted)]
            np.testing.assert_allclose(*numbers, rtol=2e-5, atol=2e-6)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_alike(one, other)
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for name in wanted:
            assert_alike(found[name], wanted[name])
    else:
        assert found == wanted


@pytest.mark.parametrize("case", tensorflow_cases.cases())
def test_result_is_that_of_tensorflow(case: str) -> None:
    """The results were written by TensorFlow 2.21 (`python tests/tensorflow_cases.py`)."""
    found = eval(case, tensorflow_cases.arrays(tf))
    assert_alike(json.loads(json.dumps(tensorflow_cases.described(found))), RESULTS[case])


def test_results_are_still_those_of_tensorflow() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    for case, found in tensorflow_cases.results(tensorflow).items():
        assert_alike(json.loads(json.dumps(found)), RESULTS[case])


def test_every_function_is_tested() -> None:
    texts = tensorflow_cases.CASES + Path(__file__).read_text(encoding="utf-8")
    called = set(re.findall(r"\btf\.((?:\w+\.)*\w+)", texts))
    # A function of `tf.math` may be called by its name in `tf` or `tf.nn` as well.
    called = {part for name in called for part in name.split(".")}
    missing = list[str]()
    for prefix in ("", *(f"{each}." for each in SUBMODULES)):
        module = importlib.import_module(f"engine.tensorflow.{prefix}".rstrip("."))
        names = [] if prefix == "errors." else module.__all__  # classes of Python
        missing += [f"tf.{prefix}{n}" for n in names if callable(getattr(module, n)) and n not in called]
    assert missing == []


def in_a_function(expression: str, *names: str) -> Callable[..., Any]:
    def function(*values: Any) -> Any:
        return eval(expression, {"tf": tf, "np": np, **dict(zip(names, values, strict=True))})

    return function


@pytest.mark.parametrize(
    "expression",
    [
        "tf.reduce_sum(tf.square(x - y))",
        "tf.reduce_mean(x * y, axis=0)",
        "tf.nn.softmax(tf.matmul(x, y, transpose_b=True))",
        "tf.concat([x, tf.nn.relu(y)], axis=1)",
        "tf.gather(x, [2, 0], axis=1)",
        "tf.gather(x, [[1], [0], [2]], batch_dims=1)",
        "tf.gather_nd(x, [[0, 1], [2, 3]])",
        "tf.reshape(x, [tf.shape(x)[1], -1]) + 1",
        "tf.where(x > 0, x, tf.zeros_like(x)) / (1 + y ** 2)",
        "tf.one_hot(tf.argmax(x, axis=1), 4) * y",
        "tf.stack([x, y])[0, 1:, ::2]",
        "tf.clip_by_value(x, -0.5, 0.5)",
        "tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(x > 0, tf.float32), logits=y)",
        "tf.math.cumsum(x, axis=1, exclusive=True, reverse=True)",
        "tf.math.l2_normalize(x, axis=1)",
        "tf.tensor_scatter_nd_add(x, [[0]], [[1.0, 2.0, 3.0, 4.0]])",
        "tf.linalg.band_part(x, 0, -1)",
        "tf.pad(x, [[1, 0], [0, 2]])",
        "tf.split(x, [1, 3], axis=1)[1] @ tf.ones((3, 2))",
        "tf.einsum('ij,kj->ik', x, y)",
        "tf.norm(x, axis=1)",
        "tf.unstack(x)[0] + tf.reverse(y, [1])[1]",
        "tf.math.unsorted_segment_sum(x, [1, 0, 1], 2)",
        "tf.nn.moments(x, [0])[1]",
    ],
)
def test_compiled_and_derived(expression: str) -> None:
    """The same numbers at once and in `tf.function`, and the derivative by differences."""
    x, y = (tf.constant(RNG.normal(size=(3, 4)).astype(np.float32)) for _ in range(2))
    function = in_a_function(expression, "x", "y")
    compiled = tf.function(function)
    at_once, later = function(x, y), compiled(x, y)
    assert compiled.refusal is None
    assert isinstance(later, tf.Tensor)
    np.testing.assert_allclose(later.numpy(), at_once.numpy(), rtol=1e-5, atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(function(x, y) * 1.0)
    gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO).numpy()
    direction = RNG.normal(size=x.shape)
    ends = [
        np.sum(np.asarray(function(tf.constant(np.float64(x) + h * direction), y), np.float64))
        for h in (1e-4, -1e-4)
    ]
    np.testing.assert_allclose(np.sum(gradient * direction), (ends[0] - ends[1]) / 2e-4, rtol=2e-3, atol=2e-3)


# Tensors and variables


def test_texts_of_tensors() -> None:
    assert repr(tf.constant([1.0, 2.0])) == "<tf.Tensor: shape=(2,), dtype=float32, numpy=[1., 2.]>"
    assert repr(tf.constant(3)) == "<tf.Tensor: shape=(), dtype=int32, numpy=3>"
    assert str(tf.constant([1, 2])) == "tf.Tensor([1 2], shape=(2,), dtype=int32)"
    assert f"{tf.constant(1.25):.1f}" == "1.2"


def test_fractions_beside_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"int32 meets 1\.5.*tf\.cast"):
        tf.constant([1, 2]) + 1.5
    with pytest.raises(TypeError, match="unhashable"):
        hash(tf.constant(1))
    one = tf.constant(1)
    assert {one.ref(): 2}[one.ref()] == 2
    assert one.ref().deref() is one


def test_what_is_a_tensor_or_a_variable() -> None:
    layer = tf.keras.layers.Dense(2)
    with tf.GradientTape() as tape:
        recorded = layer(np.ones((1, 3))) * 2
    assert tape.watched_variables()
    for value in (tf.constant(1), layer(np.ones((1, 3))), recorded, tf.keras.Input((2,))):
        assert isinstance(value, tf.Tensor)
    assert not isinstance(np.ones(2), tf.Tensor)
    assert isinstance(layer.kernel, tf.Variable)
    assert not isinstance(layer(np.ones((1, 3))), tf.Variable)


def test_a_linear_regression_with_variables() -> None:
    x = np.linspace(-1, 1, 50).astype(np.float32)
    y = 3 * x + 2
    w, b = tf.Variable(0.0, name="w"), tf.Variable(tf.zeros(()), name="b")
    losses = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(w * x + b - y))
        dw, db = tape.gradient(loss, [w, b])
        w.assign_sub(0.3 * dw)
        b.assign_sub(0.3 * db)
        losses.append(loss.numpy())
    assert losses[-1] < 1e-4 < losses[0]
    assert w.numpy() == pytest.approx(3, abs=0.02)
    assert isinstance((w + 1), tf.Tensor)


class Linear(tf.Module):
    def __init__(self) -> None:
        super().__init__(name="linear")
        self.w = tf.Variable(tf.random.normal([3, 2]), name="w")
        self.parts = [tf.Variable(tf.zeros([2])), {"frozen": tf.Variable(1.0, trainable=False)}]
        self.dense = keras.layers.Dense(1)

    @tf.function
    def __call__(self, x: Any) -> Any:
        return self.dense(tf.matmul(x, self.w) + self.parts[0])


def test_modules_collect_their_variables() -> None:
    module = Linear()
    outputs = module(tf.ones((4, 3)))
    assert outputs.shape.as_list() == [4, 1]
    assert module.name == "linear"
    assert len(module.variables) == 5
    assert len(module.trainable_variables) == 4
    assert [each.shape for each in module.non_trainable_variables] == [()]
    assert module.submodules == (module.dense,)
    optimizer = tf.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(module(tf.ones((4, 3))) ** 2)
    before = module.w.numpy()
    optimizer.apply_gradients(
        zip(tape.gradient(loss, module.trainable_variables), module.trainable_variables, strict=True)
    )
    assert not np.array_equal(before, module.w.numpy())


# Compiled functions


def test_functions_that_need_numbers_run_as_they_are_written() -> None:
    @tf.function(autograph=True)
    def positive(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            return x
        return -x

    with pytest.warns(UserWarning, match="can't be compiled"):
        assert positive(tf.constant([-1.0])).numpy() == 1
    assert positive(tf.constant([2.0])).numpy() == 2


def test_lengths_that_vary_are_compiled_once() -> None:
    recorded = []

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    def total(x: Any) -> Any:
        recorded.append(1)
        return tf.reduce_sum(x * x, axis=1)

    for length in (1, 4, 2, 7, 9):
        assert total(tf.ones((length, 2))).numpy().tolist() == [2.0] * length
    assert len(recorded) < 5
    assert total.get_concrete_function(tf.TensorSpec([None, 2])) is total


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    tf.print("loss:", tf.constant(1.5), [tf.constant([1, 2])], tf.range(9), sep=" ", output_stream=sys.stdout)
    assert capsys.readouterr().out == "loss: 1.5 [[1 2]] [0 1 2 ... 6 7 8]\n"


def test_derivatives_of_ones_own() -> None:
    @tf.custom_gradient
    def doubled(x: Any) -> Any:
        return x * 2, lambda upstream: upstream * 7

    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(doubled(x))
    assert tape.gradient(y, x).numpy().tolist() == [7, 7]


# Data sets


def test_a_data_set_trains_as_its_arrays() -> None:
    x = RNG.normal(size=(70, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)

    def trained(*data: Any, **options: Any) -> Any:
        tf.random.set_seed(3)
        model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
        model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = model.fit(*data, epochs=2, verbose=0, **options)
        return [*model.get_weights(), history.history["loss"]]

    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16).prefetch(tf.data.AUTOTUNE)
    by_map = tf.data.Dataset.from_tensor_slices((x / 2, y)).map(lambda a, b: (a * 2, b)).batch(16)
    wanted = trained(x, y, batch_size=16, shuffle=False)
    for found in (trained(data), trained(by_map), trained(data.repeat(), steps_per_epoch=5)):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_orders_of_data_sets() -> None:
    rows = tf.data.Dataset.range(40)
    as_list = lambda data: [int(n) for n in data]  # noqa: E731
    tf.random.set_seed(1)
    shuffled = rows.shuffle(40)
    first, second = as_list(shuffled), as_list(shuffled)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(40))
    tf.random.set_seed(1)
    assert as_list(rows.shuffle(40)) == first
    fixed = rows.shuffle(5, seed=2, reshuffle_each_iteration=False)
    assert as_list(fixed) == as_list(fixed) != list(range(40))
    assert all(value <= place + 5 for place, value in enumerate(as_list(fixed)))
    assert (
        as_list(rows.shuffle(40, seed=1).take(30).batch(7).unbatch())
        == as_list(rows.shuffle(40, seed=1))[:30]
    )
    assert rows.shuffle(3).repeat(2).batch(16).cardinality() == 5
    with pytest.raises(TypeError, match="endless"):
        len(rows.repeat())
    with pytest.raises(ValueError, match="same length"):
        tf.data.Dataset.from_tensor_slices(([1, 2], [1, 2, 3]))
    with pytest.raises(ValueError, match="at least 1"):
        rows.batch(0)
    with pytest.raises(ValueError, match="more than one"):
        rows.get_single_element()
    assert rows.batch(8).element_spec == tf.TensorSpec([8], tf.int64)
    assert isinstance(rows.with_options(tf.data.Options()), tf.data.Dataset)
    assert tf.data.experimental.cardinality(rows) == 40


def test_lines_and_files(tmp_path: Path) -> None:
    tf.io.write_file(f"{tmp_path}/texts/a.txt", "one\ntwo\r\n")
    tf.io.write_file(f"{tmp_path}/texts/b.txt", "three")
    files = tf.data.Dataset.list_files(f"{tmp_path}/texts/*.txt", shuffle=False)
    lines = files.flat_map(tf.data.TextLineDataset)
    assert [line.numpy() for line in lines] == [b"one", b"two", b"three"]
    assert tf.io.read_file(f"{tmp_path}/texts/b.txt").numpy() == b"three"
    assert tf.io.gfile.exists(f"{tmp_path}/texts")
    assert [Path(path).name for path in tf.io.gfile.glob(f"{tmp_path}/texts/*")] == ["a.txt", "b.txt"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        tf.io.gfile.copy(f"{tmp_path}/texts/a.txt", f"{tmp_path}/texts/b.txt")
    with pytest.raises(tf.errors.NotFoundError, match="no file matches"):
        tf.data.Dataset.list_files(f"{tmp_path}/*.csv")


# Files of models


def test_checkpoints(tmp_path: Path) -> None:
    def objects() -> Any:
        model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
        return model, tf.keras.optimizers.Adam(0.1), tf.Variable(0, dtype=tf.int64)

    model, optimizer, step = objects()
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model, optimizer=optimizer, step=step), tmp_path, max_to_keep=2
    )
    assert manager.restore_or_initialize() is None
    x = RNG.normal(size=(8, 3)).astype(np.float32)

    def train(model: Any, optimizer: Any, step: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        step.assign_add(1)

    for _ in range(3):
        train(model, optimizer, step)
        path = manager.save()
    assert (
        path == manager.latest_checkpoint == tf.train.latest_checkpoint(tmp_path) == str(tmp_path / "ckpt-3")
    )
    assert [Path(each).name for each in manager.checkpoints] == ["ckpt-2", "ckpt-3"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint", "ckpt-2.npz", "ckpt-3.npz"]
    assert tf.train.get_checkpoint_state(tmp_path).all_model_checkpoint_paths == manager.checkpoints
    assert ("step/0", []) in tf.train.list_variables(tmp_path)
    other = objects()
    again = tf.train.Checkpoint(model=other[0], optimizer=other[1], step=other[2])
    again.restore(path).assert_consumed()
    assert int(other[2]) == 3
    train(model, optimizer, step)
    train(*other)
    for one, two in zip(model.get_weights(), other[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    again.restore(None)
    with pytest.raises(FileNotFoundError, match=r"ckpt-9\.npz"):
        again.restore(tmp_path / "ckpt-9")
    wider = tf.train.Checkpoint(model=tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(5)]))
    with pytest.raises(ValueError, match=r"model/0 has the shape \(3, 5\), but \(3, 2\)"):
        wider.restore(path)
    with pytest.raises(AssertionError, match="optimizer/0"):
        tf.train.Checkpoint(model=other[0]).restore(path).assert_consumed()
    with pytest.raises(TypeError, match="`text` must be"):
        tf.train.Checkpoint(text="a")


def test_saved_models(tmp_path: Path) -> None:
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2)])
    tf.saved_model.save(model, tmp_path / "model")
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(tf.saved_model.load(tmp_path / "model")(x), model(x))
    np.testing.assert_array_equal(tf.keras.models.load_model(tmp_path / "model")(x), model(x))
    model.save(tmp_path / "older", save_format="tf")
    np.testing.assert_array_equal(tf.saved_model.load(tmp_path / "older")(x), model(x))
    with pytest.raises(TypeError, match="Checkpoint"):
        tf.saved_model.save(Linear(), tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no model"):
        tf.saved_model.load(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ValueError, match="format of TensorFlow"):
        tf.saved_model.load(tmp_path)


def test_a_target_that_no_tape_has_recorded() -> None:
    x, y = tf.constant(3.0), tf.Variable([1.0, 2.0])
    with tf.GradientTape(persistent=True) as tape:
        square = x * x
        product = x * tf.reduce_sum(y)
    with pytest.warns(UserWarning, match="was not recorded"):
        assert tape.gradient(square, x) is None
    with pytest.warns(UserWarning, match="was not recorded"):
        assert tape.gradient(square, [x, y]) == [None, None]
    with pytest.warns(UserWarning, match="was not recorded"):
        zeros = tape.gradient(square, y, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    np.testing.assert_array_equal(zeros, [0.0, 0.0])
    np.testing.assert_array_equal(tape.gradient(product, y), [3.0, 3.0])


# Event files


def events_in(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def tensors_in(folder: Path, tag: str) -> list[tuple[int, Any]]:
    make_ndarray = pytest.importorskip("tensorboard.util.tensor_util").make_ndarray
    return [(event.step, make_ndarray(event.tensor_proto)) for event in events_in(folder).Tensors(tag)]


def test_summaries(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    writer = tf.summary.create_file_writer(str(tmp_path / "train"))
    assert isinstance(writer, tf.summary.SummaryWriter)
    pictures = RNG.uniform(size=(5, 6, 7, 3)).astype(np.float32)
    with writer.as_default():
        for step in range(3):
            assert tf.summary.scalar("loss", tf.constant(step / 2), step=step)
        tf.summary.histogram("weights", np.arange(12.0), step=1)
        tf.summary.text("remark", "as *expected*", step=1)
        tf.summary.image("pictures", pictures, step=1, max_outputs=2)
        tf.summary.image("digit", pictures[:1, :, :, :1], step=1)
    assert tensors_in(tmp_path / "train", "loss") == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert tensors_in(tmp_path / "train", "weights")[0][1][:, 2].sum() == 12
    assert tensors_in(tmp_path / "train", "remark")[0][1].item() == b"as *expected*"
    width, height, *encoded = tensors_in(tmp_path / "train", "pictures")[0][1]
    assert (width, height, len(encoded)) == (b"7", b"6", 2)
    from PIL import Image

    shown = np.asarray(Image.open(io.BytesIO(encoded[1])))
    np.testing.assert_array_equal(shown, (pictures[1] * 255.999).astype(np.uint8))
    with writer.as_default(), pytest.raises(ValueError, match="channels"):
        tf.summary.image("digit", pictures[0], step=1)
    with writer.as_default(), pytest.raises(ValueError, match=r"one number, got an array of shape \(2,\)"):
        tf.summary.scalar("loss", [1.0, 2.0], step=1)


def test_summaries_by_step_and_condition(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert not tf.summary.scalar("loss", 1.0, step=0)  # there is no writer
    writer = tf.summary.create_file_writer(tmp_path, max_queue=1)
    step = tf.Variable(4, dtype=tf.int64)
    with writer.as_default(step=step):
        assert tf.summary.should_record_summaries()
        tf.summary.scalar("loss", 2.0)
        assert tensors_in(tmp_path, "loss") == [(4, 2.0)]
        step.assign_add(1)
        with tf.summary.record_if(lambda: step.numpy() % 2 == 0):
            assert not tf.summary.scalar("loss", 3.0)
        tf.summary.scalar("loss", 4.0)
    assert tf.summary.experimental.get_step() is None
    with writer.as_default(), pytest.raises(ValueError, match="No step set"):
        tf.summary.scalar("loss", 5.0)
    with tf.summary.create_noop_writer().as_default():
        assert not tf.summary.scalar("loss", 6.0, step=6)
    writer.set_as_default()
    tf.summary.trace_on()
    tf.summary.trace_export("graph", step=0)
    tf.summary.trace_off()
    tf.summary.flush()
    tf.summary.create_noop_writer().set_as_default()
    assert tensors_in(tmp_path, "loss") == [(4, 2.0), (5, 4.0)]


def test_summaries_of_a_compiled_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    writer = tf.summary.create_file_writer(tmp_path)

    @tf.function
    def step(x: Any, number: int) -> Any:
        loss = tf.reduce_mean(x)
        tf.summary.scalar("loss", loss, step=number)
        return loss

    with writer.as_default():
        with pytest.warns(UserWarning, match="can't be compiled"):
            step(tf.constant([0.0, 0.0]), 0)
        step(tf.constant([1.0, 2.0]), 1)
    assert tensors_in(tmp_path, "loss") == [(0, 0.0), (1, 1.5)]


# What has no meaning here, or is missing


def test_settings_and_contexts() -> None:
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    assert tf.config.list_physical_devices("GPU") == tf.config.list_logical_devices("GPU") == []
    assert [each.device_type for each in tf.config.get_visible_devices()] == ["CPU"]
    tf.config.set_visible_devices([], "GPU")
    tf.config.set_soft_device_placement(True)
    tf.config.run_functions_eagerly(False)
    assert not tf.config.functions_run_eagerly()
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_jit(True)
    strategy = tf.distribute.MirroredStrategy()
    with (
        strategy.scope(),
        tf.device("/GPU:0"),
        tf.name_scope("a"),
        tf.init_scope(),
        tf.control_dependencies([]),
    ):
        assert strategy.run(lambda a: a + 1, args=(tf.constant(1),)).numpy() == 2
    assert strategy.reduce(tf.distribute.ReduceOp.SUM, tf.constant([1, 2]), axis=0).numpy() == 3
    assert strategy.reduce(tf.distribute.ReduceOp.MEAN, tf.constant([1.0, 2.0]), axis=0).numpy() == 1.5
    for other in (
        tf.distribute.OneDeviceStrategy("CPU"),
        tf.distribute.CentralStorageStrategy(),
        tf.distribute.get_strategy(),
    ):
        assert other.num_replicas_in_sync == 1
    assert isinstance(tf.distribute.MultiWorkerMirroredStrategy(), tf.distribute.Strategy)
    assert tf.distribute.get_replica_context().all_reduce("SUM", 3) == 3
    tf.get_logger().setLevel("ERROR")
    assert not tf.test.is_gpu_available()
    assert tf.version.VERSION >= "2"
    tf.group(tf.no_op())
    assert tf.as_dtype("float32") == tf.float32 == tf.DType("float32")
    assert tf.random_normal_initializer(stddev=0.0)(shape=(1,)).tolist() == [0]
    assert 0 <= float(tf.random_uniform_initializer(0.0, 1.0)(shape=())) <= 1


def test_checks() -> None:
    one, two = tf.constant([1.0, 2.0]), tf.constant([1.0, 3.0])
    tf.debugging.assert_equal(one, one)
    tf.debugging.assert_less_equal(one, two)
    tf.debugging.assert_greater_equal(two, one)
    tf.debugging.assert_positive(one)
    tf.debugging.assert_non_negative(one)
    tf.debugging.assert_near(one, one + 1e-7)
    tf.debugging.assert_shapes([(tf.ones((2, 3)), ("n", 3)), (one, ("n",))])
    tf.debugging.assert_type(one, tf.float32)
    tf.debugging.check_numerics(one, "numbers")
    tf.debugging.enable_check_numerics()
    tf.debugging.set_log_device_placement(False)
    for check in (
        lambda: tf.assert_equal(one, two),
        lambda: tf.assert_less(one, two, message="loss"),
        lambda: tf.assert_greater(one, two),
        lambda: tf.debugging.assert_near(one, two),
        lambda: tf.debugging.assert_all_finite([np.nan], "numbers"),
        lambda: tf.Assert(tf.constant(False), [one]),
        lambda: tf.assert_rank(one, 2),
        lambda: tf.debugging.assert_shapes(
            [(tf.ones((2, 3)), ("n", 3)), (one, ("n",)), (tf.ones(3), ("n",))]
        ),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            check()
    with pytest.raises(TypeError, match="float32"):
        tf.debugging.assert_type(one, tf.int32)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reduce_men", r"did you mean tf\.reduce_mean\?"),
        ("Session", "TensorFlow 1"),
        ("nn.conv2d", "convolutions"),
        ("data.TFRecordDataset", "Parquet"),
        ("io.decode_csv", "pandas"),
        ("train.AdamOptimizer", r"tf\.keras\.optimizers"),
        ("lookup", "StringLookup"),
    ],
)
def test_what_is_missing_names_its_replacement(name: str, message: str) -> None:
    owner, _, last = name.rpartition(".")
    module = getattr(tf, owner) if owner else tf
    with pytest.raises(AttributeError, match=message):
        getattr(module, last)
    assert not hasattr(module, "__file_of__")


def test_imports_of_keras() -> None:
    """In a process of its own, whose modules of `tf.keras` nobody has imported before."""
    script = (
        "import engine, engine.tensorflow as tf\n"
        "import engine.tensorflow.keras.layers as layers\n"
        "from engine.tensorflow import keras\n"
        "from engine.tensorflow.keras.models import Sequential\n"
        "from engine.tensorflow.keras.preprocessing.sequence import pad_sequences\n"
        "from engine.tensorflow.keras import backend as K\n"
        "assert keras is engine is tf.keras and layers is engine.layers and Sequential is engine.Sequential\n"
        "assert engine.layers.__name__ == engine.layers.__spec__.name == 'engine.layers'\n"
        "assert pad_sequences is engine.utils.pad_sequences\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_activations_are_the_engines() -> None:
    for name in ("relu", "sigmoid", "softmax", "tanh", "leaky_relu"):
        assert keras.layers.Dense(2, getattr(tf.nn, name)).activation is keras.activations.get(name)


# A script


def test_the_quickstart_for_experts_runs() -> None:
    """The script that TensorFlow's documentation has for own loops, with a dense network."""
    x = RNG.normal(size=(256, 4, 2)).astype(np.float32)
    y = (x[:, 0, 0] > 0).astype(np.int64)
    train_ds = tf.data.Dataset.from_tensor_slices((x[..., tf.newaxis], y)).shuffle(256).batch(32)

    class MyModel(tf.keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = tf.keras.layers.Flatten()
            self.d1 = tf.keras.layers.Dense(16, activation=tf.nn.relu)
            self.d2 = tf.keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.d2(self.d1(self.flatten(x)))

    tf.random.set_seed(0)
    model, optimizer = MyModel(), tf.keras.optimizers.Adam(0.01)
    loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    train_loss, train_accuracy = tf.metrics.Mean(name="loss"), tf.metrics.SparseCategoricalAccuracy()

    @tf.function
    def train_step(images: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            predictions = model(images, training=True)
            loss = loss_object(labels, predictions)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        train_loss(loss)
        train_accuracy(labels, predictions)

    for _ in range(15):
        train_loss.reset_state()
        train_accuracy.reset_state()
        for images, labels in train_ds:
            train_step(images, labels)
    assert train_step.refusal is None
    assert train_accuracy.result().numpy() > 0.95
    assert train_loss.result().numpy() < 0.3
