"""Random graphs of layers, the same in Keras and here: branches, joins, shared layers, models within, several ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
TOKENS = 7
FORMS: tuple[type, ...] = (list, tuple, dict)


class Symbol(NamedTuple):
    """A symbolic tensor, and the shape of one sample."""

    tensor: Any
    shape: Shape


class RandomGraph:
    """A model, and how to make samples for it.

    Args:
        api: `engine` or `keras`.
        seed: of the random structure; the same one gives the same network with either.
        merging: the layers, by name, that join inputs of one shape.
        steps: the number of layers beside those that are needed in any case.
    """

    def __init__(self, api: Any, seed: int, merging: tuple[str, ...] = ("Add",), steps: int = 9) -> None:
        self._api, self._rng, self._merging = api, np.random.default_rng(seed), merging
        self._count = 0
        self._shared: list[tuple[Any, Shape, Callable[[Any], list[Symbol]]]] = []
        starts = [self._input(number) for number in range(self._rng.integers(1, 4))]
        self.inputs = [tensor for tensor, _, _ in starts]
        self._samples = [(shape, tokens) for _, shape, tokens in starts]
        self._pool = [
            Symbol(self._layer("Embedding", TOKENS, 4)(tensor), (*shape, 4))
            if tokens
            else Symbol(tensor, shape)
            for tensor, shape, tokens in starts
        ]
        first = len(self._pool)
        for _ in range(steps):
            self._pool += self._step()
        last = [
            self._flat(symbol) for symbol in (*self._pool[:first], *self._pool[-3:], self._any(self._pool))
        ]
        whole = self._layer("Concatenate")([each.tensor for each in last])
        ends = [self._layer("Dense", 3, "softmax")(whole)]
        others = self._rng.integers(0, 3)
        ends += [self._any(self._pool[first:] or self._pool).tensor for _ in range(others)]
        self.input_form, self.output_form = self._form(len(self.inputs)), self._form(len(ends))
        self.model = api.Model(
            self._packed(self.inputs, self.input_form, "input"),
            self._packed(ends, self.output_form, "end"),
            name=f"graph_{seed}",
        )

    def x(self, rows: int = 5) -> Any:
        """Returns random samples in the form of the inputs."""
        rng = np.random.default_rng(self._count)
        arrays: list[NDArray[Any]] = [
            rng.integers(0, TOKENS, (rows, *shape)).astype(np.float32)
            if tokens
            else rng.normal(size=(rows, *shape)).astype(np.float32)
            for shape, tokens in self._samples
        ]
        return self._packed(arrays, self.input_form, "input")

    def packed_inputs(self, values: list[Any]) -> Any:
        """Returns one value for each input in the form of the inputs."""
        return self._packed(values, self.input_form, "input")

    def _form(self, count: int) -> type | None:
        form = FORMS[self._rng.integers(len(FORMS))]
        return None if count == 1 and self._rng.random() < 0.6 else form

    def _packed(self, values: list[Any], form: type | None, name: str) -> Any:
        if form is None:
            return values[0]
        if form is dict:
            return {f"{name}_{number}": value for number, value in enumerate(values)}
        return form(values)

    def _any(self, values: list[Any]) -> Any:
        return values[self._rng.integers(len(values))]

    def _layer(self, kind: str, *arguments: Any, **options: Any) -> Any:
        self._count += 1
        options.setdefault("name", f"{kind.lower()}_{self._count}")
        return getattr(self._api.layers, kind)(*arguments, **options)

    def _input(self, number: int) -> tuple[Any, Shape, bool]:
        tokens = bool(self._rng.random() < 0.2)
        shape: Shape = self._any([(3,), (4,), (6,)]) if tokens else self._any([(4,), (5,), (3, 4), (2, 6)])
        name = f"input_{number}"
        return self._api.Input(shape, name=name), shape, tokens

    def _flat(self, symbol: Symbol) -> Symbol:
        if len(symbol.shape) == 1:
            return symbol
        return Symbol(self._layer("Flatten")(symbol.tensor), (math.prod(symbol.shape),))

    def _step(self) -> list[Symbol]:
        return self._any(
            [
                self._dense,
                self._elementwise,
                self._moved,
                self._join,
                self._join,
                self._concatenate,
                self._again,
                self._chain_within,
                self._graph_within,
            ]
        )()

    def _dense(self) -> list[Symbol]:
        x, units = self._any(self._pool), int(self._rng.integers(2, 6))
        layer = self._layer("Dense", units, self._any([None, "relu", "tanh", "gelu"]))
        self._shared.append(
            (layer, x.shape[-1:], lambda x: [Symbol(layer(x.tensor), (*x.shape[:-1], units))])
        )
        return [Symbol(layer(x.tensor), (*x.shape[:-1], units))]

    def _elementwise(self) -> list[Symbol]:
        x = self._any(self._pool)
        kind, *arguments = self._any(
            [
                ("Dropout", 0.3),
                ("BatchNormalization",),
                ("LayerNormalization",),
                ("Activation", "sigmoid"),
                ("Rescaling", 0.5, 0.1),
                ("ReLU",),
                ("UnitNormalization",),
                ("Identity",),
            ]
        )
        return [Symbol(self._layer(kind, *arguments)(x.tensor), x.shape)]

    def _moved(self) -> list[Symbol]:
        x = self._any(self._pool)
        if len(x.shape) == 1:
            return [Symbol(self._layer("RepeatVector", 2)(x.tensor), (2, *x.shape))]
        if self._rng.random() < 0.5:
            return [self._flat(x)]
        return [Symbol(self._layer("Permute", (2, 1))(x.tensor), x.shape[::-1])]

    def _join(self) -> list[Symbol]:
        x = self._any(self._pool)
        alike = [each for each in self._pool if each.shape == x.shape]
        others = [self._any(alike) for _ in range(self._rng.integers(0, 2))]
        if not others or self._rng.random() < 0.5:
            others.append(Symbol(self._layer("Dense", x.shape[-1], "tanh")(x.tensor), x.shape))
        kind = self._any(list(self._merging))
        joined = [x, *others][:2] if kind == "Subtract" else [x, *others]
        return [Symbol(self._layer(kind)([each.tensor for each in joined]), x.shape)]

    def _concatenate(self) -> list[Symbol]:
        x = self._any(self._pool)
        alike = [each for each in self._pool if each.shape[:-1] == x.shape[:-1]]
        joined = [x, self._any(alike), self._any(alike)]
        if len(x.shape) > 1 and self._rng.random() < 0.5:
            alike = [each for each in self._pool if each.shape[1:] == x.shape[1:]]
            joined = [x, self._any(alike)]
            layer, shape = (
                self._layer("Concatenate", axis=1),
                (sum(each.shape[0] for each in joined), *x.shape[1:]),
            )
        else:
            layer, shape = self._layer("Concatenate"), (*x.shape[:-1], sum(each.shape[-1] for each in joined))
        return [Symbol(layer([each.tensor for each in joined]), shape)]

    def _again(self) -> list[Symbol]:
        """Calls a layer or a model a second time."""
        fitting = [
            (call, x)
            for _, shape, call in self._shared
            for x in self._pool
            if x.shape[-len(shape) :] == shape
        ]
        if not fitting:
            return self._dense()
        call, x = self._any(fitting)
        return call(x)

    def _chain_within(self) -> list[Symbol]:
        x, k = self._any(self._pool), self._layer
        units = int(self._rng.integers(2, 5))
        self._count += 1
        model = self._api.Sequential(
            [self._api.Input(x.shape), k("Dense", units, "relu"), k("Dropout", 0.2), k("LayerNormalization")],
            name=f"chain_{self._count}",
        )

        def call(x: Symbol) -> list[Symbol]:
            return [Symbol(model(x.tensor), (*x.shape[:-1], units))]

        self._shared.append(
            (model, x.shape, lambda x: call(x) if len(x.shape) == len(shape) else self._dense())
        )
        shape = x.shape
        return call(x)

    def _graph_within(self) -> list[Symbol]:
        """A model with two inputs and two outputs, called on a tensor and on a result of it."""
        x, k = self._any(self._pool), self._layer
        a, b = self._api.Input(x.shape), self._api.Input(x.shape)
        left, right = k("Dense", 3, "tanh")(a), k("Dense", 3)(b)
        both = k("Add")([left, right])
        self._count += 1
        model = self._api.Model([a, b], [k("Concatenate")([both, left]), both], name=f"inner_{self._count}")
        other = k("Dense", x.shape[-1], "relu")(x.tensor)
        first, second = model([x.tensor, other])
        rows = x.shape[:-1]
        found = [Symbol(first, (*rows, 6)), Symbol(second, (*rows, 3))]
        if self._rng.random() < 0.5:
            found += [Symbol(model([other, x.tensor])[0], (*rows, 6))]
        return found


def arrays(results: Any) -> list[NDArray[Any]]:
    """Returns the outputs of a model, in any form, as a list."""
    if isinstance(results, dict):
        return [results[key] for key in sorted(results)]
    return list(results) if isinstance(results, (list, tuple)) else [results]
