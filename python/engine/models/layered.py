"""What a model of layers has of them: a program that computes them all, and their weights."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import Shape, fits, without_batch
from engine._base.cpp import Float32, Loan, Operation, Program, build, read_weights
from engine._training.compile_arguments import Compiled
from engine.layers import Embedding, InputLayer, Layer
from engine.layers._custom import CallArguments, canonical_dtype
from engine.layers.base import JOINING
from engine.layers.weights import HasWeights
from engine.models.lengths import Lowering, ProgramsByShape, known_shape
from engine.models.model import TrainableModel
from engine.models.stack import (
    first_uses,
    loss_is_masked,
    operations_through,
    reseeded,
    shapes_through,
    tracked,
)


class Layered(TrainableModel, HasWeights):
    """A chain of parts, layers and models of layers, which the layers' weights belong to.

    Its program computes all layers, whatever models they are in. Where other models use a layer as well, the program
    shares its weights with theirs, so that each sees at once what another has learnt.

    Args:
        name: of the model.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._layers: list[Any] = []
        self._modes: Sequence[bool | None] = ()  # the argument `training` of each layer's call, in a chain
        self._arguments: Sequence[
            CallArguments | None
        ] = ()  # its other arguments beside the inputs, in a chain
        self._operations: list[Operation] = []
        self._attached: list[Layer] = []  # the leaves that the program has, or did before parts of it changed
        self._outers: weakref.WeakSet[Layered] = weakref.WeakSet()

    @property
    def _leaves(self) -> list[Layer]:
        """The layers that have no layers within, in the order in which they compute, one as often as it is used."""
        return [leaf for part in self._layers for leaf in part._leaves]

    def _modes_of_leaves(self, training: bool | None) -> list[bool]:
        """For each of `leaves` what `training` is in it where this model is called with `training`; None: not told."""
        return _modes_through(self._layers, self._modes, training)

    @property
    def _leaf_arguments(self) -> list[CallArguments | None]:
        """What each of `_leaves` was called with beside its inputs."""
        return self._arguments_in(self._layers)

    def _arguments_in(self, stack: Sequence[Any]) -> list[CallArguments | None]:
        """The same of the leaves of `stack`, the parts of this model."""
        found: list[CallArguments | None] = []
        for part, arguments in zip(stack, self._arguments or (None,) * len(stack), strict=True):
            found += part._leaf_arguments if isinstance(part, Layered) else [arguments]
        return found

    @property
    def _owners(self) -> list[Layer]:
        """The leaves, each once."""
        return list(dict.fromkeys(self._leaves))

    def _models_within(self) -> list[Layered]:
        """The models that are parts of this one, or of a part."""
        inner = [part for part in self._layers if isinstance(part, Layered)]
        return [*inner, *(model for part in inner for model in part._models_within())]

    def _holds(self, model: object) -> bool:
        """Whether a model is a part of this one, or of a part."""
        return any(part is model for part in self._models_within())

    @property
    def _given_input_shape(self) -> Shape | None:
        """The shape of one sample, if it is known."""
        return None if self._inputs is None else self._inputs.sample_shape

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Creates the weights.

        Args:
            input_shape: shape of the inputs with the batch axis first, such as `(None, 784)`. Not needed if the
                model knows it.

        Raises:
            ValueError: if the model already has another input shape, or has no layers.
        """
        with self._lock:
            inputs = self._inputs if input_shape is None else InputLayer(without_batch(input_shape))
            if inputs is None:
                msg = (
                    "`input_shape` is missing: give it with the batch axis, such as model.build((None, 784))"
                )
                raise ValueError(msg)
            self._output_shape_for(inputs.sample_shape)
            if not self.built:
                self._restack(inputs, self._layers, self._compiled)

    def get_build_config(self) -> dict[str, Any] | None:
        """`{"input_shape": (None, ...)}`, for `build_from_config`; None before the shape is known."""
        return None if self._sample_shape is None else {"input_shape": (None, *self._sample_shape)}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Make the weights for what `get_build_config` returned.

        Args:
            config: with the key `input_shape`; None or empty does nothing.
        """
        if config and config.get("input_shape") is not None:
            self.build(tuple(config["input_shape"]))

    def _shape_to_build_for(self, sample: Shape) -> Shape:
        """What the first data, samples of shape `sample`, tell of the shape of all: with indices, as of texts, no lengths."""
        leaves = self._leaves
        if not leaves or not isinstance(leaves[0], Embedding):
            return sample
        free = tuple(None if size > 1 else size for size in sample)
        try:
            for leaf, shape in zip(leaves, shapes_through(free, leaves), strict=False):
                leaf._fitting_weights(shape)
        except ValueError:
            return sample
        return free

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs for inputs of shape `input_shape`, both with the batch axis first."""
        return (None, *self._output_shape_for(without_batch(input_shape)))

    def _output_shape_for(self, input_shape: Shape) -> Shape:
        """The shape of one output for one input of `input_shape`; ValueError where that doesn't fit."""
        if not self._layers:
            msg = f"model {self.name!r} has no layers: add some with model.add()"
            raise ValueError(msg)
        if self._inputs is not None and not fits(input_shape, self._inputs.sample_shape):
            msg = (
                f"model {self.name!r} has input shape {(None, *self._inputs.sample_shape)}, so it can't take "
                f"{(None, *input_shape)}"
            )
            raise ValueError(msg)
        return shapes_through(input_shape, self._layers)[-1]

    @property
    def built(self) -> bool:
        """True if the weights have been created."""
        return self._program is not None

    def _parts(self) -> Sequence[HasWeights]:
        return self._layers

    @property
    def weights(self) -> list[Float32]:
        """The current weights as read-only arrays: layer by layer, such as kernel and bias."""
        program, leaves = self._program, self._owners
        if program is None:
            return [array for leaf in leaves for array in leaf.weights]
        arrays = iter(read_weights(program))
        return [
            array
            for leaf in leaves
            for array in leaf._as_layer_weights(islice(arrays, len(leaf._weight_names)))
        ]

    @property
    def trainable_weights(self) -> list[Float32]:
        """The weights that training updates, as read-only arrays."""
        return [array for leaf in self._owners for array in leaf.trainable_weights if self._trainable]

    @property
    def non_trainable_weights(self) -> list[Float32]:
        """The weights that training doesn't update by gradients, as read-only arrays."""
        if not self._trainable:
            return self.weights
        return [array for leaf in self._owners for array in leaf.non_trainable_weights]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`.

        Raises:
            ValueError: if the number of arrays or a shape differs. The weights are unchanged then.
        """
        with self._lock:
            values = self._checked(weights)
            if values and self._program is not None:
                self._program.write_variables(values)

    @property
    def losses(self) -> list[float]:
        """What layers added to the loss of the last batch by `add_loss`, and the penalties on the weights."""
        owners = self._owners
        return [
            *(loss for layer in owners for loss in layer._losses_of_call),
            *(loss for layer in owners for loss in layer._losses_of_weights),
        ]

    def _forget_penalties(self) -> None:
        for leaf in self._penalised:
            leaf._penalties = []

    def _by_layer(self, rows: Any, training: bool | None) -> Float32:
        """The outputs for `rows` (n, ...), by calling one leaf after the other.

        The program knows one `training` for all of them, and does not tell what penalties on outputs come to.
        """
        self._forget_penalties()
        outputs, penalties = rows, dict[Layer, list[float]]()
        if self._inputs is not None and (dtype := canonical_dtype(self._inputs.dtype)).kind != "f":
            outputs = np.asarray(rows).astype(dtype)
        calls = zip(self._leaves, self._modes_of_leaves(training), self._leaf_arguments, strict=True)
        for leaf, mode, given in calls:
            options: dict[str, Any] = {} if given is None else dict(given)
            outputs = Layer.__call__(leaf, outputs, training=mode, **options)
            if leaf.activity_regularizer is not None:  # a leaf that is used again has several
                penalties.setdefault(leaf, []).extend(leaf._penalties)
        for leaf, found in penalties.items():
            leaf._penalties = found
        return np.asarray(outputs)

    def _restack(self, inputs: InputLayer | None, stack: list[Any], compiled: Compiled | None) -> None:
        """Become a model of these parts, all or nothing; weights that exist stay as they are."""
        leaves, output_shape = [leaf for part in stack for leaf in part._leaves], None
        if inputs is not None and stack:
            *shapes, output_shape = shapes_through(inputs.sample_shape, stack)
            for part, sample in zip(stack, shapes, strict=True):
                if isinstance(part, Layered):
                    part.build((None, *sample))
        with JOINING:
            self._join(inputs, stack, leaves, output_shape, compiled)

    def _join(
        self,
        inputs: InputLayer | None,
        stack: list[Any],
        leaves: list[Layer],
        output_shape: Shape | None,
        compiled: Compiled | None,
    ) -> None:
        """Become a model of these parts, with these leaves; `output_shape` is None where it isn't known."""
        program, by_shape, weights = None, None, []
        operations: list[Operation] = []
        if inputs is not None and output_shape is not None:
            samples = shapes_through(inputs.sample_shape, leaves)
            known = known_shape(inputs.sample_shape, lambda shape: shapes_through(shape, leaves))
            shapes = shapes_through(known, leaves)
            given = self._arguments_in(stack)
            operations = operations_through(
                shapes, leaves, self._trainable, arguments=given, dtype=inputs.dtype
            )
            weights = [self._lent_or_own(*pair) for pair in first_uses(samples, leaves).items()]
            arrays = list(chain(*weights))
            program = build(math.prod(known), operations, arrays, math.prod(shapes[-1][:-1]))
            if None in inputs.sample_shape:
                by_shape = ProgramsByShape(program, known, self._lowering_of(leaves, given, inputs.dtype))
            if compiled is not None:
                self._compile_program(compiled, program, operations, leaves, samples)
        staying = set(leaves)
        for leaf in self._attached:
            if leaf not in staying:
                leaf._detach(self)
        self._attached = leaves
        if program is not None:
            first = 0
            for leaf, arrays in zip(dict.fromkeys(leaves), weights, strict=True):
                leaf._attach(self, program, first, len(arrays))
                first += len(arrays)
        parts = set(stack)
        for part in parts.union(self._layers):
            if isinstance(part, Layered):
                (part._outers.add if part in parts else part._outers.discard)(self)
        self._inputs, self._layers, self._operations = inputs, stack, operations
        self._sample_shape, self._output_shape = None if inputs is None else inputs.sample_shape, output_shape
        self._mixed = any(_modes_through(stack, self._modes, None))
        self._penalised = [leaf for leaf in leaves if leaf.activity_regularizer is not None]
        self._tokens = next((leaf._tokens for leaf in leaves if not leaf._only_moves_values), None)
        self._by_shape = by_shape
        self._program = program  # last: whoever finds it, without a lock, finds the rest as well

    def _lowering_of(
        self, leaves: list[Layer], arguments: Sequence[CallArguments | None], dtype: str
    ) -> Lowering:
        """What gives the operations of `leaves` for samples of any length, with what learns now."""
        learns, trainable = self._trainable, {leaf: leaf.trainable for leaf in leaves}

        def lowering(shape: Shape) -> tuple[list[Operation], Shape]:
            shapes = shapes_through(shape, leaves)
            operations = operations_through(
                shapes, leaves, learns, trainable=trainable, arguments=arguments, dtype=dtype
            )
            return operations, shapes[-1]

        return lowering

    def _lent_or_own(self, leaf: Layer, sample: Shape) -> list[Float32 | Loan]:
        """What the program has for a layer: weights of another model that is there, or else its own."""
        weights = leaf._initial_weights(sample)
        return [*(leaf._shared_weights(self) or weights)]

    def _compile_program(
        self,
        compiled: Compiled,
        program: Program,
        operations: Sequence[Operation],
        leaves: Sequence[Layer],
        samples: Sequence[Shape],
    ) -> None:
        asks = any("host" in operation for operation in operations)
        masked = (compiled.has_loss or len(compiled.names) > 1) and loss_is_masked(samples, leaves)
        compiled.apply(program, tracked(samples, leaves, self._trainable), samples[-1], asks, masked)

    def _reseed(self, seeds: Sequence[int | None]) -> None:
        if reseeded(self._owners, seeds):
            self._renew()

    def _renew(self) -> None:
        """Read all layers anew, which have changed."""
        for part in self._layers:
            if isinstance(part, Layered):
                part._renew()
        self._restack(self._inputs, self._layers, self._compiled)

    def _apply(self, compiled: Compiled) -> None:
        program, inputs, leaves = self._program, self._inputs, self._leaves
        if program and inputs:
            samples = shapes_through(inputs.sample_shape, leaves)
            known = known_shape(inputs.sample_shape, lambda shape: shapes_through(shape, leaves))
            shapes, given = shapes_through(known, leaves), self._leaf_arguments
            now = operations_through(shapes, leaves, self._trainable, arguments=given, dtype=inputs.dtype)
            if self._operations == now:
                self._compile_program(compiled, program, self._operations, leaves, samples)
                return
        # `trainable` was assigned, or there is no program yet.
        self._restack(inputs, self._layers, compiled)

    def _around(self) -> list[Layered]:
        """The models with weights that this one is a part of, the inner ones first."""
        with JOINING:
            outers = list(self._outers)
        found = [model for outer in outers if outer.built for model in (outer, *outer._around())]
        return list(dict.fromkeys(reversed(found)))[::-1]

    @contextmanager
    def _changing(self) -> Iterator[list[Layered]]:
        """Hold this model and those around it, which the result lists, while its layers change."""
        around = self._around()
        with ExitStack() as locks:
            for model in (*reversed(around), self):
                locks.enter_context(model._lock)
                model._require_idle("given other layers")
            yield around

    def _exchange(self, around: Sequence[Layered], inputs: InputLayer | None, stack: list[Any]) -> None:
        """Become a model of these parts, and let those around it follow; all or nothing."""
        for outer in around:
            outer._require_fitting(_leaves_with(outer, self, stack))
        self._restack(inputs, stack, self._compiled)
        for outer in around:
            outer._restack(outer._inputs, outer._layers, outer._compiled)

    def _require_fitting(self, leaves: list[Layer]) -> None:
        """Raise ValueError unless this model may have `leaves` in place of its own."""
        samples = shapes_through(self._sample_shape or (), leaves)
        first_uses(samples, leaves)
        for leaf, sample in zip(leaves, samples, strict=False):
            leaf._fitting_weights(sample)
        if self._compiled is not None:
            self._compiled.require_readable(samples[-1])
            loss_is_masked(samples, leaves)


def _modes_through(stack: Sequence[Any], modes: Sequence[bool | None], training: bool | None) -> list[bool]:
    """What `_modes_of_leaves` returns for a model of these parts, each called with one of `modes`."""
    found: list[bool] = []
    for part, own in zip(stack, modes or repeat(None), strict=False):
        found += part._modes_of_leaves(own if training is None else training)
    return found


def _leaves_with(model: Layered, changed: Layered, stack: Sequence[Any]) -> list[Layer]:
    """What the leaves of `model` are once `changed`, a part of it or of a part, is made of `stack`."""
    if model is changed and not stack:
        msg = f"model {model.name!r} is a part of another one, which needs a layer of it: add() one before pop()"
        raise ValueError(msg)
    found: list[Layer] = []
    for part in stack if model is changed else model._layers:
        found += _leaves_with(part, changed, stack) if isinstance(part, Layered) else part._leaves
    return found
