"""Several updates in one call, for models whose step takes no longer than calling it."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def several_updates(
    update: Callable[..., tf.Tensor], most: int, facts: int, *parts_and_count: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make updates until `count` are made or one is refused.

    Args:
      update: from a part of each kind to the facts of the update; the fourth is 1 if it was made.
      most: updates of a call.
      facts: numbers of an update.
      parts_and_count: of each kind the parts of `most` updates, (S, ...); and the count.

    Returns:
      The facts of each, (S, F); and how many were tried.
    """
    *parts_S, count = parts_and_count

    def one(i: tf.Tensor, facts_SF: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = update(*(part_S[i] for part_S in parts_S))
        return i + 1, tf.tensor_scatter_nd_update(facts_SF, [[i]], found[None]), found[3]

    done, facts_SF, _ = tf.while_loop(
        lambda i, _, finite: (i < count) & (finite > 0),
        one,
        (tf.constant(0), tf.zeros((most, facts)), tf.constant(1.0)),
        maximum_iterations=most,
        parallel_iterations=1,  # in their order, whatever a variable has to wait for
    )
    return facts_SF, done
