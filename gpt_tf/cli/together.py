"""A training from the command line: alone, or as one of several workers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from gpt_tf.cli import console
from gpt_tf.cli.tensorflow_quietly import import_tensorflow, load_tensorflow
from gpt_tf.cli.training_report import report, show_profile

if TYPE_CHECKING:
    from gpt_tf.runs.cluster import Cluster
    from gpt_tf.runs.job import Job
    from gpt_tf.runs.team import Team
    from gpt_tf.storage.run_directory import RunDirectory


def train_together(job: Job, cluster: Cluster | None, run: RunDirectory | None = None) -> int:
    """Train with the workers of a cluster, and report; the exit code.

    Args:
      cluster: None to train alone.
      run: the one that goes on; None for a new one.
    """
    with _joined(job, cluster, run.name if run else None) as team:
        from gpt_tf.runs.assemble import begin, resume
        from gpt_tf.runs.following import follow

        job = dataclasses.replace(job, team=team)
        if not team.is_chief:
            followed = follow(job)
            return 128 + followed.signal if followed and followed.signal else 0
        run, outcome = begin(job) if run is None else resume(run, job)
        if job.profile is not None:
            show_profile(job.profile)
        return report(run, outcome)


def measure_together(job: Job, cluster: Cluster) -> int:
    """Measure with the workers of a cluster what their sums take; nothing that is written stays."""
    from gpt_tf.runs.dry_run import look
    from gpt_tf.runs.sum_figures import rows
    from gpt_tf.runs.team import shared_out

    with _joined(job, cluster, None) as team:
        from gpt_tf.runs.measuring_sums import measured_sums

        job = dataclasses.replace(job, config=shared_out(job.config, team, console))
        config = look(job).config
        console.note("measuring steps of each worker, and sums of all")
        figures = measured_sums(config, team)
        if team.is_chief:
            console.print_table("", (), rows(figures))
    return 0


@contextmanager
def _joined(job: Job, cluster: Cluster | None, run: str | None) -> Iterator[Team]:
    """Meet the other workers, if there are any, and load TensorFlow."""
    from gpt_tf.runs.meeting import join_sums, joined

    if cluster is not None:
        load_tensorflow()  # in the way of the watch: an import keeps other threads waiting
        console.note(
            f"worker {cluster.rank} of {len(cluster.addresses)} ({cluster.source}): "
            "waiting for all of them"
        )
    with joined(cluster, job, run) as team:
        if not team.is_chief:
            console.set_quiet(True)
        import_tensorflow(partial(join_sums, cluster))
        yield team
