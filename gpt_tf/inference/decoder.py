"""The engine of TensorFlow: one compiled function for every decoding, and one for few rows.

Shapes: B rows, T new tokens, S cached slots, K both (S + T), Q wanted tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from weakref import WeakKeyDictionary

import tensorflow as tf

from gpt_tf.inference.engine import Bools, Decoded, Ints, bias_of, checked
from gpt_tf.inference.kv_cache import KVCache
from gpt_tf.inference.model_engine import ModelEngine, compiled, decode_step
from gpt_tf.model.few_rows import FEW_ROWS, Product
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.where import Where


class Decoder(ModelEngine):
    """The model as it is, in float32.

    Attributes:
      traces: how often functions were traced; once each, whatever the shapes.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model)
        self.traces = 0
        # copies serve one cache and go with it: the weights may be in training
        self._kernels: WeakKeyDictionary[KVCache, list[tf.Tensor]] = WeakKeyDictionary()
        shape: list[int | None] = list(model.cache_shape(1, 1))
        shape[2], shape[4] = None, None
        ids_spec, positions_spec, wanted_spec = (tf.TensorSpec([None, None], tf.int32),) * 3
        cache_spec, bias_spec = tf.TensorSpec(shape), tf.TensorSpec([None, None, None])
        self._signature = [ids_spec, positions_spec, cache_spec, bias_spec, wanted_spec]
        self._decode = compiled(self._step, self._signature)

    def _step(
        self,
        token_ids_BT: tf.Tensor,
        positions_BT: tf.Tensor,
        cache: tf.Tensor,
        bias_BTK: tf.Tensor,
        wanted_BQ: tf.Tensor,
        *,
        weights: list[tf.Tensor] | None = None,
    ) -> tuple[tf.Tensor, ...]:
        """What is traced."""
        self.traces += 1
        layers = cache.shape[0]
        # slices along a first axis share its memory
        pairs = [tf.unstack(pair, num=2) for pair in tf.unstack(cache, num=layers)]
        x_BTD = self.model.embed(token_ids_BT, positions_BT)
        where = Where(positions_BT, bias_BTK, weights)
        return decode_step(self.model, x_BTD, pairs, where, wanted_BQ)

    @functools.cached_property
    def _decode_with_weights(self) -> Callable[..., tuple[tf.Tensor, ...]]:
        """The same, which gives the attention's weights, too."""
        return compiled(lambda *tensors: self._step(*tensors, weights=[]), self._signature)

    @functools.cached_property
    def _decode_few_rows(self) -> Callable[..., tuple[tf.Tensor, ...]]:
        """The same with transposed kernels as further arguments."""
        products, given = self.model.products(), len(self._signature)

        def decode(*tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with Product.transposed(products, tensors[given:]):
                return self._step(*tensors[:given])

        kernels = [tf.TensorSpec(product.transposed_kernel().shape) for product in products]
        return compiled(decode, [*self._signature, *kernels])

    def run(
        self,
        token_ids_BT: Ints,
        positions_BT: Ints,
        cache: KVCache | None,
        visible_BTK: Bools,
        wanted_BQ: Ints,
        with_weights: bool = False,
    ) -> Decoded:
        """Take in new tokens, as `Engine.run`."""
        if cache is None:
            cached = tf.zeros(self.model.cache_shape(len(token_ids_BT), 0))
        else:
            cached = cache.tensor
        ids, positions, wanted = (
            tf.constant(array, tf.int32) for array in (token_ids_BT, positions_BT, wanted_BQ)
        )
        given = [ids, positions, cached, tf.constant(bias_of(visible_BTK)), wanted]
        if with_weights:
            results = self._decode_with_weights(*given)
        elif cache is not None and self._has_few_rows(token_ids_BT.size):
            results = self._decode_few_rows(*given, *self._kernels_for(cache))
        else:
            results = self._decode(*given)
        return checked(*(result.numpy() for result in results))

    def _has_few_rows(self, rows: int) -> bool:
        kernels_exist = self.model.precision == "float32" and self.model.products()
        return rows in FEW_ROWS and bool(kernels_exist)

    def _kernels_for(self, cache: KVCache) -> list[tf.Tensor]:
        """Transposed kernels as they were when this cache was first used."""
        if cache not in self._kernels:
            products = self.model.products()
            self._kernels[cache] = [product.transposed_kernel() for product in products]
        return self._kernels[cache]
