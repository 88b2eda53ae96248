"""Scripts in the form of published tutorials, with data that scikit-learn makes: searches over what a network has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from engine.constraints import MaxNorm
from engine.layers import Dense, Dropout
from engine.models import Sequential
from engine.utils import set_random_seed
from engine.wrappers import KerasClassifier

SEED = 7
X, Y = make_classification(120, 8, n_informative=6, random_state=SEED)


def create_model(
    neurons: int = 12,
    activation: str = "relu",
    init_mode: str = "uniform",
    dropout_rate: float = 0.0,
    weight_constraint: float = 3.0,
) -> Any:
    """Returns the model of a tutorial on grid searches, which the estimator compiles."""
    model = Sequential()
    model.add(
        Dense(
            neurons,
            input_shape=(8,),
            kernel_initializer=init_mode,
            activation=activation,
            kernel_constraint=MaxNorm(weight_constraint),
        )
    )
    model.add(Dropout(dropout_rate))
    model.add(Dense(1, kernel_initializer=init_mode, activation="sigmoid"))
    return model


GRIDS: dict[str, dict[str, list[Any]]] = {
    "batch size and epochs": {"batch_size": [20, 60], "epochs": [1, 3]},
    "optimizer": {"optimizer": ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"]},
    "rate and momentum": {
        "optimizer": ["SGD"],
        "optimizer__learning_rate": [0.001, 0.1],
        "optimizer__momentum": [0.0, 0.9],
    },
    "initializer": {
        "model__init_mode": ["uniform", "lecun_uniform", "normal", "zero", "glorot_normal", "he_uniform"]
    },
    "activation": {
        "model__activation": [
            "softmax",
            "softplus",
            "softsign",
            "relu",
            "tanh",
            "sigmoid",
            "hard_sigmoid",
            "linear",
        ]
    },
    "dropout": {"model__weight_constraint": [1.0, 4.0], "model__dropout_rate": [0.0, 0.5]},
    "neurons": {"model__neurons": [1, 5, 30]},
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_grids_of_a_tutorial(name: str) -> None:
    set_random_seed(SEED)
    model = KerasClassifier(
        model=create_model, loss="binary_crossentropy", optimizer="adam", epochs=2, batch_size=10, verbose=0
    )
    grid = GridSearchCV(estimator=model, param_grid=GRIDS[name], n_jobs=1, cv=3)
    result = grid.fit(X, Y)
    means, spreads = result.cv_results_["mean_test_score"], result.cv_results_["std_test_score"]
    assert len(means) == len(spreads) == np.prod([len(values) for values in GRIDS[name].values()])
    assert result.best_score_ == means.max()
    assert set(result.best_params_) == set(GRIDS[name])


def create_smaller() -> Any:
    model = Sequential()
    model.add(Dense(30, input_shape=(60,), activation="relu"))
    model.add(Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def test_the_tutorial_of_rocks_and_mines() -> None:
    """60 columns, two classes as letters, a scaler and a network in a pipeline, folds by class."""
    x, numbers = make_classification(208, 60, n_informative=20, class_sep=2.0, random_state=SEED)
    encoded = LabelEncoder().fit_transform(np.array(["M", "R"])[numbers])
    estimators = [
        ("standardize", StandardScaler()),
        ("mlp", KerasClassifier(model=create_smaller, epochs=20, batch_size=5, verbose=0)),
    ]
    set_random_seed(SEED)
    kfold = StratifiedKFold(n_splits=5, shuffle=True)
    results = cross_val_score(Pipeline(estimators), x, encoded, cv=kfold)
    assert results.shape == (5,)
    assert results.mean() > 0.8
