"""How models whose inputs nobody declared get them: from the first data, symbols or shapes that they meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from engine import tree
from engine._base.checks import Shape, without_batch
from engine._core_interface.cpp import Rows
from engine._data.lazy_rows import LazyRows
from engine._data.several_arrays import sample_shape_of
from engine.layers import InputLayer, Layer
from engine.layers.input_spec import require_compatible
from engine.layers.symbols import symbols_of
from engine.models.building import program_for, set_graph
from engine.models.built_graph import BuiltGraph
from engine.models.input_data import InputData
from engine.models.layer_graph import LayerGraph
from engine.models.own_call import arguments_of
from engine.models.structures import arrays_of, nested_structure_of, structure_of

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface

_Also = TypeVar("_Also")


def build_for_data(model: ModelInterface, x: Any, single: bool = False) -> BuiltGraph:
    """Returns the graph with which a model reads samples, and builds it if a `call` has inputs that aren't known yet.

    Where samples have other lengths than the first ones, which built the model, it is built again for any length.

    Args:
        model: the model.
        x: samples. Other things than arrays, such as generators, are left alone.
        single: whether to build for one array, too, and not only for several.
    """
    _require_spec(model, x)
    graph = _fitting_graph(model, x)
    if graph.input_layers:
        return graph
    if model._body is None:
        _require_one_array(model, x)
        return graph
    nested = isinstance(x, (list, tuple, Mapping))
    within = nested and any(
        isinstance(each, (list, tuple, Mapping)) for each in (x.values() if isinstance(x, Mapping) else x)
    )
    arrays = tree.flatten(x) if nested else [x]
    # One vector may be a sample of some numbers, but several are inputs of one number for each sample, as in Keras.
    least = 1 if len(arrays) > 1 else 2
    if not all(len(getattr(each, "shape", ())) >= least for each in arrays):
        return graph
    if len(arrays) == 1 and not isinstance(x, Mapping):
        if not single:
            return graph
        model._build_for_inputs([arrays[0].shape[1:]])
        return _fitting_graph(model, x)
    shapes: Any = [(None, *each.shape[1:]) for each in arrays]
    if within:
        shapes = nested_structure_of(x).packed(shapes)
    elif isinstance(x, Mapping):
        shapes = {key: (None, *each.shape[1:]) for key, each in x.items()}
    with model._lock.held():
        if not model._built_graph.input_layers:
            build_for_shapes(model, shapes)
    return _fitting_graph(model, x)


def read_inputs(
    model: ModelInterface,
    x: Any,
    read: Callable[[InputData], tuple[Rows | LazyRows, _Also]],
    *,
    builds: bool = True,
) -> tuple[BuiltGraph, Rows | LazyRows, _Also]:
    """Returns samples as rows with the graph that reads them, and what comes with them, and builds a model that isn't built.

    Args:
        model: the model.
        x: the samples as given.
        read: returns both from what is known of the inputs. It is called again once the model is built, which says which
            inputs hold integers or indices. Another thread may have built it, for samples of another length.
        builds: whether to build a model without a `call`, too, and not only the others.
    """
    graph = build_for_data(model, x)
    rows, also = read(InputData(graph, model.device))
    if graph.program is None and (builds or model._body is not None):
        program_for(model, sample_shape_of(rows))
        graph = build_for_data(model, x)
        rows, also = read(InputData(graph, model.device))
    return graph, rows, also


def build_for_symbols(model: ModelInterface, x: Any) -> None:
    """Builds a model with a `call` of its own for symbols in lists, tuples and dicts, if its inputs aren't known."""
    if model._body is None or model._built_graph.input_layers or not isinstance(x, (list, tuple, Mapping)):
        return
    form = nested_structure_of(x)
    symbols = None if form.kind is None else symbols_of(form.unpacked(x))
    if symbols is not None:
        shapes = [(None, *symbol._sample) for symbol in symbols]
        with model._lock.held():
            build_for_shapes(model, form.packed(shapes))


