"""Tests of the recipes of `engine mnist`: learning rates, arguments for the library, and output of the command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import engine
from engine import cli, losses
from engine._command.recipes import CHOICE, RECIPES, Recipe, WarmUpThenLinear

CHOSEN = [name for name, recipe in RECIPES.items() if recipe.chosen]
QUICK = ["mnist", "--epochs", "1", "--batch-size", "200"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (90, 28, 28), np.uint8), rng.integers(0, 10, 90, np.uint8)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Returns the output of the command, or its error messages if it must fail."""
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert (captured.out == "") == (status != 0)
    return captured.err if status else captured.out


def value(output: str, name: str) -> str:
    found = re.search(rf"^{name} +(.+)$", output, flags=re.MULTILINE)
    assert found is not None, output
    return found[1]


def percents(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"([\d.]+)%", text)]


# The schedule


def test_the_rate_rises_then_falls_in_straight_lines() -> None:
    rates = WarmUpThenLinear(0.5, 10, 50)._rates(0, 60)
    np.testing.assert_allclose(rates[:10], 0.5 * np.arange(1, 11) / 10, rtol=1e-15)
    np.testing.assert_allclose(rates[10:50], 0.5 * np.arange(40, 0, -1) / 40, rtol=1e-15)
    assert not rates[50:].any()
    assert rates.argmax() == 9


def test_the_schedule_gives_the_same_one_by_one() -> None:
    schedule = WarmUpThenLinear(0.012, 94, 938)
    assert isinstance(schedule(3), float)
    np.testing.assert_array_equal(schedule._rates(80, 30), [schedule(step) for step in range(80, 110)])
    assert schedule.get_config() == {"peak": 0.012, "warm_up_steps": 94, "steps": 938}


@pytest.mark.parametrize("warm_up_steps", [0, 50, 51])
def test_a_warm_up_must_leave_steps(warm_up_steps: int) -> None:
    with pytest.raises(
        ValueError, match=f"must be at least 1 and less than `steps`, 50, got {warm_up_steps}"
    ):
        WarmUpThenLinear(1.0, warm_up_steps, 50)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("images", [60_000, 50_000, 90])
def test_the_rate_is_zero_when_training_ends(name: str, images: int) -> None:
    recipe = RECIPES[name]
    schedule = recipe.schedule(images)
    assert isinstance(schedule, WarmUpThenLinear)
    steps = len(range(0, images, recipe.batch_size)) * recipe.epochs
    assert schedule(steps - 1) > 0
    assert schedule(steps) == 0
    if images > 90:
        assert max(schedule._rates(0, steps)) == recipe.learning_rate


# What a recipe hands to the library


