"""What happens in `compile`, `fit`, `evaluate` and `predict`, apart from the model itself.

`compile_arguments` holds optimizer, loss and metrics. `checked_samples` and `fit_arguments` check what is passed to
`fit`, `trainer` runs the epochs, and `prediction` computes outputs. The classes of `engine.models` call all of them.
"""

from __future__ import annotations
