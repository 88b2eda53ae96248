"""Losses that compare the outputs of a student, or of one of its layers, with those of its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine import losses, ops, tree
from engine.utils import deserialize_keras_object, serialize_keras_object

if TYPE_CHECKING:
    from typing_extensions import Self


def losses_by_name(loss: Any) -> Any:
    """Returns `loss`, a loss or a list, tuple or dict of losses, with the function in place of each name."""
    return tree.map_structure(lambda leaf: losses.get(leaf) if isinstance(leaf, str) else leaf, loss)


class DistillationLoss:
    """The base class of losses that compare the outputs of a student with those of its teacher.

    A subclass has a method `compute_loss`, and `get_config` if models with it are saved. What is written with
    `keras.ops`, operators or NumPy's functions is compiled together with the training step.
    """

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Returns the loss of a batch, a scalar.

        Args:
            teacher_outputs: the outputs of the teacher (n, ...), or a list, tuple or dict of them.
            student_outputs: the outputs of the student in the same form.
            kwargs: further arguments of a subclass.

        Raises:
            NotImplementedError: if the subclass lacks this method.
        """
        msg = f"{type(self).__name__} must have a method `compute_loss(teacher_outputs, student_outputs)`"
        raise NotImplementedError(msg)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks that both models return the same structure of outputs.

        Args:
            teacher_outputs: the outputs of the teacher.
            student_outputs: the outputs of the student.

        Raises:
            ValueError: if the structures differ.
        """
        tree.assert_same_structure(teacher_outputs, student_outputs)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Checks that this loss can be computed for two models; `Distiller` calls it once. Subclasses may override it.

        Args:
            teacher: the trained model.
            student: the model to train.
        """

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes a loss from the arguments that `get_config` returned.

        Args:
            config: a dict from names to values, with losses as `engine.saving.serialize_keras_object` describes them.
        """
        arguments = {
            name: deserialize_keras_object(item) if name == "loss" else item for name, item in config.items()
        }
        return cls(**arguments)


class FeatureDistillation(DistillationLoss):
    """Compares the outputs of a layer of the student with those of a layer of the teacher.

    The loss is the sum of the mean of each loss over its outputs.

    Args:
        loss: a name such as "mse", a function or an object of `engine.losses`; a list, tuple or dict of them for
            layers with several outputs, where None skips an output.
        teacher_layer_name: the layer of the teacher; None for the outputs of the teacher.
        student_layer_name: the layer of the student; None for the outputs of the student. Without a
            `teacher_layer_name` it is ignored, as in Keras.

    Raises:
        ValueError: if a name is unknown, or there is no loss.
    """

    def __init__(
        self,
        loss: Any = "mse",
        teacher_layer_name: str | None = None,
        student_layer_name: str | None = None,
    ) -> None:
        self.teacher_layer_name, self.student_layer_name = teacher_layer_name, student_layer_name
        self.loss = losses_by_name(loss)
        if all(leaf is None for leaf in tree.flatten(self.loss)):
            msg = "The `loss` argument in `FeatureDistillation` must contain at least one non-`None` value."
            raise ValueError(msg)

    def validate_model_compatibility(self, teacher: Any, student: Any) -> None:
        """Checks that the models have the layers.

        Args:
            teacher: the trained model.
            student: the model to train.

        Raises:
            ValueError: if a layer is missing, or a model with a `call` of its own is asked for a layer.
        """
        models = {
            "teacher": (teacher, self.teacher_layer_name),
            "student": (student, self.student_layer_name),
        }
        if any(name is not None for _, name in models.values()):
            without = [role for role, (model, _) in models.items() if not has_symbols(model)]
            if without:
                msg = (
                    "FeatureDistillation with specific layer names requires Functional or Sequential models that are "
                    f"built, but the {' and '.join(without)} has no symbolic inputs and outputs. Leave out the layer "
                    "names to compare the outputs of the models, or use LogitsDistillation"
                )
                raise ValueError(msg)
        for role, (model, name) in models.items():
            if name is not None:
                try:
                    model.get_layer(name=name)
                except ValueError as error:
                    msg = f"In {role} model: {error}"
                    raise ValueError(msg) from error

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks that outputs and losses have the same structure.

        Args:
            teacher_outputs: the outputs of the teacher's layer.
            student_outputs: the outputs of the student's layer.

        Raises:
            ValueError: if the structures differ.
        """
        super().validate_outputs(teacher_outputs, student_outputs)
        try:
            tree.assert_same_structure(self.loss, teacher_outputs)
        except ValueError as error:
            msg = f"`loss` must have the structure of the outputs: {error}"
            raise ValueError(msg) from error

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Returns the loss of a batch, a scalar.

        Args:
            teacher_outputs: the outputs of the teacher's layer (n, ...), or a list, tuple or dict of them.
            student_outputs: the outputs of the student's layer in the same form.
            kwargs: ignored.
        """
        del kwargs
        return _sum(tree.map_structure(_mean_loss, self.loss, teacher_outputs, student_outputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values, for `from_config`."""
        return {
            "loss": serialize_keras_object(self.loss),
            "teacher_layer_name": self.teacher_layer_name,
            "student_layer_name": self.student_layer_name,
        }


