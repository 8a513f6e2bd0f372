"""How long a training would take, and how much memory: a few of its real steps are made and timed.

The steps, an evaluation, a sample text, a picture and a checkpoint are made with the parts of a
real training, in a temporary folder. Compiling takes the time by which the first step and the first
evaluation are longer than the next ones. All evaluations are assumed to take as long as the second.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from gpt_tf.config import Config
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.runs.building import Parts, first_model, make_step
from gpt_tf.runs.console import Console
from gpt_tf.runs.counting import evaluations, times
from gpt_tf.runs.dry_run import Opened
from gpt_tf.runs.finetuning import first_weights
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.runs.sampling import keeps_prompt, resolve_sampling, sample_text_of
from gpt_tf.runs.stopping import Stopped
from gpt_tf.runs.wiring import own_writers, versions
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.training.checkpoint import CheckpointManager
from gpt_tf.training.evaluator import evaluate, make_scores_of
from gpt_tf.training.loop import Trainer
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.schedule import make_schedule
from gpt_tf.training.writers import Writers

ENOUGH = 8.0  # seconds of steps, without the first ones
MEASURED_BATCHES = 10  # of each split, if an evaluation takes more than a few seconds
LONG = 10.0  # seconds
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in which the system counts memory


class Cost(NamedTuple):
    """Seconds that something takes: more the first time, then each time."""

    first: float
    each: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a training takes.

    Attributes:
      begin: seconds from the start of the program to the first step: data, tokenizer, model.
      step, evaluation, save: seconds; an evaluation is with its sample text and picture.
      steps, evaluations, saves: how many of each there are.
      memory: bytes at most so far.
    """

    begin: float
    step: Cost
    evaluation: Cost
    save: float
    steps: int
    evaluations: int
    saves: int
    memory: int

    @property
    def compiling(self) -> float:
        """Seconds that the first step and the first evaluation take longer than others."""
        of_evaluation = self.evaluation.first - self.evaluation.each if self.evaluations else 0.0
        return max(0.0, self.step.first - self.step.each) + max(0.0, of_evaluation)

    @property
    def seconds(self) -> float:
        """Of the whole training, about."""
        repeated = self.steps * self.step.each + self.evaluations * self.evaluation.each
        return self.begin + self.compiling + repeated + self.saves * self.save


def measure(given: Opened) -> tuple[LanguageModel, Measured]:
    """Make the parts of a training, and time a few of its steps; its model and the figures.

    Raises:
      Stopped: at a signal.
      RunError: the memory does not suffice.
    """
    job = given.job
    config, weights = first_weights(job.config, job.pretrained)
    keep = keeps_prompt(job, given.choice)
    config = resolve_sampling(config, given.choice, given.tokenizer, keep_prompt=keep)
    parts = Parts(given.streams, given.tokenizer, given.tokenizer_sha256, weights)
    with naming_sizes(config):
        bench = _Bench(config, parts, given.folder, job.workspace.console)
        return bench.model, bench.measured(job.stop_at_step)


