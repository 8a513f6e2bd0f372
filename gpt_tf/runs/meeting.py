"""The workers of a cluster meet before a training, and watch one another until its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpt_tf.runs.cluster import Cluster
from gpt_tf.runs.job import Job
from gpt_tf.runs.team import ALONE, Team, facts
from gpt_tf.training.watch import Place, watching


@contextmanager
def joined(cluster: Cluster | None, job: Job, run: str | None) -> Iterator[Team]:
    """Find the other workers, which must have been asked for the same training.

    Args:
      cluster: None for a single worker.
      run: the one that is resumed; None for a new one.

    Raises:
      UsageError: if a worker is missing, or differs; on every worker.
    """
    if cluster is None:
        yield ALONE
        return
    place = Place(
        count=len(cluster.addresses),
        rank=cluster.rank,
        address=cluster.watch,
        secret=cluster.secret,
        launch=cluster.launch,
        names=tuple(f"worker {rank} ({name})" for rank, name in enumerate(cluster.addresses)),
    )
    with watching(place, facts(job, run), say=job.workspace.console.note) as watch:
        yield Team(place.count, place.rank, watch)


def join_sums(cluster: Cluster | None) -> None:
    """Join the workers for the sums of their gradients; before the first use of TensorFlow.

    Raises:
      UsageError: if this one cannot listen at its address.
    """
    if cluster is not None:
        from gpt_tf.training.joining import join  # it imports TensorFlow

        join(cluster.addresses, cluster.rank)
