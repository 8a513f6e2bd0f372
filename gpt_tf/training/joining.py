"""Joins this process to the other workers of a run, for the sums of `workers.Workers`.

A `Strategy` of TensorFlow would do this, too. But it also starts a coordination service, which ends
all sums once a worker has been silent for ten seconds, as one may be on a busy machine. Who is lost
is for the watch to say (`watch.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.eager import context  # nothing public leaves the service out

from gpt_tf.errors import RunError, UsageError

JOB = "worker"
NO_PROXY = "no_grpc_proxy"  # of gRPC: where it goes directly
# Seconds until the watch has surely named a worker that is lost, and ended this process.
PATIENCE = 20.0
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
    tf.errors.UnimplementedError,  # something else answers at the address of a worker
    tf.errors.UnknownError,
)
_joined: list[int] = []  # the rank, once this process has joined


def join(addresses: Sequence[str], rank: int) -> None:
    """Listen to the other workers; before the first tensor is made. A sum waits for them.

    Args:
      addresses: "host:port" of every worker, in their order.
      rank: of this one.

    Raises:
      UsageError: if this worker cannot listen at its address.
      RuntimeError: if TensorFlow is in use already.
    """
    _leave_proxies_out(addresses)
    runtime = context.context()
    runtime.configure_collective_ops(
        collective_leader=f"/job:{JOB}/replica:0/task:0",
        scoped_allocator_enabled_ops=("CollectiveReduce",),
        device_filters=(f"/job:{JOB}/task:{rank}",),
    )
    server = tf.train.ServerDef(
        cluster=tf.train.ClusterSpec({JOB: list(addresses)}).as_cluster_def(),
        default_session_config=runtime.config,
        job_name=JOB,
        task_index=rank,
        protocol="grpc",
    )
    runtime.enable_collective_ops(server)
    try:
        runtime.ensure_initialized()
    except tf.errors.OpError as error:
        raise UsageError(
            f"worker {rank} cannot listen at its address: {addresses[rank]} ({error}). Use a port "
            "that no other program uses."
        ) from error
    _joined.append(rank)


def _leave_proxies_out(addresses: Sequence[str]) -> None:
    """Reach the workers directly: gRPC would ask the proxy of `http_proxy`, and wait for ever."""
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    before = [os.environ[name] for name in (NO_PROXY, "no_proxy") if os.environ.get(name)]
    os.environ[NO_PROXY] = ",".join([*dict.fromkeys(hosts), *before[:1]])


def has_joined() -> bool:
    """Whether this process has joined others."""
    return bool(_joined)


def _in_a_line(error: tf.errors.OpError) -> str:
    """What happened, without where in the program, which stands before and after it."""
    lines = str(error.message).splitlines()
    told = [line for line in lines if not line.startswith((" ", "\t", "Detected", "Graph exec"))]
    return next(filter(None, told), type(error).__name__)[:300].rstrip(". ")


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
            f"the workers cannot sum their gradients: {_in_a_line(error)}. "
            "What was saved is kept: `gpt-tf train --resume` goes on with it."
        ) from error
