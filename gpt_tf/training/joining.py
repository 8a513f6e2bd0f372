"""Joins this process to the other workers of a run, for the sums of `workers.Workers`.

A `Strategy` of TensorFlow starts the server and finds the other workers. Nothing is built in its
scope: it would take the optimizer and the compiled update over, and cannot do what they need.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

JOB = "worker"
_joined: list[tf.distribute.Strategy] = []  # kept: what it started ends with it


def join(addresses: Sequence[str], rank: int) -> None:
    """Wait until all workers are joined; before the first tensor is made.

    Args:
      addresses: "host:port" of every worker, in their order.
      rank: of this one.

    Raises:
      RuntimeError: if TensorFlow is in use already.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({JOB: list(addresses)}),
        task_type=JOB,
        task_id=rank,
        rpc_layer="grpc",
    )
    _joined.append(tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver))
