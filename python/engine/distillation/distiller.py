"""The model that trains a student beside its teacher."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from engine import metrics as metric_classes
from engine import ops, tree
from engine._base.checks import checked_config
from engine.distillation.distillation_loss import has_symbols, losses_by_name
from engine.models import Model
from engine.models.functional_config import instance_from_arguments
from engine.utils import deserialize_keras_object, serialize_keras_object

_FINAL = "final_output"


class Distiller(Model):
    """Trains a student on targets and on the outputs of a teacher, whose weights stay as they are.

    The loss of a batch is a · L(y, student(x)) + (1 - a) · Σᵢ wᵢ Dᵢ(teacher(x), student(x)), where L is the loss of
    `compile`, Dᵢ are the distillation losses and a is `student_loss_weight`. The student is trained as a model of its own
    class would be: whole epochs run in the core. Calling the distiller, or its `predict`, calls the student.

    Args:
        teacher: a trained model. Its `trainable` becomes False.
        student: the model to train, with inputs and outputs of the same shapes.
        distillation_losses: an object of `DistillationLoss`, or a list of them.
        distillation_loss_weights: the weight of each loss in a list; default 1.
        student_loss_weight: a, from 0 to 1.
        name: of the distiller.
        kwargs: further arguments of `Model`, such as `trainable`.

    Attributes:
        teacher: the teacher.
        student: the student, to be used without the distiller after training.

    Raises:
        ValueError: if an argument has another type or range, or the models don't fit together.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        teacher: Any,
        student: Any,
        distillation_losses: Any,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: Any = 0.5,
        name: str = "distiller",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        _require_matching_models(teacher, student)
        if not isinstance(student_loss_weight, (int, float)):
            msg = f"student_loss_weight must be a number, got {type(student_loss_weight)}"
            raise ValueError(msg)
        if not 0 <= student_loss_weight <= 1:
            msg = f"student_loss_weight must be between 0.0 and 1.0, got {student_loss_weight}"
            raise ValueError(msg)
        if distillation_losses is None:
            msg = (
                "'distillation_losses' cannot be `None`. Provide a distillation loss (e.g., LogitsDistillation or "
                "FeatureDistillation) or a list of distillation losses."
            )
            raise ValueError(msg)
        self.teacher, self.student = teacher, student
        self.student_loss_weight = student_loss_weight
        several = isinstance(distillation_losses, (list, tuple))
        self.distillation_losses = distillation_losses if several else [distillation_losses]
        if distillation_loss_weights is None or not several:
            distillation_loss_weights = [1.0] * len(self.distillation_losses)
        if len(distillation_loss_weights) != len(self.distillation_losses):
            msg = (
                f"Number of distillation_loss_weights ({len(distillation_loss_weights)}) must match number of "
                f"distillation_losses ({len(self.distillation_losses)})"
            )
            raise ValueError(msg)
        self.distillation_loss_weights = distillation_loss_weights
        for loss in self.distillation_losses:
            loss.validate_model_compatibility(teacher, student)
        self._teacher_feature_extractor = self._extractor(teacher, "teacher_layer_name")
        self._student_feature_extractor = self._extractor(student, "student_layer_name")
        teacher.trainable = False
        self.student_loss_tracker = metric_classes.Mean(name="student_loss")
        self.distillation_loss_tracker = metric_classes.Mean(name="distillation_loss")
        self.total_loss_tracker = metric_classes.Mean(name="total_loss")

    def _extractor(self, model: Any, attribute: str) -> Model | None:
        """Returns a model of the outputs of `model` and of the layers that the losses name in an attribute; else None."""
        named = [getattr(loss, attribute, None) for loss in self.distillation_losses]
        names = [name for name in dict.fromkeys(named) if name]
        if not names:
            return None
        outputs = {_FINAL: model.output} | {name: model.get_layer(name=name).output for name in names}
        return Model(inputs=model.inputs, outputs=outputs, name=f"{model.name}_multi_feature_extractor")

    def compile(  # type: ignore[override] # Keras' signature
        self, optimizer: object = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Sets how the student is trained.

        Args:
            optimizer: the optimizer of the student.
            loss: the loss of the student's outputs against the targets: a name, a function or an object of
                `engine.losses`; a list, tuple or dict of them for several outputs.
            metrics: a list of metrics.
            kwargs: further arguments of `Model.compile`.

        Raises:
            ValueError: if there is no loss, or `metrics` is no list.
        """
        if loss is None:
            msg = "'loss' cannot be `None`."
            raise ValueError(msg)
        if metrics is not None and not isinstance(metrics, (list, tuple)):
            msg = f"metrics must be a list or tuple, got {type(metrics)}"
            raise ValueError(msg)
        self._student_loss = losses_by_name(loss)
        super().compile(optimizer=optimizer, loss=None, metrics=metrics, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns the outputs of the student.

        Args:
            inputs: one batch (n, ...), or a list, tuple or dict of arrays.
            training: whether layers such as dropout behave as in training.
            kwargs: further arguments of the student's call.
        """
        return self.student(inputs, training=training, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the loss of a batch, a scalar.

        Args:
            x: samples.
            y: targets; None leaves out the loss of the student.
            y_pred: the outputs of the student; None computes them.
            sample_weight: ignored, as in Keras.
            training: whether layers behave as in training if `y_pred` is None.

        Raises:
            ValueError: if the outputs of student and teacher have different structures, or a distillation loss is no
                scalar.
        """
        del sample_weight
        y_pred = self(x, training=training) if y_pred is None else y_pred
        student_weight, zero = self.student_loss_weight, ops.convert_to_tensor(0.0)
        student_loss = zero if student_weight <= 0 or y is None else self._loss_of_student(y, y_pred)
        distillation_loss = zero if student_weight >= 1 else self._loss_of_teacher(x, y_pred)
        total = student_weight * student_loss + (1.0 - student_weight) * distillation_loss
        self.student_loss_tracker.update_state(student_loss)
        self.distillation_loss_tracker.update_state(distillation_loss)
        self.total_loss_tracker.update_state(total)
        return total

    def _loss_of_student(self, y: Any, y_pred: Any) -> Any:
        """Returns the sum of the losses of `compile`, a scalar."""
        losses_flat = tree.flatten(
            tree.map_structure(
                lambda loss, *arrays_of_output: loss(*arrays_of_output), self._student_loss, y, y_pred
            )
        )
        total = losses_flat[0]
        for loss_value in losses_flat[1:]:
            total = total + loss_value
        return ops.mean(total)

    def _loss_of_teacher(self, x: Any, y_pred: Any) -> Any:
        """Returns the weighted sum of the distillation losses, a scalar."""
        of_teacher, of_student = self._teacher_feature_extractor, self._student_feature_extractor
        expected = (
            {_FINAL: self.teacher(x, training=False)} if of_teacher is None else of_teacher(x, training=False)
        )
        outputs = {_FINAL: y_pred} if of_student is None else of_student(x, training=True)
        total: Any = 0.0
        for loss, weight in zip(self.distillation_losses, self.distillation_loss_weights, strict=True):
            pair = expected[_FINAL], y_pred
            if getattr(loss, "teacher_layer_name", None) is not None:
                pair = expected[loss.teacher_layer_name], outputs[loss.student_layer_name or _FINAL]
            loss.validate_outputs(*pair)
            value = loss.compute_loss(*pair)
            if getattr(value, "shape", ()):
                msg = (
                    f"Distillation loss {type(loss).__name__} returned a non-scalar loss with shape {value.shape}. The "
                    "compute_loss method must return a scalar tensor."
                )
                raise ValueError(msg)
            total = total + weight * value
        return total

    # Files.

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor as plain Python values, for `from_config`."""
        return {
            "name": self.name,
            "trainable": self._trainable,
            "teacher": serialize_keras_object(self.teacher),
            "student": serialize_keras_object(self.student),
            "distillation_losses": [
                serialize_keras_object(distillation_loss) for distillation_loss in self.distillation_losses
            ],
            "distillation_loss_weights": list(self.distillation_loss_weights),
            "student_loss_weight": self.student_loss_weight,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Creates a distiller from its config.

        Args:
            config: what `get_config` returned, here or in Keras.
            custom_objects: dict from names to custom classes and functions.

        Raises:
            TypeError: if the constructor of a subclass doesn't accept these arguments.
        """
        arguments = {**checked_config(config)}
        for name in ("teacher", "student", "distillation_losses"):
            arguments[name] = deserialize_keras_object(arguments[name], custom_objects)
        return instance_from_arguments(cls, arguments)

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile` as plain Python values, for `compile_from_config`."""
        config = super().get_compile_config()
        return config | {"loss": serialize_keras_object(self._student_loss)} if config else {}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles the distiller with the arguments in `config`, as returned by `get_compile_config`.

        Keras' files don't hold the loss. Then the distiller isn't compiled, and a warning says so.
        """
        if config.get("loss") is None:
            msg = "the distiller isn't compiled, as Keras' files don't hold its loss: call compile() after loading it"
            warnings.warn(msg, stacklevel=2)
            return
        super().compile_from_config({**config, "loss": deserialize_keras_object(config["loss"])})


def _require_matching_models(teacher: Any, student: Any) -> None:
    """Raises ValueError unless both are models whose inputs and outputs, where known, have the same shapes and dtypes."""
    for role, model in (("Teacher", teacher), ("Student", student)):
        if not isinstance(model, Model):
            msg = f"{role} must be a keras.Model, got {type(model)}"
            raise ValueError(msg)
    if not (has_symbols(teacher) and has_symbols(student)):
        return
    for side in ("input", "output"):
        ends = [getattr(model, f"{side}s") for model in (teacher, student)]
        if len(ends[0]) != len(ends[1]):
            msg = f"teacher and student must have the same {side}s, got {len(ends[0])} and {len(ends[1])}"
            raise ValueError(msg)
        for teachers, other in zip(*ends, strict=True):
            _require_matching_symbols(teachers, other, side)


def _require_matching_symbols(teacher: Any, student: Any, side: str) -> None:
    """Raises ValueError unless two symbols have the same dtype and compatible shapes."""
    message = None
    shapes = f"Teacher: {teacher.shape}, Student: {student.shape}."
    if len(teacher.shape) != len(student.shape):
        message = f"Teacher and student {side} shapes have different dimensions. {shapes}"
    elif any(a != b and None not in (a, b) for a, b in zip(teacher.shape, student.shape, strict=True)):
        message = f"Teacher and student {side} shapes are incompatible. {shapes} All dimensions must match."
    elif teacher.dtype != student.dtype:
        message = f"Teacher and student {side} dtypes must match. Teacher: {teacher.dtype}, Student: {student.dtype}."
    if message is not None:
        raise ValueError(message)
