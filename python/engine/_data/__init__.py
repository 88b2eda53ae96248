"""Turns what users pass as samples, targets and weights into what the core reads.

The layers, losses and metrics use these modules for single arrays. The modules of `_training` use the two sources of
batches, `Samples` in `sources` and `Stream` in `batch_streams`.
"""

from __future__ import annotations
