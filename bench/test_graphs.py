"""Checks that the contenders compute the same networks: `python -m pytest bench/test_graphs.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from bench import contenders
from bench.graphs import models
from bench.graphs.data import load
from bench.race import Result
from bench.tasks import GRAPHS, Graph, from_json, to_json

ROWS, BATCH = 64, 32
AGAINST_JAX = ["two_tower", "wide_deep", "residual", "vae", "dcn"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few noisy images instead of MNIST."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (ROWS, 28, 28), np.uint8))
    for name in ("y", "x_test", "y_test"):
        np.save(tmp_path / f"{name}.npy", np.zeros(ROWS, np.uint8))
    return tmp_path


def task(network: str) -> Graph:
    return Graph(network, BATCH, ROWS, 1, 1)


def learner(name: str, network: str, folder: Path) -> Any:
    module, variant = contenders.find(name)
    assert isinstance(module, contenders.Builder)
    return module.build(task(network), folder, variant)


def one_loss(model: Any, network: str, folder: Path) -> float:
    data = load(task(network), folder)
    return float(model.evaluate(list(data.inputs), data.targets, batch_size=ROWS, verbose=0))


@pytest.mark.parametrize("network", GRAPHS)
def test_engine_trains(network: str, folder: Path) -> None:
    trained = learner("engine", network, folder)
    losses = []
    for epochs in (1, 1):
        trained.reset()
        losses.append(trained.train(epochs).loss)
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("network", ["two_tower", "residual", "dcn"])
def test_reset_restores_weights_and_optimizer(network: str, folder: Path) -> None:
    trained = learner("engine", network, folder)
    histories = []
    for _ in range(2):
        trained.reset()
        fit = trained.model.fit(trained.inputs, trained.targets, epochs=2, shuffle=False, verbose=0)
        histories.append(fit.history["loss"])
    assert histories[0] == histories[1]


def test_tape_of_the_agent_learns_as_train_on_batch(folder: Path) -> None:
    losses = []
    for name in ("engine", "engine:tape", "engine:function"):
        agent = learner(name, "dqn", folder)
        agent.reset()
        losses.append(agent.train(3).loss)
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-4)
    assert agent.step.refusal is None


@pytest.mark.parametrize("network", ["focal", "gelu"])
def test_own_code_computes_the_same_loss(network: str, folder: Path) -> None:
    built_in, own = (models.NETWORKS[network](engine, variant) for variant in ("", "own"))
    own.set_weights(built_in.get_weights())
    assert one_loss(own, network, folder) == pytest.approx(one_loss(built_in, network, folder), rel=1e-4)


@pytest.mark.parametrize("network", AGAINST_JAX)
def test_jax_computes_the_same_loss(network: str, folder: Path) -> None:
    jax = pytest.importorskip("jax")
    from bench.graphs.jax import NETWORKS

    values = NETWORKS[network].initial(np.random.default_rng(1))
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(values)]
    model = models.NETWORKS[network](engine, "")
    if network == "vae":  # its decoder must not see the noise
        values[3] = (values[3][0] * 0, values[3][1])
        arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(values)]
    assert sorted(part.shape for part in arrays) == sorted(tuple(part.shape) for part in model.weights)
    for variable in model.weights:
        same = next(place for place, part in enumerate(arrays) if part.shape == variable.shape)
        variable.assign(arrays.pop(same))
    data = load(task(network), folder)
    expected = NETWORKS[network].loss(values, data.inputs, data.targets, jax.random.key(0))
    assert one_loss(model, network, folder) == pytest.approx(float(expected), rel=1e-4)


def test_task_goes_through_json() -> None:
    assert from_json(to_json(task("dcn"))) == task("dcn")


@pytest.mark.parametrize(("loss", "status"), [(1.2, "ok"), (1.3, "doubtful"), (0.7, "doubtful")])
def test_other_loss_than_the_engines_is_doubtful(loss: float, status: str) -> None:
    mine, other = (
        Result(name, task("dcn"), facts={"train_loss": each})
        for name, each in (("engine", 1.0), ("jax", loss))
    )
    other.agree(mine)
    assert other.status == status
