"""How a batch of a model is computed, as text: `explain_batch`."""

from __future__ import annotations

from typing import Any

from engine._base.checks import choice, integer
from engine.utils.model_plot import _require_built

MODES = ("train", "evaluate", "predict")


def explain_batch(model: Any, mode: str = "train", batch_size: int = 32, threads: int | None = None) -> str:
    """Returns what the engine computes for one batch of `model`, or for one call of a compiled function, as text for people.

    The text has two parts. The *graph* lists the operations with the sizes of the values that they read and write; it
    is the same on every computer. The *schedule* lists the steps in which this CPU computes them: which kernel computes
    each step, how the threads divide it, and where they wait for each other.

    Args:
        model: a model that has been built. If its samples have an axis of unknown length, the text is about the
            length for which the model was built. If it has a `train_step` of its own, the text for "train" is about that
            step as it was compiled last. Or a function that `engine.function` has compiled.
        mode: "train", "evaluate" or "predict". A model must be compiled for the first two.
        batch_size: the number of samples in the batch. In the mode "predict" it is the number of samples of the call,
            which threads take in smaller batches.
        threads: the number of threads that may share the work; None for that of `engine.config.get_threads`. A batch
            that is too small for so many is computed by fewer.

    Returns:
        The text, whose lines end in newlines.

    Raises:
        ValueError: if the model isn't built or isn't compiled, if the form of its targets isn't known yet, or for an
            unknown mode.

    Example:
        >>> import engine as keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="relu", name="dense")])
        >>> print(keras.utils.explain_batch(model, "predict").partition("Schedule")[0])
        Graph: what is computed for a batch. b is the number of samples, and %0, %1, ... are values.
        <BLANKLINE>
          %0[b,4] = read_input()
          %1[b,2] = dense(%0[b,4], dense/kernel[4,2], dense/bias[2]) relu
          write_output(%1[b,2])
        <BLANKLINE>
        <BLANKLINE>
    """
    choice(mode, "mode", MODES)
    batch_size = integer(batch_size, "batch_size", 1)
    limit = 0 if threads is None else integer(threads, "threads", 1)
    if hasattr(model, "python_function"):
        return str(model.explained(limit))
    _require_built(model)
    if mode == "train" and model._has_step("train_step"):
        compiled = model._compiled_steps.get("train_step")
        if not compiled:
            msg = (
                "the `train_step` of the model was not compiled yet, or can't be: call fit() or train_on_batch() once before "
                "explain_batch()"
            )
            raise ValueError(msg)
        return str(compiled.last.explained(limit))
    if mode != "predict" and not model._require_compiled().is_resolved:
        msg = (
            "the loss or a metric of the model reads class indices or one-hot rows, and the first targets say which: "
            "call fit(), evaluate() or train_on_batch() once before explain_batch()"
        )
        raise ValueError(msg)
    names = [weight.path.removeprefix(f"{model.path}/") for weight in model.weights]
    graph, schedule = model._built_graph.program.to_text(mode, batch_size, limit, names)
    return f"{graph}\n{schedule}"
