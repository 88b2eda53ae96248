"""Data for the inputs of a model, as users give them: arrays, frames, lists, tuples and dicts, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine._base.checks import Shape
from engine._core_interface.cpp import DeviceArray, Rows
from engine._data.array_conversion import only_array, require_sample_shape, sample_shape_of_empty
from engine._data.device_arrays import to_device
from engine._data.exact_integers import Reading, codes_of_integers, require_exact
from engine._data.frames import columns_by_name, feature_names, in_order_of
from engine._data.lazy_rows import LazyRows, require_tokens, unchecked_rows
from engine._data.several_arrays import entries_by_name, side_by_side, symbol_with_rank_of, with_rank_of
from engine._data.strings import numbers_of_strings
from engine._training.checked_samples import rows_of
from engine._training.diagnostic_warnings import warn
from engine.models.built_graph import BuiltGraph


class InputData(NamedTuple):
    """What a model reads, to which it compares the samples that it gets."""

    graph: BuiltGraph
    """The layers of the model."""
    device: str = "cpu"
    """Where the model computes. It reads tensors in memory of this GPU where they are."""

    @property
    def _sample_shape(self) -> Shape | None:
        """The shape of one sample of the one input; None before it is known."""
        return self.graph.input_layers[0].sample_shape if self.graph.input_layers else None

    @property
    def names(self) -> list[str]:
        """The keys of data for the inputs: those of the dict that the model was made with, or the names of the layers."""
        return list(self.graph.input_form.keys) or [start.name for start in self.graph.input_layers]

    def unchecked(self, x: Any, name: str, names: list[str] | None) -> tuple[Rows | LazyRows, Any]:
        """Returns the samples as rows, whose numbers the core checks, and the samples as one array for messages.

        Args:
            x: as given.
            name: of the argument, for messages.
            names: the columns of a data frame in the order of the features; None keeps their order.
        """
        if len(self.graph.input_layers) > 1:
            rows = self._side_by_side(x, name)
            return rows, rows
        x = self._exact(self.array(x, name, names), 0, name)
        found = unchecked_rows(x, self._sample_shape, name)
        require_tokens(found, self._most_tokens, name)
        return found, x

    def checked(
        self, x: Any, name: str, shape: Shape | None, names: list[str] | None
    ) -> tuple[Rows | LazyRows, list[str] | None]:
        """Returns the samples as checked rows, and the names of their columns.

        Args:
            x: as given.
            name: of the argument, for messages.
            shape: of one sample, for a model that doesn't know it.
            names: the columns of a data frame in the order of the features; None keeps their order.
        """
        if len(self.graph.input_layers) > 1:
            return self._side_by_side(x, name), None
        x = self.array(x, name, names)
        rows = rows_of(self._exact(x, 0, name), self._sample_shape or shape, name)
        require_tokens(rows, self._most_tokens, name)
        return rows, feature_names(x)

    def shape_of_none(self, x: Any, name: str) -> Shape | None:
        """Returns the shape of one sample of a batch without samples, as `sample_shape_of` does; None for other batches.

        Args:
            x: the batch.
            name: of the argument, for messages.
        """
        if len(self.graph.input_layers) <= 1:
            sample = sample_shape_of_empty(x, name)
            if sample is not None:
                require_sample_shape(sample, self._sample_shape, name)
            return sample
        samples = [sample_shape_of_empty(each, name) for each in self.arrays(x, name)]
        for start, sample in zip(self.graph.input_layers, samples, strict=True):
            if sample is None:
                return None
            require_sample_shape(sample, start.sample_shape, f"{name}[{start.name!r}]")
        return tuple(samples)

    def arrays(self, x: Any, name: str) -> list[Any]:
        """Returns the entries of a list or dict, or the columns of a frame, one for each input."""
        keys = self.names
        if isinstance(x, (list, tuple)) and self.graph.input_form.given not in (
            (),
            self.graph.input_form.keys,
        ):
            msg = (
                f"`{name}` must be a dict with the keys {keys}, as the model was made with a dict of inputs whose keys are in another "
                "order than the sorted one, in which a list would be read; got a list"
            )
            raise ValueError(msg)
        x = columns_by_name(self.graph.input_form.flat(x))
        if isinstance(x, Mapping) and not all(key in x for key in keys):
            keys = [start.name for start in self.graph.input_layers]
        with self.graph.input_form.explained(keys):
            arrays = entries_by_name(x, keys, name, "input")
        arrays = [
            to_device(only_array(array, len(start.sample_shape) + 1), self.device, f"{name}[{key!r}]")
            for array, key, start in zip(arrays, keys, self.graph.input_layers, strict=True)
        ]
        if not self.graph.takes_strings:
            return arrays
        return [
            numbers_of_strings(array, f"{name}[{key!r}]") if start.dtype == "string" else array
            for array, key, start in zip(arrays, keys, self.graph.input_layers, strict=True)
        ]

    def symbols(self, symbols: Sequence[Any]) -> list[Any]:
        """Returns symbols, one for each input, with a last axis of length 1 more or less where the inputs have one."""
        if len(symbols) != len(self.graph.input_layers):
            return list(symbols)
        return [
            symbol_with_rank_of(symbol, start.sample_shape)
            for symbol, start in zip(symbols, self.graph.input_layers, strict=True)
        ]

    def array(self, x: Any, name: str, names: list[str] | None) -> Any:
        """Returns the samples themselves, if `x` is a list of one array or a dict with the name of the input.

        Args:
            x: as given.
            name: of the argument, for messages.
            names: the columns of a data frame in the order of the features; None keeps their order.
        """
        flat = self.graph.input_form.flat(x)
        self._warn_of_structure(x)
        x = flat
        if self.graph.takes_strings:
            given = x if isinstance(x, Mapping) and self.graph.input_layers else only_array(x, 1)
            x = numbers_of_strings(self._entry_in(given, name), name)
        x = to_device(x, self.device, name)
        if isinstance(x, (np.ndarray, DeviceArray)):
            return x if self._sample_shape is None else with_rank_of(x, self._sample_shape)
        if isinstance(x, Mapping) and self.graph.input_layers:
            entry = to_device(self._entry_in(x, name), self.device, name)
            return in_order_of(names, entry, name)
        shape = self._sample_shape
        rank = 2 if shape is None else 1 if shape == (1,) else len(shape) + 1
        return in_order_of(names, to_device(only_array(x, rank), self.device, name), name)

    def _side_by_side(self, x: Any, name: str) -> Any:
        """Returns the samples of several inputs as the core reads them."""
        shapes = [start.sample_shape for start in self.graph.input_layers]
        arrays = [
            self._exact(array, number, f"{name}[{key!r}]")
            for number, (array, key) in enumerate(zip(self.arrays(x, name), self.names, strict=True))
        ]
        self._warn_of_structure(x)
        return side_by_side(arrays, self.names, shapes, self.graph.tokens, name)

    def _warn_of_structure(self, x: Any) -> None:
        """Warns, as Keras does, of samples in a list, or with further keys, for a model that was made with a dict of inputs."""
        keys = set(self.graph.input_form.keys)
        if not keys or not isinstance(x, (list, tuple, Mapping)):
            return
        further = sorted(map(str, x.keys() - keys)) if isinstance(x, Mapping) and keys <= x.keys() else []
        if further or not isinstance(x, Mapping):
            what = (
                f"a dict that also has {further}, which nothing reads" if further else f"a {type(x).__name__}"
            )
            warn(
                "The structure of `inputs` doesn't match the expected structure, which is a dict with the keys "
                f"{list(self.graph.input_form.keys)}: got {what}"
            )

    def _exact(self, x: Any, number: int, name: str) -> Any:
        """Returns the samples of an input with codes for integers that float32 can't hold, if layers read codes.

        Args:
            x: the samples.
            number: of the input.
            name: of the argument, for messages.

        Raises:
            ValueError: for an integer that float32 would round, if layers compute with it.
        """
        reading = self.graph.readings[number] if self.graph.readings else Reading.NUMBERS
        if reading is Reading.CODED:
            return codes_of_integers(x, name)
        if reading is Reading.EXACT:
            require_exact(x, name)
        return x

    @property
    def _most_tokens(self) -> int | None:
        """If the one input is indices: how many different ones there are."""
        return self.graph.tokens[0] if self.graph.tokens else None

    def _entry_in(self, x: Any, name: str) -> Any:
        """Returns the entry of a dict for the one input of the model; other values as they are."""
        if not isinstance(x, Mapping):
            return x
        own = next((key for key in self.graph.input_form.keys if key in x), self.graph.input_layers[0].name)
        if own not in x:
            msg = f"`{name}` must have the key {own!r}, of the model's one input, but is a dict of {list(x)}"
            raise ValueError(msg)
        return x[own]
