"""A training from the command line: alone, or as one of several workers."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from gpt_tf.cli import console
from gpt_tf.cli.tensorflow_quietly import import_tensorflow, load_tensorflow
from gpt_tf.cli.training_report import report, show_profile

if TYPE_CHECKING:
    from gpt_tf.runs.cluster import Cluster
    from gpt_tf.runs.job import Job
    from gpt_tf.storage.run_directory import RunDirectory


def train_together(job: Job, cluster: Cluster | None, run: RunDirectory | None = None) -> int:
    """Train with the workers of a cluster, and report; the exit code.

    Args:
      cluster: None to train alone.
      run: the one that goes on; None for a new one.
    """
    from gpt_tf.runs.meeting import join_sums, joined

    if cluster is not None:
        count = len(cluster.addresses)
        load_tensorflow()  # in the way of the watch: an import keeps other threads waiting
        console.note(f"one of {count} workers ({cluster.source}): waiting for all of them")
    with joined(cluster, job, run.name if run else None) as team:
        if not team.is_chief:
            console.set_quiet(True)
        import_tensorflow(partial(join_sums, cluster))
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
