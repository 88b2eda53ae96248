"""Training by teams of blocks that divide the samples of a batch: as the CPU trains, and with the same bits each time."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from chain_trainings import TWO_KERNELS, chain, require_way, samples, train
from chain_trainings import check as check_chain
from common import assert_all_close, compiled

import engine as keras
from engine import optimizers

# A block alone has whole layers. Of several, each has a part of every pair of layers.
WAYS = ["teams:1", "teams:2", "teams:4"]


@pytest.fixture(params=WAYS)
def team(request, execution):
    """Lets teams of so many blocks train."""
    execution(request.param)
    return int(request.param.partition(":")[2])


def check(make, x, y, **options):
    return check_chain(make, x, y, TWO_KERNELS, **{"batch_size": 100, "epochs": 2, **options})


@pytest.mark.parametrize("batch_size", [1, 31, 32, 33, 64, 65, 257])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batch_sizes_with_a_short_last_batch(team, batch_size, dtype):
    x, y = samples(5 if batch_size == 1 else batch_size + 3, 21, 4, dtype)
    check(lambda: chain(21, 19, 4, dropout=0.2), x, y, batch_size=batch_size)


@pytest.mark.parametrize("way", ["teams:1", "teams:2"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_teams_with_several_micro_batches(execution, way, dtype):
    """More samples than 128 teams have at once: the second micro-batch of a team comes while it computes the first."""
    execution(way)
    x, y = samples(128 * 128 + 70, 5, 2, dtype)
    check(lambda: chain(5, 4, 2, dropout=0.2), x, y, batch_size=len(x), epochs=1)


def test_large_batches_are_divided_without_being_asked_to(execution):
    x, y = samples(2 * 512 + 9, 32, 16)
    check(lambda: chain(32, 64, 64, 16), x, y, batch_size=512, epochs=1)


def test_mnist_network_in_bytes(execution):
    x, y = samples(128 + 40, 784, 10, "uint8")
    make = lambda: chain(784, 128, 10, dtype="uint8", scale=(1 / 255,))  # noqa: E731
    model = check(make, x, y, batch_size=128, epochs=1)
    text = keras.utils.explain_batch(model, batch_size=128)
    assert "clusters of 16 blocks divide its samples" in text or "clusters of 8 blocks" in text


@pytest.mark.parametrize("way", ["teams:1", "teams:4"])
@pytest.mark.parametrize("inputs", [64, 66, 67])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_single_layers(execution, way, inputs, dtype):
    """Blocks divide the inputs of a single layer: 16 bytes, 4 bytes or single ones are copied at a time."""
    execution(way)
    x, y = samples(70, inputs, 4, dtype)
    check(
        lambda: chain(inputs, 4, dtype=dtype, scale=(1 / 255,) if dtype == "uint8" else None), x, y, epochs=1
    )


def test_columns_of_a_data_set_that_do_not_begin_at_a_quad(team):
    """Rows that lie apart, and not at a multiple of 16 bytes."""
    x, y = samples(70, 29, 4)
    check(lambda: chain(21, 12, 4), x[:, 5:26], y)


def test_products_of_split_floats_stay_within_their_error_bounds(team):
    """A product is wrong by up to 2^-21 of it, and tensor cores cut off 2^-22 of a sum after every 8 terms."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((100, 37)).astype("float32") * 10.0 ** rng.integers(-3, 4, (100, 37))
    x, y = x.astype("float32"), rng.standard_normal((100, 9)).astype("float32")
    kernel = rng.standard_normal((37, 9)).astype("float32")
    model = None
    with keras.device("cuda"):
        model = chain(37, 9, last="linear")
        model.set_weights([kernel, np.zeros(9, "float32")])
        model.compile(optimizers.SGD(1.0), "mse")
        model.fit(x, y, batch_size=100, epochs=1, verbose=0)
        require_way(keras.utils.explain_batch(model, batch_size=100), TWO_KERNELS)
    x, y, kernel = (a.astype("float64") for a in (x, y, kernel))
    of_37_terms, of_100_terms = (2.0**-21 + 2.0**-22 * (terms // 8 + 1) for terms in (37, 100))
    error_of_sums = of_37_terms * np.abs(x) @ np.abs(kernel)
    slopes = 2 * (x @ kernel - y) / y.size
    error_of_slopes = 2 * error_of_sums / y.size + 2.0**-22 * np.abs(slopes)
    expected = kernel - x.T @ slopes
    error = np.abs(x).T @ error_of_slopes + of_100_terms * np.abs(x).T @ np.abs(slopes)
    error += 2.0**-23 * np.abs(expected)
    assert np.all(np.abs(model.get_weights()[0] - expected) <= error)


def test_batches_without_weight(team):
    x, y = samples(150, 20, 4)
    weights = np.zeros(150, "float32")
    loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    check(lambda: chain(20, 18, 4), x, y, loss=loss, sample_weight=weights)


@pytest.mark.parametrize("way", ["teams:1", "teams:4"])
def test_repeated_training_gives_the_same_bits_with_large_batches(execution, way):
    execution(way)
    x, y = samples(300, 20, 4)
    digests = set()
    for _ in range(2):
        with keras.device("cuda"):
            model, history = train(lambda: chain(20, 33, 17, 4, dropout=0.1), x, y, batch_size=256)
        digests.add(
            hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest() + str(history)
        )
    assert len(digests) == 1


def test_same_bits_on_a_card_with_one_multiprocessor(run_program):
    """How samples are divided among teams of a given size does not depend on the number of multiprocessors."""
    program = """
import hashlib, numpy as np, engine as keras
rng = np.random.default_rng(0)
x, y = rng.standard_normal((300, 12)).astype("float32"), rng.integers(0, 3, 300)
keras.utils.set_random_seed(1)
with keras.device("cuda"):
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(9, "relu"), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=200, epochs=2, verbose=0)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""
    digests = {
        run_program(program, ENGINE_CUDA_EXECUTION="teams:1", EMULATED_CUDA_MULTIPROCESSORS=str(count))
        for count in (1, 2, 132)
    }
    assert len(digests) == 1


def test_data_sets_of_both_types_in_one_model(team):
    """Bytes and floats have plans of their own, and the graphs of kernels that were recorded for one are not those of the other."""
    x, y = samples(200, 20, 4, "uint8")

    def alternate():
        model = compiled(chain(20, 18, 4, scale=(1 / 255,)), "adam", "sparse_categorical_crossentropy")
        return model, [
            model.fit(data, y, batch_size=100, epochs=2, verbose=0, shuffle=False).history["loss"]
            for data in (x, x.astype("float32"), x, x.astype("float64"))
        ]

    on_cpu, expected = alternate()
    with keras.device("cuda"):
        on_card, losses = alternate()
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert_all_close(on_card.get_weights(), on_cpu.get_weights(), atol=1e-5)


# What such a card has: multiprocessors, compute capability, bytes of shared memory of a block.
A100 = ("108", "80", str(163 * 1024))
RTX_4090 = ("128", "89", str(99 * 1024))
RTX_5090 = ("170", "120", str(99 * 1024))


@pytest.mark.parametrize(
    ("card", "rows"), [(A100, 64), (RTX_4090, 32), (RTX_5090, 32)], ids=["A100", "4090", "5090"]
)
def test_cards_with_less_shared_memory_and_without_clusters(run_program, card, rows):
    """Networks 64 wide fit the blocks of all of them."""
    program = """
import numpy as np, engine as keras
def build():
    keras.utils.set_random_seed(1)
    hidden = [keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu")]
    model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(16, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
rng = np.random.default_rng(0)
x, y = rng.standard_normal((300, 32)).astype("float32"), rng.integers(0, 16, 300)
losses = []
for device in ("cpu", "cuda"):
    with keras.device(device):
        losses.append(build().fit(x, y, batch_size=256, epochs=1, verbose=0).history["loss"])
np.testing.assert_allclose(*losses, rtol=1e-5)
with keras.device("cuda"):
    text = keras.utils.explain_batch(build(), batch_size=16384)
print(text.partition("For samples of floats, ")[2].partition(chr(10))[0])
"""
    names = ("EMULATED_CUDA_MULTIPROCESSORS", "EMULATED_CUDA_CAPABILITY", "EMULATED_CUDA_SHARED_MEMORY")
    text = run_program(program, **dict(zip(names, card, strict=True)))
    assert f"{TWO_KERNELS}: up to 128 blocks divide its samples, {rows} at a time" in text


@pytest.mark.parametrize("launch", [1, 2, 3, 4, 5, 6])
def test_a_card_that_refuses_clusters_goes_step_by_step(run_program, launch):
    """From this launch on: it may be the first or a later one of a group of batches, or one that is being recorded."""
    program = """
import numpy as np, engine as keras
rng = np.random.default_rng(0)
x, y = rng.standard_normal((370, 12)).astype("float32"), rng.integers(0, 3, 370)
losses = []
for device in ("cpu", "cuda"):
    keras.utils.set_random_seed(1)
    with keras.device(device):
        model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(9, "relu"), keras.layers.Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        losses.append(model.fit(x, y, batch_size=50, epochs=4, verbose=0).history["loss"])
np.testing.assert_allclose(*losses, rtol=1e-5)
print("refused to start" in keras.utils.explain_batch(model, batch_size=50))
"""
    printed = run_program(program, ENGINE_CUDA_EXECUTION="teams:4", EMULATED_CUDA_REFUSES_TEAMS=str(launch))
    assert printed.split() == ["True"]
