"""The interface of the compiled core: what the package calls, what layers lower to, and where the core calls Python back.

`cpp` is the only module that imports the extension in C++, and all others get its classes and functions from there.
`operations` has the fields of the operations that layers lower to. `host_steps` describes the steps of a batch that Python
computes. Nothing here knows of any other part of the package.
"""

from __future__ import annotations
