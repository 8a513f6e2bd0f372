"""Stop when the evaluation loss has not improved for a while."""

from __future__ import annotations

import math
from typing import Any

from gpt_tf.arguments import check_counts
from gpt_tf.errors import RunError


class EarlyStopping:
    """Follows the lowest evaluation loss, and says when to stop.

        stopping = EarlyStopping(patience=3)
        ...
        if stopping.update(loss, step):  # the best so far
            manager.save(step, best_step=step)
        if stopping.should_stop:
            break

    Args:
      patience: evaluations without strict improvement before it says stop; None for never.

    Attributes:
      best, best_step: the lowest loss and its step; ties go to the earlier.
      waited: evaluations since.

    Raises:
      UsageError: for a `patience` that is not a whole number of 1 or more.
    """

    def __init__(self, patience: int | None = None) -> None:
        if patience is not None:
            check_counts(patience=patience)
        self.patience = patience
        self.best = math.inf
        self.best_step: int | None = None
        self.waited = 0

    def __repr__(self) -> str:
        return (
            f"EarlyStopping(patience={self.patience}, best={self.best:.4f}, "
            f"best_step={self.best_step}, waited={self.waited})"
        )

    def update(self, loss: float, step: int) -> bool:
        """Take in an evaluation; True where it is the best so far.

        Raises:
          RunError: if the loss is not finite: that is no result to wait on.
        """
        if not math.isfinite(loss):
            raise RunError(
                f"non-finite evaluation loss at step {step}: {loss}. Nothing of it was saved. "
                "Begin again with a lower training.peak_learning_rate; `gpt-tf train --from RUN` "
                "takes the weights of the best checkpoint."
            )
        improved = loss < self.best
        if improved:
            self.best, self.best_step, self.waited = loss, step, 0
        else:
            self.waited += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """True once patience is used up."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        best = None if math.isinf(self.best) else self.best
        return {"best": best, "best_step": self.best_step, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.best_step = state["best_step"]
        self.waited = int(state["waited"])
