"""`Ensemble`, a model whose outputs combine those of several models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine import layers, ops
from engine._base.checks import checked_config, choice, flag, with_noun
from engine._core_interface.cpp import Float32
from engine.losses import BinaryCrossentropy
from engine.models.functional_config import instance_from_arguments
from engine.models.model import Model
from engine.utils import deserialize_keras_object, serialize_keras_object

_COMBINATIONS = ("mean", "vote")
_BINARY = ("binary_crossentropy", "bce", "BinaryCrossentropy")
_MIDDLE = 0.5  # of probabilities


class Ensemble(Model):
    """Several models as one, which computes their outputs in one pass over the data and combines them.

    It holds the models themselves, not copies: their weights are its weights. It is a model like any other, so that it can be
    evaluated, saved, exported, and be a part of other models. If the first model is compiled, so is the ensemble, with the
    same losses and metrics and without an optimizer.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> def build():
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> results = keras.fit_many([build] * 5, x, x.sum(axis=1), epochs=3, verbose=0)
        >>> ensemble = keras.Ensemble(results.models)
        >>> mean, std = ensemble.predict(x, verbose=0, return_std=True)
        >>> mean.shape, std.shape
        ((50, 1), (50, 1))

    Args:
        models: the models, one at least. All have inputs and outputs of the same shapes.
        combine: "mean" returns the means of the outputs, such as of probabilities; "vote" the share of the models that chose
            each class: the largest output; for a single output, and with a binary crossentropy, what is above 0.5.
        name: its name.

    Raises:
        TypeError: if `models` holds anything else than models.
        ValueError: if there is none, or one isn't built, or their shapes differ; or for votes on logits.
    """

    _is_its_config = True

    def __init__(self, models: Iterable[Model], combine: str = "mean", name: str | None = None) -> None:
        if isinstance(models, Model) or not isinstance(models, Iterable):
            msg = f"an Ensemble is made of a list of models, got {models!r}"
            raise TypeError(msg)
        members = list(models)
        _require_alike(members)
        self._combine = choice(combine, "combine", _COMBINATIONS)
        starts = [
            layers.Input(start.shape[1:], name=start.name, dtype=start.dtype) for start in members[0].inputs
        ]
        # A model of its own around each, since models that were loaded from files may have equal names.
        each = [
            _listed(Model(starts, member(_packed(starts)), name=f"member_{number}")(starts))
            for number, member in enumerate(members)
        ]
        if combine == "vote":
            each = [_votes(outputs, members[0]) for outputs in each]
        outputs = [_mean(list(outputs)) for outputs in zip(*each, strict=True)]
        super().__init__(_packed(starts), _packed(outputs), name=name)
        self.members = members
        self._spread = Model(
            _packed(starts),
            [*outputs, *(ops.std(ops.stack(outputs, axis=1), axis=1) for outputs in zip(*each, strict=True))],
        )
        if members[0].compiled:
            self.compile_from_config({**members[0].get_compile_config(), "optimizer": None})

    def predict(  # Keras' signature
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: object = None,
        *,
        out: Float32 | None = None,
        return_std: bool = False,
    ) -> Any:
        """Returns the combined outputs for samples.

        Args:
            x: the samples, as for `Model.predict`, like all other arguments.
            batch_size: see `Model.predict`.
            verbose: see `Model.predict`.
            steps: see `Model.predict`.
            callbacks: see `Model.predict`.
            out: see `Model.predict`. Not with `return_std`.
            return_std: whether to return a pair of the outputs and their spread: the standard deviations of what the models
                return, or of their votes (with the divisor K, the number of models), in the same form as the outputs.

        Returns:
            The outputs, float32 (n, ...); a list of them if the models have several; with `return_std` the pair.

        Raises:
            ValueError, TypeError: as `Model.predict` does, or for `out` with `return_std`.
        """
        arguments = (x, batch_size, verbose, steps, callbacks)
        if not flag(return_std, "return_std"):
            return super().predict(*arguments, out=out)
        if out is not None:
            raise ValueError("`out` takes the outputs alone: leave it out, or `return_std`")
        outputs = self._spread.predict(*arguments)
        half = len(outputs) // 2
        return _packed(outputs[:half]), _packed(outputs[half:])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor as plain Python values, for `from_config`.

        Raises:
            ValueError: if members share layers, which the config of one of them alone doesn't tell.
        """
        leaves = [
            id(leaf) for member in self.members for leaf in dict.fromkeys(member._leaves) if leaf.weights
        ]
        if len(set(leaves)) < len(leaves):
            msg = (
                "the members of the ensemble share layers, so that it can't be saved: save the members, or "
                "Model(inputs, average([...])) of them"
            )
            raise ValueError(msg)
        return {
            "models": [serialize_keras_object(member) for member in self.members],
            "combine": self._combine,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Creates an ensemble from its config.

        Args:
            config: what `get_config` returned.
            custom_objects: dict from names to custom classes and functions.
        """
        arguments = {**checked_config(config)}
        members = [deserialize_keras_object(member, custom_objects) for member in arguments["models"]]
        return instance_from_arguments(cls, {**arguments, "models": members})


def _require_alike(members: list[Any]) -> None:
    """Raises an error unless there are models, all with inputs and outputs of the same shapes."""
    if not members:
        raise ValueError("an Ensemble needs one model at least")
    for number, member in enumerate(members):
        if not isinstance(member, Model):
            hint = ": pass results.models" if hasattr(member, "model") else ""
            msg = f"an Ensemble is made of models, but entry {number} is {member!r}{hint}"
            raise TypeError(msg)
        if not member.built:
            msg = f"model {number} of the ensemble isn't built: call model.build(input_shape), or train it"
            raise ValueError(msg)
        for side in ("inputs", "outputs"):
            shapes, first = ([end.shape for end in getattr(model, side)] for model in (member, members[0]))
            if shapes != first:
                msg = f"the {side} of model {number} have the shapes {shapes}, but those of model 0 have {first}"
                raise ValueError(msg)
    if len(set(map(id, members))) < len(members):
        msg = f"an Ensemble of {with_noun(len(members), 'model')} has one of them twice"
        raise ValueError(msg)


def _votes(outputs: list[Any], member: Model) -> list[Any]:
    """Returns, for each output of a model, 1 for what it chooses, and 0 for all else."""
    losses = _listed(member.loss) if member.compiled else []
    if any(getattr(loss, "from_logits", False) for loss in losses):
        raise ValueError(
            "votes are taken on probabilities, but the loss of the models says that they return logits"
        )
    several = any(loss in _BINARY or isinstance(loss, BinaryCrossentropy) for loss in losses)
    return [
        ops.cast(output > _MIDDLE, "float32")
        if several or output.shape[-1] == 1
        else ops.one_hot(ops.argmax(output, axis=-1), output.shape[-1])
        for output in outputs
    ]


def _mean(outputs: list[Any]) -> Any:
    return layers.average(outputs) if len(outputs) > 1 else layers.Identity()(outputs[0])


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _packed(entries: list[Any]) -> Any:
    """Returns one entry itself, and several as a list."""
    return entries[0] if len(entries) == 1 else entries