class LogitsDistillation(DistillationLoss):
    """Compares the logits of the student with those of the teacher, both divided by a temperature.

    With `loss=keras.losses.KLDivergence()` both are turned into probabilities by a softmax, and the loss is multiplied by
    temperature²: L = T² · KL(softmax(t/T) ‖ softmax(s/T)), from Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015. Any other loss gets t/T and s/T. As in Keras, a name stands for the function of that name, and so
    the default compares t/T and s/T without a softmax: for the formula above give the object.

    Args:
        temperature: T, more than 0. Higher ones soften the probabilities; 3 to 5 are usual.
        loss: a name, a function or an object of `engine.losses`; a list, tuple or dict of them for models with several
            outputs, where None skips an output.

    Raises:
        ValueError: if `temperature` is no positive number, a name is unknown, or there is no loss.

    Example:
        >>> import engine as keras, numpy as np
        >>> loss = keras.distillation.LogitsDistillation(4.0, keras.losses.KLDivergence())
        >>> round(float(loss.compute_loss(np.float32([[4, 0]]), np.float32([[0, 4]]))), 2)
        7.39
    """

    def __init__(self, temperature: Any = 3.0, loss: Any = "kl_divergence") -> None:
        self.temperature = temperature
        self.loss = losses_by_name(loss)
        if all(leaf is None for leaf in tree.flatten(self.loss)):
            msg = "At least one loss must be non-`None`."
            raise ValueError(msg)
        if not isinstance(temperature, (int, float)):
            msg = f"temperature must be a number, got {type(temperature)}"
            raise ValueError(msg)
        if not temperature > 0:
            msg = f"temperature must be positive, got {temperature}"
            raise ValueError(msg)

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        """Returns the loss of a batch, a scalar.

        Args:
            teacher_outputs: the logits of the teacher (n, ...), or a list, tuple or dict of them.
            student_outputs: the logits of the student in the same form.
            kwargs: ignored.
        """
        del kwargs

        def of_output(loss: Any, teacher_logits: Any, student_logits: Any) -> Any:
            logits = teacher_logits / self.temperature, student_logits / self.temperature
            if not isinstance(loss, losses.KLDivergence):
                return _mean_loss(loss, *logits)
            softened = (ops.softmax(part, axis=-1) for part in logits)
            return _mean_loss(loss, *softened) * self.temperature**2

        return _sum(tree.map_structure(of_output, self.loss, teacher_outputs, student_outputs))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values, for `from_config`."""
        return {"temperature": self.temperature, "loss": serialize_keras_object(self.loss)}


def has_symbols(model: Any) -> bool:
    """Returns whether a model has symbolic inputs and outputs: it is built, and has no `call` of its own."""
    if model._body is not None:
        return False
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):
        return False


def _mean_loss(loss: Any, teacher_outputs: Any, student_outputs: Any) -> Any:
    """Returns the mean loss of one output, a scalar; None without a loss."""
    return None if loss is None else ops.mean(loss(teacher_outputs, student_outputs))


def _sum(losses_nested: Any) -> Any:
    """Returns the sum of all scalars in a structure, in which None stands for no loss."""
    first, *remaining = (loss_value for loss_value in tree.flatten(losses_nested) if loss_value is not None)
    for loss_value in remaining:
        first = first + loss_value
    return first
