"""What happens in `compile`, `fit`, `evaluate` and `predict`, apart from the model itself.

`compile_arguments` holds optimizer, loss and metrics. `checked_samples` and `fit_arguments` check what is passed to
`fit`, `trainer` runs the epochs, and `prediction` computes outputs. `step_batches` and `own_steps` are the data and the runs of
models whose steps are methods of the user's class. The classes of `engine.models` call all of them.
"""

from __future__ import annotations
