"""The training loop: the page to read first.

Restore or start; then, until a limit, a signal or early stopping ends it: evaluate if due, save if
due, take the next batches, make an update (a small model: a few in one call), log if due.
"""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import psutil

from gpt_tf.config import TrainingConfig
from gpt_tf.errors import RunError
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.streaming.batches import Batch
from gpt_tf.streaming.prefetch import WaitCancelledError
from gpt_tf.streaming.share import WHOLE
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.clock import Clock
from gpt_tf.training.early_stopping import EarlyStopping
from gpt_tf.training.evaluation import Evaluation, perplexity
from gpt_tf.training.signals import StopRequest
from gpt_tf.training.train_step import StepResult
from gpt_tf.training.writers import Writers

log = logging.getLogger(__name__)

# (batches, learning rates, stop) -> the result of an update a rate: a `TrainStep`
Step = Callable[[Sequence[Batch], Sequence[float], float], Sequence[StepResult]]
# (split, request) -> the evaluation, or None where the request cut it short
Evaluate = Callable[[str, StopRequest], Evaluation | None]


# Whether the first step is evaluated before; weights of another run can be the best, random cannot
FirstEvaluation = Literal["none", "shown", "counted"]


class Measuring(NamedTuple):
    """What is measured and shown along the way.

    Attributes:
      evaluate: measures "validation" or "train"; None if nothing was set aside.
      sample_text: continues the sample prompt with the present weights; None for no samples.
      before_first_step: whether to measure before the first step, too. If it is only "shown", it
        is neither saved nor the best, and does not count for the patience.
      operations_per_token: of the model; 0 if they are not known.
    """

    evaluate: Evaluate | None = None
    sample_text: Callable[[], str] | None = None
    before_first_step: FirstEvaluation = "none"
    operations_per_token: float = 0.0


NOTHING_MEASURED = Measuring()


class Outcome(NamedTuple):
    """How a run ended."""

    step: int
    reason: str
    signal: int | None  # its number where a signal ended the run


@dataclass
class LoopState:
    """What the loop itself carries from step to step; saved with each checkpoint."""

    step: int = 0
    tokens_seen: int = 0
    evaluated_step: int = -1
    window_nats: float = 0.0  # since the last log line
    window_tokens: float = 0.0


