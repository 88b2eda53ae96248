"""Models: layers that are trained and used for predictions together.

Users call the methods of `Model` (`model`) and `Sequential` (`sequential`). Functions in the other modules do the work; what
they ask of a model is in `model_interface`.

The layers and how they are connected:

- `layer_graph`: the layers that the user has given; `built_graph`: these and the program that was built from them;
- `wiring`, `network` and `stack`: how layers are connected, what they are made of, and what the core computes for them;
- `ordered_calls`, `functional_config` and `cloning`: models made of symbols, configs and other models; `symbolic_calls` makes
  the symbols of any model;
- `own_call`: models with a `call` of their own;
- `added_losses` and `values_of_losses`: what users add to the loss of a model made of symbols, and the symbols that losses
  refer to.

Building:

- `building`: what builds a model, when layers, loss or device change; `first_inputs`: models that data build;
- `programs_by_shape`: one program for each length of samples, where the length is unknown;
- `lock`: held by methods that change a model.

Data, training and predictions:

- `input_data` and `output_data`: what users give for inputs and outputs; `structures`: the lists, tuples and dicts in which
  they give and get several of them;
- `execution`: how batches are run, by the core or by steps of users, and the data for both;
- `batches_at_once`: what `train_on_batch` and `test_on_batch` do for arrays that the core reads as they are;
- `compiled_steps`: training steps of users, which the core runs; `compiled_functions`: `engine.function`, in the same way;
- `functions`: the programs that compute what gradient tapes have recorded;
- `predictions`: what `predict` and calls on arrays compute; `layer_by_layer`: calls that the program can't compute.

What others see of a model:

- `diagram` and `summary`: the layers as plots and summaries list them;
- `ensemble`: several models as one;
- `exporting`: files in other formats; `after_values`: the part of a model that exports can write, behind lookups of strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine._base.lazy_imports import absent
from engine.models.cloning import clone_model
from engine.models.model import Functional, Model
from engine.models.sequential import Sequential

if TYPE_CHECKING:
    from engine.models.ensemble import Ensemble
    from engine.saving import load_model, model_from_json, save_model

__all__ = [
    "Ensemble",
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name == "Ensemble":
        from engine.models import ensemble

        return ensemble.Ensemble
    # These are imported on first use, since they need zip archives and JSON.
    if name in (
        "load_model",
        "model_from_json",
        "save_model",
    ):
        from engine import saving

        return getattr(saving, name)
    return absent(__name__, name)
