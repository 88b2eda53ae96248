"""A callback that evaluates a model with the moving averages of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine._base.checks import flag
from engine.callbacks.base import Callback, Logs


class SwapEMAWeights(Callback):
    """Swaps the weights with their moving averages for evaluation and prediction.

    The optimizer must keep the averages (`use_ema=True`). The weights come back afterwards. Before the first
    training step nothing is swapped.

    Args:
        swap_on_epoch: whether to swap also at the end of each epoch, until the next begins, so that later callbacks
            see the averages in the model.

    Raises:
        ValueError: in use, if the optimizer was created without `use_ema=True`.
    """

    _backed_up = ("_swapped",)

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = flag(swap_on_epoch, "swap_on_epoch")
        self._swapped = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Checks that the optimizer keeps moving averages."""
        self._require_averages()
        self._swapped = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Restores the weights."""
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Puts the averages into the model. After the last epoch they stay there."""
        if self.swap_on_epoch:
            self._swap(True)
            if epoch == self.params["epochs"] - 1 or self.model.stop_training:
                self.model.optimizer._averages_from_weights()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Puts the averages into the model."""
        self._swap(True)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Restores the weights."""
        self._swap(False)

    def on_predict_begin(self, logs: Any = None) -> None:
        """Puts the averages into the model."""
        self._swap(True)

    def on_predict_end(self, logs: Any = None) -> None:
        """Restores the weights."""
        self._swap(False)

    def _undo(self) -> None:
        """Restores the weights after an exception."""
        if self._swapped:
            self._swap(False)

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError unless the state says whether weights and averages are swapped."""
        if not isinstance(state["_swapped"], bool):
            msg = f"`_swapped` must be True or False, got {state['_swapped']!r:.200}"
            raise TypeError(msg)

    def _swap(self, swapped: bool) -> None:
        self._require_averages()
        optimizer = self.model.optimizer
        if swapped != self._swapped and optimizer._batches:
            optimizer._swap_averages()
            self._swapped = swapped

    def _require_averages(self) -> None:
        optimizer = self.model.optimizer
        if not optimizer.use_ema:
            msg = (
                f"SwapEMAWeights needs an optimizer that keeps running means of the weights: make it with "
                f"{type(optimizer).__name__}(use_ema=True)"
            )
            raise ValueError(msg)