class Trainer:
    """Trains until `max_steps`.

    Args:
      config: the resolved settings; `max_steps` and the intervals are numbers.
      stream: endless training batches; with several workers, this one's share.
      step: the compiled update.
      schedule: step number to learning rate.
      checkpoints: saves and restores.
      writer: receives numbers and sample texts.
      measuring: evaluations and sample texts.
      sequence: a workspace-wide counter for manifests.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        stream: TokenStream,
        step: Step,
        schedule: Callable[[int], Any],
        checkpoints: CheckpointManager,
        writer: Writers,
        measuring: Measuring = NOTHING_MEASURED,
        sequence: Callable[[], int] = lambda: 0,
    ) -> None:
        self._config = config
        self._stream = stream
        self._step = step
        self._schedule = schedule
        self._checkpoints = checkpoints
        self._writer = writer
        self._measuring = measuring
        self._sequence = sequence
        self._early_stopping = EarlyStopping(config.patience)
        self.state = LoopState()
        self._saved_step = -1
        self._clock = Clock()
        self._last: dict[str, float] = {}  # of the step before

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on where `checkpoint` was saved."""
        state = self._checkpoints.restore(checkpoint)
        self.state = LoopState(**state["loop"])
        self._stream.load_state_dict(state["stream"])
        self._early_stopping.load_state_dict(state["early_stopping"])
        self._saved_step = self.state.step

    def save_again(self) -> None:
        """Save the step that was restored, with the present settings."""
        self._saved_step = -1
        self._save()

    def run(self, stop_at_step: int | None = None) -> Outcome:
        """Train; on every way out but an error the last step is saved."""
        with StopRequest(shared=self._stream.share != WHOLE) as request:
            try:
                reason = None
                self._writer.advance(self.state.step, None)
                while reason is None:
                    if self._due(self._config.eval_interval) or self._begins_measured():
                        self._run_evaluation(request)
                    if self._due(self._config.checkpoint_interval) or self._is_stable():
                        self._save()
                    reason = self._reason_to_stop(request, stop_at_step)
                    if reason is None:
                        updated = self._update(self._steps_together(stop_at_step), request)
                        if updated:
                            self._report()
                self._save()  # first: the evaluation may take long, or fail
                if request.received is None:
                    self._run_evaluation(request, self._state_dict())
                return Outcome(self.state.step, reason, request.received)
            finally:
                self._stream.close()

    def _due(self, interval: int | None) -> bool:
        assert interval is not None, "intervals are resolved before the loop"
        step = self.state.step
        return step > 0 and (step % interval == 0 or step == self._config.max_steps)

    def _is_stable(self) -> bool:
        return self.state.step == self._config.stable_step

    def _begins_measured(self) -> bool:
        return self.state.step == 0 and self._measuring.before_first_step != "none"

    def _reason_to_stop(self, request: StopRequest, stop_at_step: int | None) -> str | None:
        if request.received is not None:
            return f"stopped by {signal.Signals(request.received).name}"
        if self.state.step >= (self._config.max_steps or 0):
            return "all steps done"
        if self._early_stopping.should_stop:
            waited = self._early_stopping.waited
            return f"no better evaluation for {waited} times"
        if stop_at_step is not None and self.state.step >= stop_at_step:
            return f"--stop-at-step {stop_at_step}"
        return None

    def _steps_together(self, stop_at_step: int | None) -> int:
        """Updates of the next call: none passes a step at which something is due."""
        config, step = self._config, self.state.step
        intervals = (config.log_interval, config.eval_interval, config.checkpoint_interval)
        distances = [interval - step % interval for interval in intervals if interval]
        ends = (config.max_steps, config.stable_step, stop_at_step)
        distances += [end - step for end in ends if end is not None and end > step]
        return min(config.steps_per_execution or 1, *distances)

    def _update(self, count: int, request: StopRequest) -> bool:
        """Updates from the next batches; False where a signal cut the wait short."""
        before = self._stream.state_dict()
        per_update = self._config.grad_accum_steps
        own = self._stream.share.before(count * per_update)
        try:
            with self._clock.waiting():
                batches = [self._stream.take(request.came) for _ in range(own)]
        except WaitCancelledError:  # a signal came; the batches taken so far are not counted
            self._stream.load_state_dict(before)
            return False
        rates = [float(self._schedule(self.state.step + i)) for i in range(count)]
        results = self._step(batches, rates, float(request.is_asked()))
        request.hear(results[-1].stop)
        for i, (rate, result) in enumerate(zip(rates, results, strict=False)):
            if not result.finite:  # the last of the results
                self._refuse(before["position"] + i * per_update, rate, result)
            self._count(rate, result)
        return True

    def _count(self, learning_rate: float, result: StepResult) -> None:
        self.state.step += 1
        self.state.tokens_seen += int(result.tokens)
        self.state.window_nats += result.nats
        self.state.window_tokens += result.tokens
        self._clock.count(result.tokens)
        self._last = {"train/grad_norm": result.grad_norm, "train/learning_rate": learning_rate}

    def _refuse(self, position: int, learning_rate: float, result: StepResult) -> None:
        documents = [
            path
            for i in range(position, position + self._config.grad_accum_steps)
            for path in self._stream.documents(i)
        ]
        named = ", ".join(repr(str(path)) for path in documents[:3])
        known = math.isfinite(result.nats) and math.isfinite(result.grad_norm)
        what = "weights after the update" if known else "loss or gradient"
        raise RunError(
            f"non-finite {what} at step {self.state.step + 1}: loss sum {result.nats}, "
            f"gradient norm {result.grad_norm}, learning rate {learning_rate:g}, batch of {named} "
            f"and {max(0, len(documents) - 3)} more. The weights are as before the step. Begin "
            f"again with a lower training.peak_learning_rate{' or weight_decay' if known else ''}; "
            "`gpt-tf train --from RUN` takes the weights of the best checkpoint."
        )

    def _report(self) -> None:
        """Tell the step, and at each log interval the means since the last one."""
        state = self.state
        loss = state.window_nats / state.window_tokens if state.window_tokens else 0.0
        self._writer.advance(state.step, loss)
        if state.step % self._config.log_interval == 0:
            self._log_window(loss)

    def _log_window(self, loss: float) -> None:
        state = self.state
        speed = self._clock.read()
        if operations := self._measuring.operations_per_token:
            speed["perf/model_gflops"] = operations * speed["perf/tokens_per_second"] / 1e9
        self._writer.write_scalars(
            state.step,
            {
                "train/loss": loss,
                "train/perplexity": perplexity(loss),
                **self._last,
                "train/tokens_seen": state.tokens_seen,
                "train/epoch": self._stream.state_dict()["position"] / len(self._stream),
                **speed,
                "perf/memory_gb": psutil.Process().memory_info().rss / 1e9,
            },
        )
        state.window_nats = state.window_tokens = 0.0

    def _run_evaluation(self, request: StopRequest, state: Mapping[str, Any] | None = None) -> None:
        """Measure both splits, write a sample text, save, and remember the best.

        Args:
          state: what to save instead of the present one. A run that ends early is measured at its
            end; one that goes on from there is not to know of it, as one that never ended.
        """
        evaluate, sample_text = self._measuring.evaluate, self._measuring.sample_text
        if evaluate is None or self.state.evaluated_step == self.state.step:
            return
        results: dict[str, Evaluation] = {}
        for split, name in (("validation", "validation"), ("train", "training")):
            self._writer.doing(f"evaluating on {name} data")
            result = evaluate(split, request)
            if result is None:  # cut short: the resumed run evaluates first
                return
            results[split] = result
        step, validation = self.state.step, results["validation"]
        is_counted = step > 0 or self._measuring.before_first_step == "counted"
        if is_counted:
            self._early_stopping.update(validation.loss, step)
        self.state.evaluated_step = step
        self._writer.write_scalars(
            step,
            {
                **{f"eval/{name}": value for name, value in validation.figures.items()},
                "eval/train_loss": results["train"].loss,
                "eval/best_loss": min(self._early_stopping.best, validation.loss),
            },
        )
        if sample_text is not None:
            self._writer.doing("writing a sample text")
            self._writer.write_text(step, sample_text())
        if is_counted:
            self._save(evaluated=True, state=state)
        self._writer.doing(None)
        self._clock.restart()

    def _save(self, *, evaluated: bool = False, state: Mapping[str, Any] | None = None) -> None:
        if self._saved_step == self.state.step and not evaluated:
            return
        state = state or self._state_dict()
        name = self._checkpoints.save(
            self.state.step,
            state,
            best_step=self._early_stopping.best_step,
            also_kept=state["early_stopping"]["best_step"],
            stable_step=self._config.stable_step,
            facts={"sequence": self._sequence()},
        )
        self._saved_step = self.state.step
        begins = ", where the learning rate begins to fall" if self._is_stable() else ""
        log.info("saved %s%s", name, begins)

    def _state_dict(self) -> dict[str, Any]:
        return {
            "loop": asdict(self.state),
            "stream": self._stream.state_dict(),
            "early_stopping": self._early_stopping.state_dict(),
        }
