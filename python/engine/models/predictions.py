"""What `predict`, `predict_on_batch` and the call of a model on arrays compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate, islice, pairwise, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from engine import tree
from engine._base.checks import Shape
from engine._base.random_state import next_sampling
from engine._base.tensor_like import mask_of
from engine._core_interface.cpp import (
    DeviceArray,
    Float32,
    NotFiniteError,
    Program,
    Rows,
    empty_on_device,
    first_nonfinite_row,
)
from engine._data.array_conversion import (
    complaint,
    require_finite_rows,
)
from engine._data.batch_streams import number_of_batches, raw_batches, samples_of_batch, yields_batches
from engine._data.lazy_rows import LazyRows, all_for_core, part_of
from engine._data.memory_maps import require_whole_file
from engine._data.several_arrays import sample_shape_of
from engine._printing.progress import PATIENCE, Progress, impatient, require_verbose
from engine._training.fit_arguments import (
    BATCH_SIZE,
    limited_steps,
    positive_or_none,
    resolve_batch_size,
)
from engine._training.prediction import (
    BatchPredictor,
    CorePredictor,
    Predictor,
    copied_to,
    delivered,
    predict,
    target_for,
)
from engine._training.step_batches import batches_of
from engine.callbacks import CallbackList
from engine.config import _capped_steps, _limits_steps
from engine.models.building import agreement_of, follow_settings, output_shapes_for, program_for
from engine.models.built_graph import BuiltGraph
from engine.models.execution import DataArguments, StepExecution
from engine.models.first_inputs import build_for_data, read_inputs
from engine.models.input_data import InputData
from engine.models.layer_by_layer import call_by_layer, masks_of_outputs
from engine.models.stack import computes_whole_batches

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface

# The dtypes of samples that the core reads as they are.
_READ_BY_CORE = frozenset(map(np.dtype, (np.float32, np.float64, np.uint8)))
_ARRAYS = (np.ndarray, np.memmap)


class _Shown(NamedTuple):
    """What follows a prediction: the arguments of `predict`."""

    verbose: object
    callbacks: object


def predicted(  # noqa: PLR0917 # those of `predict`
    model: ModelInterface,
    x: Any,
    batch_size: int | None,
    verbose: int | str,
    steps: int | None,
    callbacks: object,
    out: Any,
) -> Any:
    """Returns what `Model.predict` does, whose arguments these are."""
    if model._has_predict_step:
        return _predict_by_steps(model, x, batch_size, verbose, steps, callbacks, out)
    follow_settings(model)
    usual = batch_size is None and steps is None and callbacks is None
    if usual and not impatient(verbose):
        most = BATCH_SIZE if _limits_steps() else model._built_graph.rows_at_once
        outputs = outputs_at_once(model, x, "x", most, out)
        if outputs is not None:
            model._built_graph.forget_penalties()
            return outputs
    limit, given_size = positive_or_none(steps, "steps"), positive_or_none(batch_size, "batch_size")
    shown = _Shown(verbose, callbacks)
    if model._may_hold_nan:
        model._warn_of_weights("predict()")
    if yields_batches(x):
        return _predict_stream(model, x, _capped_steps(limit, number_of_batches(x)), shown, out)
    given, read = x, partial(_unchecked, model, x)
    graph, rows, x = read_inputs(model, given, read, builds=False)
    size = resolve_batch_size(given_size, limit, len(rows))
    limit = _capped_steps(limit, math.ceil(len(rows) / size))
    used = rows if limit is None else part_of(rows, 0, limit * size)
    sample = sample_shape_of(rows)
    shapes = output_shapes_for(model, graph, sample)
    target = None if out is None else target_for(out, shape_of_one_output(model, shapes, "out"), used)
    if graph.program is None:  # now that all arguments are known to be right
        graph, rows, x = read_inputs(model, given, read)
        used = rows if limit is None else part_of(rows, 0, limit * size)
        shapes = graph.output_shapes_for(sample_shape_of(rows))
    rows = used
    graph.forget_penalties()
    try:
        silent = callbacks is None and len(rows) <= size and not impatient(verbose)
        program = cast(Program, graph.program_for(sample_shape_of(rows)))
        if graph.predicts_whole_batches:
            require_finite_rows(rows)
        if silent and not isinstance(rows, LazyRows):
            outputs = program.predict(rows, target, True, False, _seed(model, graph))
        else:
            several = graph.output_form.kind is not None
            predictor = CorePredictor(
                program,
                rows,
                size,
                out=target,
                shown=partial(unpacked_outputs, graph, shapes=shapes) if several else None,
                by_batch=partial(_seed, model, graph) if graph.draws else None,
                whole_batches=computes_whole_batches(graph.network),
            )
            outputs = _run(model, predictor, math.ceil(len(rows) / size), shown)
    except NotFiniteError as error:
        raise complaint(x, graph.sample_shape, error) from None
    return unpacked_outputs(graph, outputs, shapes) if out is None else delivered(outputs, out)


def predicted_batch(model: ModelInterface, x: Any) -> Any:
    """Returns what `Model.predict_on_batch` does."""
    if model._has_predict_step:
        samples = StepExecution(model).samples(DataArguments(x, names=model._feature_names))
        batch = next(batches_of(samples, len(samples)))
        return tree.map_structure(np.asarray, model.predict_step(batch))
    return outputs_of_batch(model, x, "x")


def outputs_of_batch(
    model: ModelInterface,
    x: object,
    name: str,
    training: bool | None = False,
    *,
    called: bool = False,
    masks: Sequence[Any] = (),
) -> Any:
    """Returns the outputs for one batch.

    Args:
        model: the model.
        x: the samples.
        name: of the argument, for messages.
        training: whether layers behave as in training; None is no argument.
        called: whether to store the penalties on outputs for `losses`.
        masks: of the inputs; empty if no input has one.
    """
    graph = model._built_graph
    if not training and not _needs_layers(model, graph, training, called, masks):
        outputs = outputs_at_once(model, x, name)
        if outputs is not None:
            return outputs
    data = InputData(build_for_data(model, x), model.device)
    if len(data.graph.input_layers) <= 1:
        x = data.array(x, name, model._feature_names)
    if (sample := data.shape_of_none(x, name)) is not None:
        program_for(model, sample)
        graph = model._built_graph
        shapes = graph.output_shapes_for(sample)
        none = (0, sum(map(math.prod, shapes)))
        on_gpu = called and isinstance(x, DeviceArray)
        return unpacked_outputs(
            graph, empty_on_device(none, model.device) if on_gpu else np.zeros(none, np.float32), shapes
        )
    graph, rows, x = read_inputs(model, x, lambda data: data.unchecked(x, name, model._feature_names))
    program = cast(Program, graph.program_for(sample_shape_of(rows)))
    if _needs_layers(model, graph, training, called, masks):
        array = rows[:] if isinstance(rows, LazyRows) else rows
        array = array.numpy() if isinstance(array, DeviceArray) else array
        if array.dtype != np.uint8 and first_nonfinite_row(array) >= 0:
            raise complaint(x, graph.sample_shape, NotFiniteError(), name)
        return call_by_layer(model, array, training, masks)
    seed = next_sampling(model) if training else _seed(model, graph)
    target = None
    if called and isinstance(rows, DeviceArray):
        target = empty_on_device((len(rows), program.output_size), rows.device)
    try:
        if training or graph.predicts_whole_batches:
            require_finite_rows(rows)
        found = program.predict(all_for_core(rows), target, True, bool(training), seed)
        return unpacked_outputs(graph, found, graph.output_shapes_for(sample_shape_of(rows)))
    except NotFiniteError as error:
        raise complaint(x, graph.sample_shape, error, name) from None


def _needs_layers(
    model: ModelInterface, graph: BuiltGraph, training: bool | None, called: bool, masks: Sequence[Any]
) -> bool:
    """Whether layer after layer must be called, since the program can't compute a call; see `outputs_of_batch`.

    Only calls follow settings of layers at once: the program follows them when it is compiled again, as in Keras.
    """
    if masks or (training is None and graph.trains_by_default) or (called and graph.penalised):
        return True
    return called and graph.program is not None and not agreement_of(model, graph)[bool(training)]


def outputs_at_once(
    model: ModelInterface, x: Any, name: str, most: float = math.inf, out: Any = None
) -> Float32 | None:
    """Returns the outputs for samples in an array that the core reads as it is; None for anything else.

    This is what predictions do in general, without the checks that have no effect on such an array. They would take
    longer than the prediction of a few samples.

    Args:
        model: the model.
        x: the samples.
        name: of the argument, for messages.
        most: the largest number of samples.
        out: an array for the result, or None.
    """
    graph = model._built_graph
    program, shape = graph.program, graph.output_shape
    if (
        type(x) not in _ARRAYS
        or x.dtype not in _READ_BY_CORE
        or not x.shape
        or x.shape[1:] != graph.sample_shape
        or not 0 < len(x) <= most
        or not x.flags.c_contiguous
        or not x.flags.aligned
        or graph.by_shape is not None
        or any(graph.tokens)
        or graph.reads_values
        or model._may_hold_nan
        or graph.output_dtypes is not None
        or program is None
        or shape is None
    ):
        return None
    if out is not None and not (
        type(out) is np.ndarray
        and out.dtype == np.float32
        and out.shape == (len(x), *shape)
        and out.flags.carray
        and not np.may_share_memory(out, x)
    ):
        return None
    require_whole_file(x, name)
    target = out if out is None or len(shape) == 1 else out.reshape(len(x), -1)
    try:
        if graph.predicts_whole_batches:
            require_finite_rows(x)
        outputs = program.predict(x, target, True, False, _seed(model, graph))
    except NotFiniteError as error:
        raise complaint(x, graph.sample_shape, error, name) from None
    if out is not None:
        return cast(Float32, out)
    return outputs if len(shape) == 1 else outputs.reshape(len(outputs), *shape)


def _predict_by_steps(  # noqa: PLR0917 # those of `predict`
    model: ModelInterface,
    x: Any,
    batch_size: object,
    verbose: object,
    steps: object,
    callbacks: object,
    out: Any,
) -> Any:
    """Does what `predict` says by `predict_step`."""
    limit, given_size = positive_or_none(steps, "steps"), positive_or_none(batch_size, "batch_size")
    require_verbose(verbose)
    if model._may_hold_nan:
        model._warn_of_weights("predict()")
    if yields_batches(x):
        _require_known_number(out)
    source = StepExecution(model).source(x)
    size = resolve_batch_size(given_size, limit, source.count)
    source, limit, size = limited_steps(source, _capped_steps(limit, source.steps(size)), size)

    def outputs_of(batch: Any, number: int) -> Any:
        del number
        return tree.map_structure(np.asarray, model.predict_step(batch))

    predictor = BatchPredictor(outputs_of, islice(batches_of(source, size), limit), x)
    outputs = _run(model, predictor, limit or source.steps(size), _Shown(verbose, callbacks), x)
    return outputs if out is None else copied_to(out, outputs, cast(int, source.count))


def _predict_stream(model: ModelInterface, x: object, steps: int | None, shown: _Shown, out: object) -> Any:
    """Returns the outputs for the batches that `x` yields, or for the first `steps` of them."""
    _require_known_number(out)

    def outputs_of(batch: Any, number: int) -> Any:
        return outputs_of_batch(model, samples_of_batch(batch), f"batch {number} x")

    predictor = BatchPredictor(outputs_of, islice(raw_batches(x), steps), x)
    return _run(model, predictor, steps or number_of_batches(x), shown, x)


def _run(
    model: ModelInterface,
    predictor: Predictor,
    steps: int | None,
    shown: _Shown,
    data: object = None,
) -> Any:
    """Returns the outputs that `predictor` computes in so many steps, if their number is known; `data` yields batches."""
    hooks = CallbackList(shown.callbacks)
    with Progress(hooks.verbose_of_progress(shown.verbose), steps, PATIENCE) as progress:
        hooks.join(model, {"verbose": shown.verbose, "epochs": 1, "steps": steps})
        return predict(predictor, hooks, progress, data=data, steps_per_execution=model._steps_per_execution)


def _unchecked(model: ModelInterface, x: Any, data: InputData) -> tuple[Rows | LazyRows, Any]:
    """Returns samples as rows, and as one array for messages."""
    return data.unchecked(x, "x", model._feature_names)


def _seed(model: ModelInterface, graph: BuiltGraph) -> int:
    """The seed of a prediction: another one each time, if the model draws random numbers in predictions."""
    return next_sampling(model) if graph.draws else 0


def shape_of_one_output(model: ModelInterface, shapes: Sequence[Shape], argument: str) -> Shape:
    """Returns the shape of the one output; ValueError if there are several."""
    if model._built_graph.output_form.kind is not None:
        msg = (
            f"`{argument}` is for models with one output, but {model.name!r} has {len(shapes)}: leave it out"
        )
        raise ValueError(msg)
    return shapes[0]


def unpacked_outputs(graph: BuiltGraph, outputs: Any, shapes: Sequence[Shape]) -> Any:
    """Returns the outputs (n, numbers of all outputs) as users get them: arrays of `shapes`, where `outputs` is."""
    form = graph.output_form
    if isinstance(outputs, DeviceArray):
        ends = list(accumulate(math.prod(shape) for shape in shapes))
        columns = [outputs._columns(begin, end) for begin, end in pairwise([0, *ends])]
        shaped = [each.reshape(len(each), *shape) for each, shape in zip(columns, shapes, strict=True)]
        return shaped[0] if form.kind is None else form.packed(shaped)
    dtypes = graph.output_dtypes or repeat("float32")
    if form.kind is None:
        array = outputs if len(shapes[0]) == 1 else outputs.reshape(len(outputs), *shapes[0])
        return array.astype(next(iter(dtypes)), copy=False)
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    parts = np.split(outputs, ends[:-1], axis=1)
    arrays = [
        np.ascontiguousarray(part, dtype).reshape(len(part), *shape)
        for part, shape, dtype in zip(parts, shapes, dtypes, strict=False)
    ]
    return form.packed(arrays)


def masks_in(model: ModelInterface, x: Any) -> list[Any]:
    """Returns the mask of each input for one batch, or None; an empty list if no input has one."""
    if not _has_mask(x):
        return []
    data = InputData(build_for_data(model, x))
    x = data.graph.input_form.flat(x)
    by_name = isinstance(x, Mapping)
    arrays = list(x.values()) if by_name else x if isinstance(x, (list, tuple)) else [x]
    names, starts = data.names, [start.name for start in data.graph.input_layers]
    keys = names if by_name and all(name in x for name in names) else starts
    return [mask_of(each) for each in ([x.get(key) for key in keys] if by_name else arrays)]


def masks_of(model: ModelInterface, x: Any, masks: Sequence[Any]) -> list[Any]:
    """Returns the mask of each output for one batch, or None; `masks` are those of the inputs."""
    _, rows, _ = read_inputs(model, x, partial(_unchecked, model, x))
    return masks_of_outputs(model, rows[:] if isinstance(rows, LazyRows) else np.asanyarray(rows), masks)


def _require_known_number(out: object) -> None:
    """Raises ValueError if there is an array for the outputs of data that yield batches."""
    if out is not None:
        msg = "`out` needs samples whose number is known, but `x` yields batches: leave it out"
        raise ValueError(msg)


def _has_mask(x: Any) -> bool:
    """Whether an array in `x`, at any depth of lists, tuples and dicts, has a mask."""
    if isinstance(x, Mapping):
        return any(map(_has_mask, x.values()))
    if isinstance(x, (list, tuple)):
        return bool(x) and not isinstance(x[0], (int, float)) and any(map(_has_mask, x))
    return mask_of(x) is not None
