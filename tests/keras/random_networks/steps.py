"""How a random network is trained: its loss and targets, weights of samples, the optimizer, and the program's loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from random_networks.formulas import draw_formula
from random_networks.parts import Dice, Made
from random_networks.samples import Samples


class Goal(NamedTuple):
    """A loss with targets for it, and the activation of the last layer."""

    loss: Made
    targets: str
    activation: str
    fewest: int = 1  # outputs

    @property
    def has_classes(self) -> bool:
        return self.targets == CLASSES


REALS = 'y = rng.normal(size=({rows}, {outputs})).astype("float32")'
CLASSES = "y = rng.integers(0, {outputs}, ({rows},))"
ONE_HOT = 'y = np.eye({outputs}, dtype="float32")[rng.integers(0, {outputs}, ({rows},))]'
BITS = 'y = rng.integers(0, 2, ({rows}, {outputs})).astype("float32")'
COUNTS = 'y = rng.integers(0, 4, ({rows}, {outputs})).astype("float32")'

GOALS = (
    Goal(Made("losses.MeanSquaredError"), REALS, "linear"),
    Goal(Made("losses.MeanAbsoluteError"), REALS, "tanh"),
    Goal(Made("losses.Huber", {"delta": 0.7}), REALS, "linear"),
    Goal(Made("losses.LogCosh"), REALS, "linear"),
    Goal(Made("losses.Poisson"), COUNTS, "softplus"),
    Goal(Made("losses.SparseCategoricalCrossentropy"), CLASSES, "softmax", 2),
    Goal(Made("losses.SparseCategoricalCrossentropy", {"from_logits": True}), CLASSES, "linear", 2),
    Goal(Made("losses.CategoricalCrossentropy"), ONE_HOT, "softmax", 2),
    Goal(
        Made("losses.CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}),
        ONE_HOT,
        "linear",
        2,
    ),
    Goal(Made("losses.BinaryCrossentropy"), BITS, "sigmoid"),
    Goal(Made("losses.BinaryCrossentropy", {"from_logits": True}), BITS, "linear"),
    Goal(Made("losses.Hinge"), BITS, "tanh"),
    Goal(Made("losses.SquaredHinge"), BITS, "linear"),
)


def own_goal(dice: Dice) -> Goal:
    """Returns a loss that the program defines."""
    code = (
        "class OwnLoss(keras.losses.Loss):",
        "    def call(self, y, p):",
        *(f"        {line}" for line in draw_formula(["y", "p", "p"], dice)),
        "        return ops.mean(result / 2 + 0.1 * ops.square(p - y), axis=-1)",
    )
    return Goal(
        Made("OwnLoss", code=code), dice.one((REALS, BITS, COUNTS)), dice.one(("linear", "tanh", "relu"))
    )


# Rules that divide by the size of a gradient get an epsilon near that size. With the usual 1e-7, a gradient that is zero
# but for rounding would step a weight as far as any other, in a random direction.
OPTIMIZERS = (
    Made("optimizers.SGD", {"learning_rate": 0.05}),
    Made("optimizers.SGD", {"learning_rate": 0.02, "momentum": 0.9}),
    Made("optimizers.SGD", {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True}),
    Made("optimizers.Adam", {"learning_rate": 0.01, "epsilon": 0.05}),
    Made("optimizers.Adam", {"learning_rate": 0.01, "epsilon": 0.05, "amsgrad": True}),
    Made("optimizers.AdamW", {"learning_rate": 0.01, "epsilon": 0.05, "weight_decay": 0.1}),
    Made("optimizers.Adamax", {"learning_rate": 0.01, "epsilon": 0.1}),
    Made("optimizers.Nadam", {"learning_rate": 0.01, "epsilon": 0.05}),
    Made("optimizers.RMSprop", {"learning_rate": 0.01, "epsilon": 0.01}),
    Made("optimizers.RMSprop", {"learning_rate": 0.01, "epsilon": 0.01, "centered": True, "momentum": 0.5}),
    Made("optimizers.Adagrad", {"learning_rate": 0.02}),
    Made("optimizers.Adadelta", {"learning_rate": 0.5, "epsilon": 0.001}),
    Made("optimizers.Adafactor", {"learning_rate": 0.01, "epsilon_1": 0.001}),
    Made("optimizers.Ftrl", {"learning_rate": 0.05, "l1_regularization_strength": 0.001}),
    Made("optimizers.Ftrl", {"learning_rate": 0.05, "l2_regularization_strength": 0.1, "beta": 0.1}),
)  # fmt: skip
# These step by the direction of a gradient alone, whatever its size.
DIRECTIONS = (
    Made("optimizers.Lion", {"learning_rate": 0.002}),
    Made("optimizers.Lamb", {"learning_rate": 0.01, "epsilon": 0.05}),
    Made("optimizers.Muon", {"learning_rate": 0.01, "epsilon": 0.05}),
)
CLIPS: tuple[Mapping[str, float], ...] = (
    {"clipvalue": 0.01},
    {"clipnorm": 0.05},
    {"global_clipnorm": 0.1},
)

# The lines of programs that train: by `fit`, by batches, and by steps of their own. Names in braces are those of `loop_lines`.
TAPE = (
    "    with keras.GradientTape() as tape:",
    "        loss = loss_fn(y[batch], model({rows_of_batch}, training=True){weight_of_batch})",
    "        loss = loss + sum(model.losses)",
    "    weights = model.trainable_variables",
    "    model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))",
)
BATCHES = (
    "for first in list(range(0, len(x), {batch_size})) * {epochs}:",
    "    batch = slice(first, first + {batch_size})",
)
FINISH = ("model.optimizer.finalize_variable_values(model.trainable_variables)",)
LOOPS: dict[str, tuple[str, ...]] = {
    "fit": (
        "model.fit(rows, y{weight}{class_weight}, batch_size={batch_size}, epochs={epochs}, shuffle=False, verbose=0)",
    ),
    "batches": (
        *BATCHES,
        "    model.train_on_batch({rows_of_batch}, y[batch]{weight_of_batch}{class_weight})",
        *FINISH,
    ),
    "tape": (*BATCHES, *TAPE, *FINISH),
    "function": (
        "@keras.function",
        "def step(x, y{weight_argument}):",
        "    with keras.GradientTape() as tape:",
        "        loss = loss_fn(y, model(x, training=True){weight_passed}) + sum(model.losses)",
        "    weights = model.trainable_variables",
        "    model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))",
        *BATCHES,
        "    step({rows_of_batch}, y[batch]{weight_by_place})",
        *FINISH,
    ),
}
# Models whose steps are their own, for `fit`.
MODELS: dict[str, tuple[str, ...]] = {
    "train_step": (
        "@keras.saving.register_keras_serializable()",
        "class Own(keras.Model):",
        "    def train_step(self, data):",
        "        x, y, w = keras.utils.unpack_x_y_sample_weight(data)",
        "        with keras.GradientTape() as tape:",
        "            y_pred = self(x, training=True)",
        "            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=w)",
        "        weights = self.trainable_variables",
        "        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))",
        '        return {"loss": loss}',
    ),
    "compute_loss": (
        "@keras.saving.register_keras_serializable()",
        "class Own(keras.Model):",
        "    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):",
        "        return loss_fn(y, y_pred, sample_weight=sample_weight) + sum(self.losses)",
    ),
}
WAYS = (*LOOPS, *MODELS)
# What is trained in place of the model, with the same weights.
COPIES: dict[str, tuple[str, ...]] = {
    "clone": (
        "original, model = model, keras.models.clone_model(model)",
        "model.set_weights(original.get_weights())",
    ),
    "loaded": (
        'path = tempfile.mkdtemp() + "/model.keras"',
        "model.save(path)",
        "original, model = model, keras.models.load_model(path)",
    ),
}
COMPILE = "model.compile({optimizer!r}, loss_fn)"
GIVE_BACK = "original.set_weights(model.get_weights())"


@dataclass(frozen=True)
class Training:
    """A loss, an optimizer and a loop.

    Args:
        goal: the loss, with targets.
        outputs: of the network.
        optimizer: with its learning rate and options.
        batch_size, epochs: of the loop.
        weighted: whether samples have weights, some of them zero.
        weighs_steps: whether each time step has one, where steps have targets.
        class_weight: weights of classes, or None.
        way: one of `WAYS`.
        threads: the number of threads, or None for the default.
        copy: one of `COPIES`, which is trained in place of the model, or None.
        steps: the number of time steps of which each has a target, or None.
    """

    goal: Goal
    outputs: int
    optimizer: Made
    batch_size: int
    epochs: int = 1
    weighted: bool = False
    weighs_steps: bool = False
    class_weight: Mapping[int, float] | None = None
    way: str = "fit"
    threads: int | None = None
    copy: str | None = None
    steps: int | None = None

    def target_lines(self, samples: int) -> list[str]:
        rows = samples if self.steps is None else f"{samples}, {self.steps}"
        lines = [self.goal.targets.format(rows=rows, outputs=self.outputs)]
        if self.weighted:
            shape = rows if self.weighs_steps else samples
            lines.append(f'w = rng.choice([0, 0.5, 1, 2], ({shape},)).astype("float32")')
        return lines

    def model_lines(self, inputs: str, output: str) -> list[str]:
        """The lines that make and compile the model, after its layers."""
        return [
            *self.goal.loss.code,
            f"loss_fn = {self.goal.loss!r}",
            f"model = {'Own' if self.way in MODELS else 'keras.Model'}({inputs}, {output})",
            *(COPIES[self.copy] if self.copy else ()),
            COMPILE.format(optimizer=self.optimizer),
        ]

    @property
    def class_lines(self) -> list[str]:
        return list(MODELS.get(self.way, ()))

    def loop_lines(self, several: bool) -> list[str]:
        """The lines that train; `several` says whether `rows` is a list of the samples of several inputs."""
        weighted = self.weighted
        names = {
            "rows_of_batch": "[each[batch] for each in rows]" if several else "rows[batch]",
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "weight": ", sample_weight=w" if weighted else "",
            "weight_of_batch": ", sample_weight=w[batch]" if weighted else "",
            "weight_by_place": ", w[batch]" if weighted else "",
            "weight_argument": ", w" if weighted else "",
            "weight_passed": ", sample_weight=w" if weighted else "",
            "class_weight": f", class_weight={self.class_weight!r}" if self.class_weight else "",
        }
        lines = [line.format(**names) for line in LOOPS["fit" if self.way in MODELS else self.way]]
        return [*lines, GIVE_BACK] if self.copy else lines


def draw_training(samples: Samples, dice: Dice) -> Training:
    goal: Goal = own_goal(dice) if dice.chance(0.3) else dice.one(GOALS)
    way = "fit" if dice.chance(0.4) else dice.one(WAYS)
    weighs_classes = goal.has_classes and way in ("fit", "batches") and dice.chance(0.3)
    outputs = max(goal.fewest, dice.one((1, 2, 3, 7, 10, 16, 17)))
    optimizer = dice.one((*OPTIMIZERS, *DIRECTIONS))
    # Muon steps embeddings by another rule. Samples that are all equal leave gradients of rounding errors before a normalization.
    is_muon = optimizer.name == "optimizers.Muon"
    if (is_muon and samples.kind == "ids") or (optimizer in DIRECTIONS and samples.zeros == "all"):
        optimizer = OPTIMIZERS[0]
    extras = _extras(dice)
    if dice.chance(0.25):
        extras["learning_rate"] = _schedule(optimizer.options["learning_rate"], dice)
    return Training(
        goal,
        outputs,
        Made(optimizer.name, {**optimizer.options, **extras}),
        batch_size=dice.between(1, samples.samples),
        epochs=dice.between(1, 2),
        weighted=dice.chance(0.3),
        weighs_steps=dice.chance(0.5),
        class_weight={c: 0.5 * (c % 3) + 0.5 for c in range(outputs)} if weighs_classes else None,
        way=way,
    )


def _schedule(rate: float, dice: Dice) -> Made:
    """Returns a learning rate schedule that begins with `rate`, and changes within a training of few steps."""
    first, steps = {"initial_learning_rate": rate}, {"decay_steps": dice.between(2, 8)}
    staircase = {"staircase": dice.chance(0.5)}
    kind, options = dice.one(
        (
            ("ExponentialDecay", {**first, **steps, "decay_rate": 0.7, **staircase}),
            ("InverseTimeDecay", {**first, **steps, "decay_rate": 0.5, **staircase}),
            (
                "PolynomialDecay",
                {**first, **steps, "end_learning_rate": rate / 4, "power": 2.0, "cycle": dice.chance(0.5)},
            ),
            ("CosineDecay", {**first, **steps, "alpha": 0.25}),
            ("CosineDecay", {**first, **steps, "alpha": 0.25, "warmup_target": 2 * rate, "warmup_steps": 3}),
            ("PiecewiseConstantDecay", {"boundaries": [1, 4], "values": [rate, rate / 2, 2 * rate]}),
        )
    )
    return Made(f"optimizers.schedules.{kind}", options)


def _extras(dice: Dice) -> dict[str, Any]:
    """Returns arguments that every optimizer has."""
    extras: dict[str, Any] = {}
    if dice.chance(0.25):
        extras |= dice.one(CLIPS)
    if dice.chance(0.15):
        extras["weight_decay"] = 0.05
    if dice.chance(0.2):
        extras |= {"use_ema": True, "ema_momentum": 0.6}
        if dice.chance(0.5):
            extras["ema_overwrite_frequency"] = 2
    if dice.chance(0.2):
        extras["gradient_accumulation_steps"] = dice.between(2, 3)
    return extras
