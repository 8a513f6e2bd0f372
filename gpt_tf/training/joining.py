"""Joins this process to the other workers of a run, for the sums of `workers.Workers`.

A `Strategy` of TensorFlow starts the server and finds the other workers. Nothing is built in its
scope: it would take the optimizer and the compiled update over, and cannot do what they need.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from gpt_tf.errors import RunError, UsageError

JOB = "worker"
# Seconds until the watch has surely named a worker that is lost, and ended this process.
PATIENCE = 20.0
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)
_joined: list[tf.distribute.Strategy] = []  # kept: what it started ends with it


def join(addresses: Sequence[str], rank: int) -> None:
    """Wait until all workers are joined; before the first tensor is made.

    Args:
      addresses: "host:port" of every worker, in their order.
      rank: of this one.

    Raises:
      UsageError: if this worker cannot listen at its address.
      RuntimeError: if TensorFlow is in use already.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({JOB: list(addresses)}),
        task_type=JOB,
        task_id=rank,
        rpc_layer="grpc",
    )
    try:
        _joined.append(tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver))
    except tf.errors.OpError as error:
        raise UsageError(
            f"worker {rank} cannot listen at its address: {addresses[rank]} ({error}). Use a port "
            "that no other program uses."
        ) from error


def has_joined() -> bool:
    """Whether this process has joined others."""
    return bool(_joined)


@contextmanager
def losses_named() -> Iterator[None]:
    """Leave it to the watch to name a lost worker, whose sums fail on the others.

    Raises:
      RunError: if it does not know of one.
    """
    try:
        yield
    except LOST as error:
        time.sleep(PATIENCE)
        raise RunError(
            f"the workers cannot sum their gradients: {str(error).strip().splitlines()[-1]}. "
            "Checkpoints are kept: `gpt-tf train --resume` goes on."
        ) from error
