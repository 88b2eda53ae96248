"""Models on their way to and from other programs."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._checks import Shape, filled, flag
from engine._progress import print_message
from engine.layers.core import named_leaves
from engine.models.compiled import CompiledModel

if TYPE_CHECKING:
    from engine.export import Graph

# What the sample of an export is made of: as many different numbers in [-1, 1], in an order without a pattern.
_DIFFERENT, _STEP = 1009, 617
# A length of samples, for the example in a message.
_EXAMPLE = 40


class ExchangedModel(CompiledModel):
    """A model that can be written for other programs, and exchange weights with PyTorch."""

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: object = None,
        **options: Any,
    ) -> None:
        """Write the model for predictions in other programs.

        `.onnx` is for runtimes of ONNX: opset 13, any batch size, tensors named after layers, the dtype that `Input`
        has. It needs the package onnx (`pip install onnx`). `.h` is C99, or C++: one header with the
        weights and a function `..._predict` for one sample, that needs nothing but math.h; how to call it is written
        at its top. Both compute what `predict` does, to rounding; what layers do in training alone is left out.

        Args:
            filepath: of the file. It is replaced when the new one is complete.
            format: "onnx" or "c"; default by the suffix of `filepath`, `.onnx` or `.h`.
            verbose: whether to print a line when it is done; default not.
            input_signature: None; the input's shape and dtype are those of `Input`.
            options: `opset_version` of "onnx", at least 13; `prefix` of the names in "c", default the file's name.

        Raises:
            ValueError: for a model without weights, another format, a layer that is computed in Python, or weights that
                aren't finite.
            ImportError: where the package onnx is missing.
            OSError: where the file can't be written; it is as it was then.
        """
        from engine.export import destination

        if input_signature is not None:
            msg = "`input_signature` must be None, as the input is that of the model: give `Input` its shape and dtype"
            raise ValueError(msg)
        printed = verbose is not None and flag(verbose, "verbose")
        write = destination(filepath, format, options)
        with self._lock:
            graph = self._graph()
        write(graph)
        if printed:
            print_message(f"Exported model {self.name!r} to {os.fspath(filepath)!r}.")

    def to_torch_state_dict(
        self, modules: Sequence[str] | None = None, *, numpy: bool = False
    ) -> dict[str, Any]:
        """The weights as the state dict of the same network in PyTorch.

        That is a `torch.nn.Sequential` of one module per layer, and one more for the activation of a Dense layer:
        Flatten, Dense(8, activation="relu"), Dropout, Dense(3, activation="softmax") are Flatten, Linear, ReLU,
        Dropout, Linear, Softmax, with keys `1.weight`, `1.bias`, `4.weight`, `4.bias`. A model within is a Sequential
        within, with keys such as `0.1.weight`. Kernels are transposed, as torch has it. What is no weight doesn't travel: give the modules the layers' `eps`, which is 1e-3 here.

        Args:
            modules: names of the modules with weights in the layers' order, such as `["fc1", "fc2"]`, for a network
                that is no such Sequential.
            numpy: whether values are arrays of NumPy instead of tensors; torch isn't needed then.

        Returns:
            For `load_state_dict`.

        Raises:
            ImportError: where torch is missing.
            ValueError: for a model without weights, or a layer that torch has no twin of.
        """
        from engine.export import to_torch_state_dict

        with self._lock:
            shape = self._sample("to_torch_state_dict()")
            return to_torch_state_dict(self._parts_in_order, shape, modules, flag(numpy, "numpy"))

    def from_torch_state_dict(self, state: Mapping[str, Any], modules: Sequence[str] | None = None) -> None:
        """Take over the weights of the same network in PyTorch.

        Args:
            state: what its `state_dict()` returned: tensors by key, or arrays of NumPy. `to_torch_state_dict` tells
                which network that is, and which keys it has.
            modules: names of the modules with weights in the layers' order, such as `["fc1", "fc2"]`, for a network
                that is no such Sequential.

        Raises:
            TypeError: for something that is no state dict.
            ValueError: for missing or unexpected keys and for other shapes, all of which are named; nothing has
                changed then.
        """
        from engine.export import from_torch_state_dict

        with self._lock:
            shape = self._sample("from_torch_state_dict()")
            self.set_weights(from_torch_state_dict(self._parts_in_order, shape, state, modules))

    @abstractmethod
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Take over `weights`, in the order of `get_weights`."""

    @property
    @abstractmethod
    def _parts_in_order(self) -> list[Any]:
        """Layers and models in the order in which they compute, one as often as it is used."""

    def _sample(self, action: str) -> Shape:
        """The shape of one."""
        if self._program is None or self._sample_shape is None:
            raise self._not_built(action)
        return self._sample_shape

    def _graph(self) -> Graph:
        """What `export` writes."""
        from engine.export import Graph, stages_of

        shape = self._sample("export()")
        if None in shape:
            msg = (
                f"model {self.name!r} takes samples of any length, {(None, *shape)}, but a file is for one of them: export "
                "a model of the same layers that begins with Input() of known lengths, such as "
                f"keras.Sequential([keras.Input({filled(shape, _EXAMPLE)}), *model.layers]), whose weights are the same"
            )
            raise ValueError(msg)
        inputs, program = self._inputs, self._program
        if inputs is None or program is None:
            raise self._not_built("export()")
        stages = stages_of(named_leaves(self._parts_in_order), shape)
        numbers = np.arange(math.prod(shape)) * _STEP % min(self._tokens or _DIFFERENT, _DIFFERENT)
        sample = numbers.astype(np.float32)
        if self._tokens is None:
            sample = (sample - _DIFFERENT // 2) / np.float32(_DIFFERENT // 2)
        outputs = program.predict(sample[np.newaxis])[0]
        return Graph(
            self.name or "model", inputs.name or "inputs", inputs.dtype, shape, stages, sample, outputs
        )
