"""Token ids are checked before they reach a table: TensorFlow takes -1 for the last row."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

INT32_MAX = 2**31 - 1


def checked_ids(token_ids: Any, vocab_size: int, context_length: int = INT32_MAX) -> tf.Tensor:
    """Token ids [B, T] as a tensor, all of them entries of the vocabulary.

    Inside a compiled function only what the graph knows is checked, and the length when it runs.

    Args:
      context_length: the longest sequence allowed.

    Raises:
      ValueError: if they are no integers, have other axes, are too long or outside the vocabulary.
    """
    ids_BT = tf.convert_to_tensor(token_ids)
    if not ids_BT.dtype.is_integer:
        raise ValueError(f"Token ids must be integers. Received: {ids_BT.dtype.name}.")
    if ids_BT.shape.rank not in (None, 2):
        raise ValueError(
            f"Token ids must have two axes, [batch, time]. Received: {tuple(ids_BT.shape)}."
        )
    time = ids_BT.shape[1] if ids_BT.shape.rank else None
    too_long = f"Token ids must be no longer than the context_length of {context_length}."
    if time is None and context_length < INT32_MAX:
        check = tf.debugging.assert_less_equal(tf.shape(ids_BT)[1], context_length, too_long)
        with tf.control_dependencies([check]):
            ids_BT = tf.identity(ids_BT)
    elif time is not None and time > context_length:
        raise ValueError(f"{too_long} Received: {time}.")
    if tf.executing_eagerly() and tf.size(ids_BT):
        lowest, highest = int(tf.reduce_min(ids_BT)), int(tf.reduce_max(ids_BT))
        if lowest < 0 or highest >= vocab_size:
            outside = lowest if lowest < 0 else highest
            raise ValueError(f"Token ids must be 0 to {vocab_size - 1}. Received: {outside}.")
    return ids_BT
