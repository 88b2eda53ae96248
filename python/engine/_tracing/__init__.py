"""Traced functions: Python that runs once with symbols, and is recorded as nodes of the core's program.

`symbolic` has what Python's operators and NumPy's functions do with symbols. `trace` records nodes; `primitives`
appends them and infers shapes. What each function of `engine.ops` records is a function under `@records` in the module
of its subject: `arrangement`, `branches`, `counting`, `custom_gradients`, `elementwise`, `fourier`, `linear_algebra`,
`networks`, `products`, `random`, `reductions` or `sorting`. `dispatch` is the one place where a function of
`engine.ops` that is called with a symbol finds what it records: `traceable` makes them such functions, and
`numpy_functions` does so for NumPy's. `code` writes elementwise code, and `core_formulas` takes that of the core's
activations and losses. `numpy_signatures` records NumPy's functions with arguments that `engine.ops` lack. `batching` records again, with one
axis more, what a function has recorded for one element. `host_operations` are computed by Python in the middle of a batch. `extents` are lengths that
depend on the batch. `recordings` says what a whole function has recorded, `versions` whether what it read has changed,
and `errors` what can't be recorded. `lazy` has the arrays that gradient tapes record: symbols whose numbers can be
computed at any time, and `known_calls` what functions have recorded before for such arguments. Nothing here knows of layers or models: a layer that is called on a symbol of a trace is recorded
as a `Use`.
"""

from __future__ import annotations
