"""The layers of a random network, and which values each of them is called on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from random_networks.formulas import draw_formula
from random_networks.parts import WIDTHS, Dice, Made
from random_networks.samples import VOCABULARY, Samples
from random_networks.steps import Training

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "leaky_relu", "relu6")  # fmt: skip
MERGING_MORE = ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
MERGING = (*MERGING_MORE, "Subtract")
REGULARIZERS = (Made("regularizers.L1", {"l1": 0.01}), Made("regularizers.L2", {"l2": 0.02}))
CONSTRAINTS = (
    Made("constraints.NonNeg"),
    Made("constraints.MaxNorm", {"max_value": 0.5, "axis": 0}),
    Made("constraints.UnitNorm", {"axis": 0}),
    Made("constraints.MinMaxNorm", {"min_value": 0.3, "max_value": 0.9, "rate": 0.5, "axis": 0}),
)
# With a large epsilon, since a normalization of values that are equal but for rounding would make rounding large.
EPSILON = 0.1

Shape = tuple[int, ...]  # of a sample: (width,) or (steps, width)


@dataclass(frozen=True)
class Call:
    """A call of a layer on values. Value 0 is the first input, and call `i` makes value `i + 1`; on no values it is a further input."""

    layer: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A graph of layers from its inputs; the value of the last call is its output.

    Args:
        shape: of the first input.
        layers: by the names that they have in the program, in the order in which it makes them. Some are networks.
        calls: of these layers.
        frozen: names of layers that are not trained.
        dtype: of the first input.
        prefix: of the names of its values.
    """

    shape: Shape
    layers: Mapping[str, Made | Network] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    frozen: frozenset[str] = frozenset()
    dtype: str = "float32"
    prefix: str = ""

    @property
    def lines(self) -> list[str]:
        """The program's lines that make the layers and call them."""
        values = [f"{self.prefix}value_{i}" for i in range(len(self.calls) + 1)]
        called = {call.layer for call in self.calls}
        made = {name: layer for name, layer in self.layers.items() if name in called}
        return [
            *(line for name, layer in made.items() for line in _made(name, layer)),
            *(f"{name}.trainable = False" for name in made if name in self.frozen),
            f"{values[0]} = keras.Input({self.shape}, dtype={self.dtype!r})",
            *(
                f"{value} = {call.layer}({_text([values[i] for i in call.values])})"
                if call.values
                else f"{value} = {call.layer}"
                for value, call in zip(values[1:], self.calls, strict=True)
            ),
        ]

    @property
    def further_inputs(self) -> dict[str, int]:
        """The names of the inputs after the first one, with the widths of their samples."""
        return {
            call.layer: self.layers[call.layer].options["shape"][0] for call in self.calls if not call.values
        }

    @property
    def inputs(self) -> str:
        """The names of the inputs in the program, as a model is made of them."""
        return _text([f"{self.prefix}value_0", *self.further_inputs])

    @property
    def output(self) -> str:
        """The name of the last value in the program."""
        return f"{self.prefix}value_{len(self.calls)}"

    @property
    def leaves(self) -> dict[str, Made]:
        """The layers that are no networks, those of networks included."""
        return {name: layer for name, layer in self._leaves() if layer.name != "Input"}

    @property
    def has_dropout(self) -> bool:
        return any(layer.name == "layers.Dropout" for layer in self.leaves.values())

    @property
    def frozen_leaves(self) -> set[str]:
        """The names of those that are not trained."""
        found = set(self.frozen)
        for name, layer in self.layers.items():
            if isinstance(layer, Network):
                found |= set(layer.leaves) if name in self.frozen else layer.frozen_leaves
        return found

    @property
    def reads_by_dense(self) -> bool:
        """Whether there is one input, which dense layers alone read: it may be a sparse matrix."""
        if self.further_inputs:
            return False
        readers = [self.layers[call.layer] for call in self.calls if 0 in call.values]
        return all(isinstance(layer, Made) and layer.name == "layers.Dense" for layer in readers)

    def _leaves(self) -> Iterator[tuple[str, Made]]:
        called = {call.layer for call in self.calls}
        for name, layer in self.layers.items():
            if name not in called:
                continue
            if isinstance(layer, Network):
                yield from layer._leaves()
            else:
                yield name, layer


def _made(name: str, layer: Made | Network) -> list[str]:
    """Returns the lines that make a layer."""
    if isinstance(layer, Network):
        return [*layer.lines, f"{name} = keras.Model({layer.inputs}, {layer.output})"]
    return [*layer.code, f"{name} = {layer!r}"]