def test_textbook_is_the_textbook(digits: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    recipe = replace(RECIPES["textbook"], epochs=2)
    engine.utils.set_random_seed(3)
    by_recipe = recipe.model()
    recipe.compile(by_recipe, len(digits[0]))
    recipe.fit(by_recipe, *digits, verbose=0)
    engine.utils.set_random_seed(3)
    by_hand = engine.Sequential(
        [
            engine.layers.Flatten(input_shape=(28, 28)),
            engine.layers.Rescaling(1 / 255),
            engine.layers.Dense(128, activation="relu"),
            engine.layers.Dense(10, activation="softmax"),
        ]
    )
    by_hand.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    by_hand.fit(*digits, epochs=2, verbose=0)
    for got, expected in zip(by_recipe.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", CHOSEN)
def test_every_hyper_parameter_arrives(name: str, digits: tuple[Any, Any]) -> None:
    recipe = RECIPES[name]
    model = recipe.model()
    recipe.compile(model, len(digits[0]))
    history = recipe.fit(model, *digits, verbose=0)
    assert len(history["loss"]) == recipe.epochs
    optimizer, compiled = model.optimizer, model._compiled
    assert isinstance(optimizer, engine.optimizers.Adam)
    assert optimizer.iterations == recipe.epochs * -(-90 // recipe.batch_size)
    assert (optimizer.beta_1, optimizer.beta_2) == (recipe.beta_1, recipe.beta_2)
    assert (optimizer.weight_decay or 0) == recipe.weight_decay
    assert compiled is not None
    assert isinstance(compiled.loss, losses.CategoricalCrossentropy)
    assert compiled.loss.label_smoothing == recipe.label_smoothing
    assert (recipe.output_initializer == "zeros") == (not recipe.model().get_weights()[2].any())


def test_a_description_leaves_nothing_out() -> None:
    assert str(RECIPES["textbook"]) == "5 epochs, batch 32"
    everything = Recipe(1, 2, 0.3, 0.25, 0.5, 0.75, 0.125, 0.375, "ones")
    assert all(getattr(everything, f.name) != f.default for f in fields(Recipe) if f.name != "chosen")
    assert str(everything) == (
        "1 epoch, batch 2, learning rate to 0.3 in 25% of the steps, then to 0, betas 0.5 and 0.75, "
        "weight decay 0.125, labels smoothed by 0.375, output weights from ones"
    )


# The command


def test_fast_reaches_its_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    output = said(capsys, "mnist", "--recipe", "fast", "--seed", "0", "--seeds", "2", "--no-report")
    mean, low, high = percents(value(output, "accuracy"))
    assert 97.8 <= low <= mean <= high < 98.6
    assert "of the 10,000 test images, the mean of 2 seeds (" in value(output, "accuracy")
    assert value(output, "recipe").startswith("fast: 2 epochs, batch 128, learning rate to 0.012 in 10%")
    assert (
        "hyper-parameters chosen on a 50,000/10,000 split of the training images; "
        "the test images were looked at once, after that\n"
    ) in output


def test_the_seed_decides_the_weights_of_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    hashes = [
        value(said(capsys, "mnist", "--recipe", "fast", "--no-report", "--seed", seed), "SHA-256")
        for seed in ("1", "1", "2")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_several_seeds_are_single_ones(capsys: pytest.CaptureFixture[str]) -> None:
    singles = [said(capsys, *QUICK, "--no-report", "--seed", seed) for seed in ("7", "8")]
    both = said(capsys, *QUICK, "--no-report", "--seeds", "2")
    accuracies = [percents(value(output, "accuracy"))[0] for output in singles]
    assert [percents(value(both, f"seed {seed}"))[0] for seed in (7, 8)] == accuracies
    mean, *ends = percents(value(both, "accuracy"))
    assert mean == pytest.approx(np.mean(accuracies), abs=0.006)  # each is rounded to 0.01
    assert ends == sorted(accuracies)
    for step in ("compiling", "training", "evaluating"):
        assert re.fullmatch(r"\d+\.\d{3} s, the mean of 2 seeds", value(both, step))
    assert value(both, "SHA-256") not in [value(output, "SHA-256") for output in singles]
    assert value(both, "SHA-256").endswith("(trained weights of all seeds)")
    assert "Epoch" not in both
    assert "recipe" not in both


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("argument", ["--epochs", "--batch-size"])
def test_a_recipe_has_its_own_epochs_and_batches(
    name: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = said(capsys, "mnist", "--recipe", name, argument, "5", status=2)
    assert message == (
        f"engine mnist: error: argument {argument}: not allowed with --recipe {name}, which has its own\n"
    )


def test_seeds_must_not_run_out(capsys: pytest.CaptureFixture[str]) -> None:
    message = said(capsys, "mnist", "--seed", "4294967295", "--seeds", "2", status=2)
    assert "argument --seeds: the last seed would be 4294967296, more than 4294967295" in message


def test_the_report_tells_of_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = pytest.importorskip("engine._command.mnist_report", exc_type=ImportError)
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(report, "write", lambda path, **what: drawn.update(what))
    path = str(tmp_path / "report.png")
    output = said(capsys, "mnist", "--recipe", "fast", "--seeds", "2", "--report", path)
    model, recipe, choice, build = drawn["facts"]
    mean, low, high = percents(value(output, "accuracy"))
    assert model.endswith(f"mean of 2 seeds {mean:.2f}% ({low:.2f}% to {high:.2f}%)")
    assert recipe == f"Recipe fast: {RECIPES['fast']}"
    assert choice == CHOICE[0].upper() + CHOICE[1:]
    assert build.startswith("mlp-engine ")
    assert drawn["tested"] == [1, 2]
    assert drawn["smoothing"] == 0.1
    # The plot shows the first seed, and its curve ends at the test accuracy of that seed.
    assert f"{drawn['test']['accuracy'][-1]:.2%}" == value(output, "seed 7").split(" ")[0]
    # Losses of training and test are the same formula, with smoothed labels: never near 0.
    assert all(0.4 < loss < 1.2 for loss in drawn["test"]["loss"] + drawn["train"]["loss"])

    said(capsys, *QUICK, "--report", path)
    assert drawn["facts"][1] == "Recipe textbook: 1 epoch, batch 200"
    assert len(drawn["facts"]) == 3
    assert drawn["smoothing"] == 0