def build_for_shapes(model: ModelInterface, shapes: Any) -> None:
    """Builds a model with a `call` of its own for several inputs, whose shapes are in a list, tuple or dict."""
    structure = nested_structure_of(shapes, _is_shape)
    if structure.nested is not None:
        starts = [InputLayer(without_batch(shape)) for shape in structure.unpacked(shapes)]
    else:
        structure = structure_of(shapes)
        named: dict[Any, Any] = dict(shapes) if isinstance(shapes, Mapping) else dict(enumerate(shapes))
        keys: tuple[Any, ...] = structure.keys or tuple(named)
        starts = [
            InputLayer(without_batch(named[key]), name=key if isinstance(key, str) else None) for key in keys
        ]
    arguments = [arguments_of(structure, len(starts))]
    graph = model._built_graph.changed(
        input_layers=starts,
        has_declared_shape=False,
        input_form=structure,
        arguments=arguments,
        training_of_calls=[None],
    )
    set_graph(model, graph, model._compiled)


def _fitting_graph(model: ModelInterface, x: Any) -> BuiltGraph:
    """Returns the graph of a model. Where samples have other lengths than the data that built it, their axes may have any.

    Where a layer needs the length, nothing changes.

    Args:
        model: the model.
        x: samples. Other things than arrays, and arrays that don't fit for other reasons, are left alone.
    """
    graph = model._built_graph  # which other threads may build again meanwhile
    if graph.has_declared_shape or _opened_shapes(graph, x) == graph.input_shapes:
        return graph
    with model._lock.held(), suppress(Exception):  # custom layers may raise anything
        graph = model._built_graph
        shapes = _opened_shapes(graph, x)
        if shapes != graph.input_shapes:
            starts = [
                InputLayer(shape, name=start.name, dtype=start.dtype)
                for shape, start in zip(shapes, graph.input_layers, strict=True)
            ]
            set_graph(model, graph.changed(input_layers=starts), model._compiled)
    return model._built_graph


def _opened_shapes(graph: LayerGraph, x: Any) -> list[Shape]:
    """Returns the shapes of the inputs with None for each length that is another one in samples of as many axes."""
    samples = [getattr(each, "shape", (0,))[1:] for each in arrays_of(graph.input_form, x)]
    known = graph.input_shapes
    if list(map(len, samples)) != list(map(len, known)):
        return known
    return [
        tuple(size if size == other else None for size, other in zip(*pair, strict=True))
        for pair in zip(known, samples, strict=True)
    ]


def _require_spec(model: ModelInterface, x: Any) -> None:
    """Raises ValueError for arrays that don't fit the `input_spec` that the user has assigned, if there is one."""
    specs = model._own_input_spec
    if specs is None:
        return
    arrays = arrays_of(model._built_graph.input_form, x)
    for spec, each in zip(specs if isinstance(specs, (list, tuple)) else [specs], arrays, strict=False):
        if hasattr(each, "shape"):
            require_compatible(spec, each.shape, model.name)


def _require_one_array(model: ModelInterface, x: Any) -> None:
    """Raises ValueError for several arrays given to a Sequential whose first layer would get their list in Keras."""
    arrays = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, (list, tuple)) else []
    first = model._built_graph.layers[0] if model._built_graph.layers else None
    several = len(arrays) > 1 and all(len(getattr(each, "shape", ())) > 1 for each in arrays)
    if several and isinstance(first, Layer) and (first._is_by_call or first._merges_inputs):
        msg = (
            f"a Sequential takes one array, and one of several inputs is left out, but {model.name!r} got a "
            f"{type(x).__name__} of {len(arrays)} arrays: make it of symbols, Model([a, b], outputs), or give one array"
        )
        raise ValueError(msg)


def _is_shape(value: Any) -> bool:
    """Whether a value is one shape, and not a list, tuple or dict of shapes."""
    return isinstance(value, (list, tuple)) and not any(
        isinstance(each, (list, tuple, Mapping)) for each in value
    )