class _Bench:
    """The parts of a training in a temporary folder, and how long each takes."""

    def __init__(self, config: Config, parts: Parts, folder: Path, console: Console) -> None:
        self._config, self._parts, self._console = config, parts, console
        run = RunDirectory(folder / "run")
        run.checkpoints.directory.mkdir(parents=True)
        self.model = first_model(config, parts.first_weights)
        optimizer = make_optimizer(self.model, config.training)
        self._writer = Writers(list(own_writers(run, None, self.model.count_params())))
        facts = {"config": dataclasses.asdict(config), "versions": versions()}
        self._saves = _TimedManager(
            self.model,
            optimizer,
            run.checkpoints,
            facts=facts,
            keep=config.training.keep_checkpoints,
        )
        self._saves.check_room(stable=config.training.stable_step is not None)
        shape = (config.training.batch_size, config.model.context_length)
        self._scores_of = make_scores_of(self.model, shape, xla=config.training.xla == "on")
        self._token_bytes_V = parts.tokenizer.token_bytes()
        last = config.training.max_steps
        self._trainer = Trainer(  # which does nothing but steps
            dataclasses.replace(config.training, eval_interval=last, checkpoint_interval=last),
            stream=parts.streams.train,
            step=make_step(config, self.model, optimizer),
            schedule=make_schedule(config.training),
            checkpoints=self._saves,
            writer=self._writer,
        )

    def measured(self, stop_at_step: int | None) -> Measured:
        """Time each part."""
        training = self._config.training
        last = training.max_steps or 1
        steps = min(last, stop_at_step or last)
        begin = time.time() - psutil.Process().create_time()
        try:
            step = self._time_steps(last)
            has_evaluations = self._parts.streams.validation is not None
            evaluation = self._time_evaluation() if has_evaluations else Cost(0.0, 0.0)
            self._time_steps(last)  # the memory of both together
        finally:
            self._writer.close()
        saves = times(steps, training.checkpoint_interval, training.eval_interval)
        return Measured(
            begin=begin,
            step=step,
            evaluation=evaluation,
            save=min(self._saves.seconds),
            steps=steps,
            evaluations=evaluations(self._config, steps) if has_evaluations else 0,
            saves=saves,
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT,
        )

    def _time_steps(self, last: int) -> Cost:
        """The first call, which compiles, and then longer and longer pieces."""
        training, done = self._config.training, self._trainer.state.step
        together = training.steps_per_execution or 1
        first = training.log_interval if together > 1 else 1
        spent = self._advance(min(last, done + first))
        each, count = spent / max(1, self._trainer.state.step - done), 2 * together
        with self._console.progress_bar("measuring", "steps") as advance:
            while (begun := self._trainer.state.step) < last:
                took = self._advance(min(last, begun + count))
                each = took / (self._trainer.state.step - begun)
                advance(self._trainer.state.step, None)
                if took >= ENOUGH:
                    break
                count = max(2 * count, math.ceil(1.2 * min(8 * count, ENOUGH / each)))
        return Cost(max(each, spent - (first - 1) * each), each)

    def _advance(self, step: int) -> float:
        """Make steps up to one; the seconds that they took, without the save at their end."""
        start, saved = time.perf_counter(), sum(self._saves.seconds)
        outcome = self._trainer.run(step)
        if outcome.signal is not None:
            raise Stopped(outcome.signal)
        return time.perf_counter() - start - (sum(self._saves.seconds) - saved)

    def _time_evaluation(self) -> Cost:
        """An evaluation of both splits, a sample text and the pictures of it."""
        config, streams = self._config, self._parts.streams
        all_batches = streams.evaluated_batches
        count = min(all_batches, MEASURED_BATCHES)
        first, again = (self._evaluate(split, count) for split in ("validation", "train"))
        batch = again / count
        if 2 * all_batches * batch < LONG:  # then all of them tell more
            batch = self._evaluate("train", all_batches) / all_batches
        batches = 2.0 * all_batches * batch
        sample_text = sample_text_of(config, self.model, self._parts.tokenizer)
        texts = [_seconds(lambda: self._show(sample_text)) for _ in range(2)]
        each = batches + texts[1]
        return Cost(each + max(0.0, first - again) + max(0.0, texts[0] - texts[1]), each)

    def _evaluate(self, split: str, count: int) -> float:
        """The seconds that so many batches of a split take."""
        with self._parts.streams.evaluation(split) as stream:
            return _seconds(
                lambda: evaluate(
                    self._scores_of,
                    stream,
                    token_bytes_V=self._token_bytes_V,
                    max_batches=count,
                )
            )

    def _show(self, sample_text: Callable[[], Any]) -> None:
        """What else an evaluation does: its figures, the picture, the sample text."""
        step = self._trainer.state.step
        self._writer.write_scalars(step, {"eval/loss": 1.0, "eval/train_loss": 1.0})
        self._writer.write_text(step, sample_text())


class _TimedManager(CheckpointManager):
    """A checkpoint manager that says how long each save took."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seconds: list[float] = []

    def save(self, *arguments: Any, **options: Any) -> str:
        """As the manager saves."""
        start = time.perf_counter()
        name = super().save(*arguments, **options)
        self.seconds.append(time.perf_counter() - start)
        return name


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