def _text(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"


class Drawing:
    """A network that grows by random layers.

    Args:
        shape: of the input.
        dice: decides.
        prefix: of all names.
        dtype: of the input.
        normed: whether constraints may set the norms of kernels.

    Attributes:
        shapes: of all values so far.
        first: the first value that layers may read.
        masked: whether values have a mask.
    """

    def __init__(
        self, shape: Shape, dice: Dice, prefix: str = "", dtype: str = "float32", normed: bool = True
    ) -> None:
        self._dice, self._prefix, self._dtype, self._normed = dice, prefix, dtype, normed
        self._layers: dict[str, Made | Network] = {}
        self._takes: dict[
            str, tuple[Shape, Shape]
        ] = {}  # shapes of input and output of layers that can be called again
        self._calls: list[Call] = []
        self._frozen: set[str] = set()
        self.shapes = [shape]
        self.first = 0
        self.masked = False

    def network(self) -> Network:
        parts = dict(self._layers), tuple(self._calls), frozenset(self._frozen)
        return Network(self.shapes[0], *parts, self._dtype, self._prefix)

    def freeze(self, share: float) -> None:
        """Freezes some of the layers so far."""
        self._frozen = {name for name in self._layers if self._dice.chance(share)}

    def add(self, layer: Made | Network, *values: int, shape: Shape, again: bool = True) -> int:
        """Adds a layer and a call of it, and returns the number of its value."""
        kind = "model" if isinstance(layer, Network) else layer.name.split(".")[-1].lower()
        name = f"{self._prefix}{kind}_{len(self._layers)}"
        self._layers[name] = layer
        if len(values) == 1 and again:
            self._takes[name] = (self.shapes[values[0]], shape)
        return self._call(name, values, shape)

    def _call(self, name: str, values: tuple[int, ...], shape: Shape) -> int:
        self._calls.append(Call(name, values))
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def step(self) -> None:
        """Adds a layer, or calls one again. Masked values go through layers that pass the mask on."""
        steps = [self._dense, self._two_readers, self._two_readers, self._again, self._merge, self._merge]
        steps += [self._small, self._normalized]
        if not self.masked:
            steps += [self._formula, self._formula]
            if not self._prefix:
                steps.append(self._model)
        self._dice.one(steps)(self._any_value())

    def _any_value(self) -> int:
        """Returns one of the values, more often the first, since it has the zeros of the samples."""
        return self.first if self._dice.chance(0.3) else self._dice.between(self.first, len(self.shapes) - 1)

    def dense(self, value: int, units: int, **options: Any) -> int:
        dice = self._dice
        options = {"units": units, "activation": dice.one(ACTIVATIONS)} | options
        constraints = CONSTRAINTS if self._normed else CONSTRAINTS[:1]
        if dice.chance(0.2):
            options["use_bias"] = False
        elif dice.chance(0.5):
            options["bias_initializer"] = "random_normal"
        if dice.chance(0.2):
            options["kernel_regularizer"] = dice.one(REGULARIZERS)
        if dice.chance(0.2):
            options["kernel_constraint"] = dice.one(constraints)
        return self.add(Made("layers.Dense", options), value, shape=(*self.shapes[value][:-1], units))

    def merge(self, values: list[int]) -> int:
        shapes = [self.shapes[value] for value in values]
        width = sum(shape[-1] for shape in shapes)
        if len(set(shapes)) == 1:
            kind = self._dice.one(MERGING if len(values) == 2 else MERGING_MORE)
            width = width if kind == "Concatenate" else shapes[0][-1]
            return self.add(Made(f"layers.{kind}"), *values, shape=(*shapes[0][:-1], width))
        return self.add(Made("layers.Concatenate"), *values, shape=(*shapes[0][:-1], width))

    def embed(self) -> None:
        """Adds an embedding of the ids."""
        self.masked = self._dice.chance(0.6)
        options: dict[str, Any] = {
            "input_dim": VOCABULARY,
            "output_dim": self._dice.one(WIDTHS),
            "mask_zero": self.masked,
        }
        if self._dice.chance(0.2):
            options["embeddings_regularizer"] = self._dice.one(REGULARIZERS)
        shape = (*self.shapes[0], options["output_dim"])
        self.first = self.add(Made("layers.Embedding", options), 0, shape=shape, again=False)

    def further_input(self) -> None:
        """Adds an input of numbers."""
        shape = (self._dice.one(WIDTHS),)
        self.add(Made("Input", {"shape": shape}), shape=shape)

    def pool(self) -> None:
        """Joins the loose values, and makes one step of their steps."""
        value = self.join()
        kind = (
            "GlobalAveragePooling1D" if self.masked else self._dice.one(("GlobalAveragePooling1D", "Flatten"))
        )
        width = math.prod(self.shapes[value]) if kind == "Flatten" else self.shapes[value][-1]
        self.first, self.masked = self.add(Made(f"layers.{kind}"), value, shape=(width,), again=False), False
        self._takes.clear()

    def join(self) -> int:
        """Joins the values that no layer reads, and returns the number of the result."""
        used = {value for call in self._calls for value in call.values}
        loose = [value for value in range(self.first, len(self.shapes)) if value not in used]
        return self.merge(loose) if len(loose) > 1 else len(self.shapes) - 1

    def _dense(self, value: int) -> int:
        return self.dense(value, self._dice.one(WIDTHS))

    def _two_readers(self, value: int) -> int:
        return self.merge([self._dense(value), self._dense(value)])

    def _merge(self, value: int) -> int:
        return self.merge([value, self._any_value()])

    def _small(self, value: int) -> int:
        """Adds a layer without weights."""
        if self._dice.chance(0.5):
            options = {"rate": self._dice.one((0.25, 0.5)), "seed": self._dice.between(1, 1000)}
            return self.add(Made("layers.Dropout", options), value, shape=self.shapes[value], again=False)
        layer = Made("layers.Activation", {"activation": self._dice.one(ACTIVATIONS)})
        return self.add(layer, value, shape=self.shapes[value])

    def _formula(self, value: int) -> int:
        """Adds a layer of the user's own, with a weight for each input."""
        name = f"Formula{self._prefix}{len(self._layers)}"
        code = (
            "@keras.saving.register_keras_serializable()",
            f"class {name}(keras.layers.Layer):",
            "    def build(self, shape):",
            '        self.w = self.add_weight(shape=(shape[-1],), initializer="ones")',
            "    def call(self, x):",
            "        w = self.w",
            *(f"        {line}" for line in draw_formula(["x", "(w * x)"], self._dice)),
            "        return w * result",
        )
        return self.add(Made(name, code=code), value, shape=self.shapes[value])

    def _normalized(self, value: int) -> int:
        """Adds a layer and a normalization. A bias before that of batches would have a gradient of rounding errors alone."""
        units = self._dice.one(WIDTHS)
        options = {"activation": "linear", "use_bias": False}
        value = self.add(
            Made("layers.Dense", {"units": units, **options}), value, shape=(*self.shapes[value][:-1], units)
        )
        layer = Made("layers.LayerNormalization", {"epsilon": EPSILON})
        if len(self.shapes[value]) == 1 and self._dice.chance(0.6):
            layer = Made("layers.BatchNormalization", {"epsilon": EPSILON, "momentum": 0.8})
        return self.add(layer, value, shape=self.shapes[value])

    def _model(self, value: int) -> int:
        """Adds a model."""
        inner = Drawing(self.shapes[value], self._dice, f"in_{len(self._layers)}_", normed=self._normed)
        inner.dense(0, self._dice.one(WIDTHS))
        for _ in range(self._dice.between(0, 2)):
            inner.step()
        last = inner.join()
        inner.freeze(0.1)
        return self.add(
            inner.network(), value, shape=inner.shapes[last], again=not inner.network().has_dropout
        )

    def _again(self, _: int) -> int:
        """Calls a layer a second time, if there is one."""
        if not self._takes:
            return 0
        name = self._dice.one(list(self._takes))
        shape, result = self._takes[name]
        values = [value for value, other in enumerate(self.shapes) if other == shape and value >= self.first]
        return self._call(name, (self._dice.one(values),), result) if values else 0


def draw_network(samples: Samples, training: Training, dice: Dice) -> tuple[Network, int | None]:
    """Returns a network, and the number of the steps of a sample of which each has outputs, or None."""
    shape = (samples.width,)
    # Ftrl forgets the first weights. A kernel that is nearly zero can't be scaled to a norm without large errors.
    normed = training.optimizer.name != "optimizers.Ftrl"
    drawing = Drawing(shape, dice, "", "int32" if samples.kind == "ids" else "float32", normed)
    if samples.kind == "bytes":
        drawing.first = drawing.add(Made("layers.Rescaling", {"scale": 1 / 255}), 0, shape=shape)
    steps = None
    if samples.kind == "ids":
        drawing.embed()
        for _ in range(dice.between(0, 2)):
            drawing.step()
        if dice.chance(0.5):
            steps = samples.width
        else:
            drawing.pool()
    if steps is None and dice.chance(0.3):
        for _ in range(dice.between(1, 2)):
            drawing.further_input()
    for _ in range(dice.between(0, 4)):
        drawing.step()
    last = drawing.join()
    drawing.freeze(0.1)
    drawing.dense(last, training.outputs, activation=training.goal.activation)
    return drawing.network(), steps
