"""The callback `TerminateOnNaN`, which ends a training that diverges."""

from __future__ import annotations

import math

from engine._base.checks import flag
from engine._printing.progress import print_message
from engine.callbacks.base import Callback, Logs


class TerminateOnNaN(Callback):
    """Stops training after the first batch with a NaN or infinite loss. It checks every batch.

    Args:
        raise_error: whether to raise RuntimeError instead. `on_train_end` is not called then.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = flag(raise_error, "raise_error")

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Checks the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            msg = (
                f"NaN or Inf loss encountered: it is {loss} after batch {batch}. Look for a learning rate that is too large, or pass "
                "clipnorm=1.0 to the optimizer"
            )
            raise RuntimeError(msg)
        print_message(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
