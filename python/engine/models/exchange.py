"""Models on their way to and from other programs."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.checks import Shape, filled, flag
from engine._printing.progress import print_message
from engine.layers.core import named_leaves
from engine.models.compiled import CompiledModel

if TYPE_CHECKING:
    from engine.export import Graph

# What the sample of an export is made of: as many different numbers in [-1, 1], in an order without a pattern.
_DIFFERENT, _STEP = 1009, 617
# A length of samples, for the example in a message.
_EXAMPLE = 40


class ExchangedModel(CompiledModel):
    """Base class of models that export to ONNX and C and exchange weights with PyTorch."""

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: object = None,
        **options: Any,
    ) -> None:
        """Exports the model for inference in other programs, as ONNX or C.

        An `.onnx` file uses opset 13 and accepts any batch size. Its tensors are named after the layers, and its
        input has the dtype of `Input`. It needs the package onnx (`pip install onnx`). An `.h` file is one header
        in C99, which is also valid C++. It holds the weights and a function `..._predict` for one sample, needs
        only math.h, and explains at its top how to call it. Both compute what `predict` computes, up to rounding.

        Args:
            filepath: path of the file. An existing file is replaced once the new one is complete.
            format: "onnx" or "c"; by default the suffix of `filepath` decides, `.onnx` or `.h`.
            verbose: whether to print a line when the file is written; default False.
            input_signature: must be None. The input has the shape and dtype of `Input`.
            options: for "onnx" `opset_version`, at least 13; for "c" `prefix`, the prefix of all names, default the
                name of the file.

        Raises:
            ValueError: if the model isn't built, the format is unknown, a layer is computed in Python, or a weight
                isn't finite.
            ImportError: if the package onnx is not installed.
            OSError: if the file can't be written. An existing file is unchanged then.
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
        """Returns the weights as a PyTorch state dict for the same network.

        The network in PyTorch is a `torch.nn.Sequential` of one module per layer, and one more for the activation
        of a Dense layer:
        Flatten, Dense(8, activation="relu"), Dropout, Dense(3, activation="softmax") are Flatten, Linear, ReLU,
        Dropout, Linear, Softmax, with keys `1.weight`, `1.bias`, `4.weight`, `4.bias`. A nested model is a nested
        Sequential, with keys such as `0.1.weight`. Kernels are transposed, as PyTorch stores them. Settings that
        aren't weights are not transferred: set `eps` of normalization modules to that of the layers, by default
        1e-3.

        Args:
            modules: names of the PyTorch modules with weights, in the order of the layers, such as `["fc1",
                "fc2"]`, for a network that isn't such a Sequential.
            numpy: whether to return NumPy arrays instead of tensors. PyTorch is not needed then.

        Returns:
            A dict from keys to tensors, for `load_state_dict`.

        Raises:
            ImportError: if PyTorch is not installed.
            ValueError: if the model isn't built, or a layer has no equivalent in PyTorch.
        """
        from engine.export import to_torch_state_dict

        with self._lock:
            shape = self._sample("to_torch_state_dict()")
            return to_torch_state_dict(self._parts_in_order, shape, modules, flag(numpy, "numpy"))

    def from_torch_state_dict(self, state: Mapping[str, Any], modules: Sequence[str] | None = None) -> None:
        """Sets the weights from a PyTorch state dict of the same network.

        Args:
            state: what `state_dict()` of the network returned: a dict from keys to tensors or NumPy arrays. See
                `to_torch_state_dict` for the network and its keys.
            modules: names of the PyTorch modules with weights, in the order of the layers, such as `["fc1",
                "fc2"]`, for a network that isn't such a Sequential.

        Raises:
            TypeError: if `state` is not a state dict.
            ValueError: if keys are missing or unexpected, or shapes differ. The message names them all, and the
                model is unchanged.
        """
        from engine.export import from_torch_state_dict

        with self._lock:
            shape = self._sample("from_torch_state_dict()")
            self.set_weights(from_torch_state_dict(self._parts_in_order, shape, state, modules))

    @abstractmethod
    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the weights from a list of arrays, `weights`, in the order of `get_weights`."""

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
