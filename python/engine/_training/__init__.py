"""What happens in `compile`, `fit`, `evaluate` and `predict`, apart from the model itself.

`compile_arguments` holds optimizer, loss and metrics. `checked_samples` and `fit_arguments` check what is passed to
`fit`, `trainer` has the loops, whose batches a `Runner` runs (`runner`): the core, or steps that are methods of the user's class,
with the data of `step_batches`. `prediction` has the loop of `predict`. The classes of `engine.models` call all of them.
"""

from __future__ import annotations
