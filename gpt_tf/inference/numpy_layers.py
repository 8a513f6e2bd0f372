"""The layers of the GPT in NumPy and float32, for text without TensorFlow.

They compute what the layers of `gpt_tf.model` do while decoding, from the same stored arrays. What
is chosen by name there is chosen from tables here.

Shapes: B batch, T time, R positions (B * T), S cached time, K all time (S + T), D embed, N heads,
H head_dim, F ffn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from gpt_tf.config import ModelConfig
from gpt_tf.inference.kv_cache import Floats
from gpt_tf.model.stored_arrays import Shape, check_arrays
from gpt_tf.model.where import Where

# erf of a positive number: Abramowitz and Stegun 1964, formula 7.1.26, within 1.5e-7
ERF_SLOPE = np.float32(0.3275911)
ERF_TERMS = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
ELEMENTS_AT_ONCE = 1 << 15  # their temporary arrays stay in the processor's cache


class Weights:
    """Stored arrays, each of which a layer takes.

    Args:
      arrays: as `gpt_tf.model.variables.weight_variables` names them, without adapters.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._shapes: dict[str, Shape] = {}

    def take(self, name: str, *shape: int) -> Floats:
        """An array; zeros in place of one that is missing, which `check` refuses."""
        self._shapes[name] = shape
        array = self._arrays.get(name)
        return np.zeros(0, np.float32) if array is None else np.asarray(array, np.float32)

    def check(self, source: str) -> None:
        """Raise UsageError if arrays are missing, left over or of another shape."""
        check_arrays(self._shapes, self._arrays, source)


class Dense:
    """x · kernel + bias, if it has one."""

    def __init__(
        self, weights: Weights, name: str, inputs: int, outputs: int, use_bias: bool
    ) -> None:
        self._kernel = weights.take(f"{name}/kernel", inputs, outputs)
        self._bias = weights.take(f"{name}/bias", outputs) if use_bias else None

    def __call__(self, x_RD: Floats) -> Floats:
        """The product, [R, outputs]."""
        result: Floats = x_RD @ self._kernel
        if self._bias is not None:
            result += self._bias
        return result


Norm = Callable[[Floats], Floats]


class LayerNorm:
    """Mean 0 and variance 1 over the last axis, then gamma and beta (Ba et al. 2016).

    There is no beta in a model without biases.
    """

    def __init__(self, weights: Weights, name: str, config: ModelConfig) -> None:
        self._gamma_D = weights.take(f"{name}/gamma", config.embed_dim)
        self._beta_D = weights.take(f"{name}/beta", config.embed_dim) if config.bias else None
        self._epsilon = np.float32(config.norm_epsilon)

    def __call__(self, x: Floats) -> Floats:
        """The same shape."""
        centred: Floats = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        centred /= np.sqrt(variance + self._epsilon)
        centred *= self._gamma_D
        if self._beta_D is not None:
            centred += self._beta_D
        return centred


class RMSNorm:
    """Root mean square 1 over the last axis, then gamma (Zhang and Sennrich 2019).

    The last axis is as wide as the model, or `width`.
    """

    def __init__(
        self, weights: Weights, name: str, config: ModelConfig, width: int | None = None
    ) -> None:
        self._gamma_D = weights.take(f"{name}/gamma", width or config.embed_dim)
        self._epsilon = np.float32(config.norm_epsilon)

    def __call__(self, x: Floats) -> Floats:
        """The same shape."""
        mean_square = np.square(x).mean(axis=-1, keepdims=True)
        normed: Floats = x / np.sqrt(mean_square + self._epsilon)
        normed *= self._gamma_D
        return normed


def gelu(x: Floats) -> Floats:
    """x times the normal distribution's share below x (Hendrycks and Gimpel 2016)."""
    size = np.abs(x)
    z = size * np.float32(math.sqrt(0.5))
    t = 1 / (1 + ERF_SLOPE * z)
    above = t * np.float32(ERF_TERMS[0])
    for term in ERF_TERMS[1:]:
        above += np.float32(term)
        above *= t
    above *= np.exp(-np.square(z))  # 1 - erf(z)
    above *= size
    above *= np.float32(0.5)
    return np.asarray(np.maximum(x, 0) - above)


def gelu_tanh(x: Floats) -> Floats:
    """Its approximation with tanh, as in GPT-2's code."""
    inner = x * x
    inner *= np.float32(0.044715)
    inner += 1
    inner *= x
    inner *= np.float32(math.sqrt(2 / math.pi))
    result: Floats = np.tanh(inner)
    result += 1
    result *= x
    result *= np.float32(0.5)
    return result


def relu(x: Floats) -> Floats:
    """x, or 0 below 0."""
    return np.asarray(np.maximum(x, 0))


def squared_relu(x: Floats) -> Floats:
    """max(0, x)²."""
    return np.square(relu(x))


def swiglu(x: Floats, gate: Floats) -> Floats:
    """silu(gate) · x, with silu(g) = g · sigmoid(g)."""
    return gate / (1 + np.exp(-gate)) * x


NORMS: dict[str, Callable[[Weights, str, ModelConfig], Norm]] = {
    "layer": LayerNorm,
    "rms": RMSNorm,
}
ACTIVATIONS: dict[str, Callable[..., Floats]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": relu,
    "relu2": squared_relu,  # Primer (So et al. 2021)
    "swiglu": swiglu,  # Shazeer 2020
}
# rows of the learned table before that of position 0; None without a table
POSITIONS: dict[str, int | None] = {"learned": 0, "offset": 2, "rotary": None, "none": None}


class Rotation:
    """Turns queries and keys by their position (Su et al. 2021).

    Numbers i and i + H/2 of a head are a point, turned by position · base^(-2i/H).
    """

    def __init__(self, config: ModelConfig) -> None:
        half = config.head_width // 2
        self._speeds = np.float32(config.rope_base ** (-np.arange(half) / half))

    def __call__(self, x_2BNTH: Floats, positions_BT: np.ndarray) -> Floats:
        """The same shape."""
        angles = (np.float32(positions_BT)[..., None] * self._speeds)[:, None]
        cos, sin = np.cos(angles), np.sin(angles)
        left, right = np.split(x_2BNTH, 2, axis=-1)
        return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)


class Attention:
    """Self-attention of new positions to cached ones and to each other."""

    def __init__(self, weights: Weights, name: str, config: ModelConfig) -> None:
        self._heads, self._width = config.num_heads, config.head_width
        width = self._heads * self._width
        embed, has_bias = config.embed_dim, config.has_qkv_bias
        self._qkv = Dense(weights, f"{name}/qkv", embed, 3 * width, has_bias)
        self._output = Dense(weights, f"{name}/output", width, embed, config.bias)
        self._norms = [
            RMSNorm(weights, f"{name}/{each}", config, self._width)
            for each in (("query_norm", "key_norm") if config.qk_norm else ())
        ]
        self._rotation = Rotation(config) if config.positions == "rotary" else None
        self._scale = np.float32(1 / math.sqrt(self._width))

    def __call__(
        self, x_RD: Floats, cache_2BNSH: Floats | None, where: Where
    ) -> tuple[Floats, Floats]:
        """The outputs, and keys and values of the new positions, [2, B, N, T, H]."""
        rows, time = len(where.bias_BTK), where.time
        qkv = self._qkv(x_RD).reshape(rows, time, 3, self._heads, self._width)
        fresh_3BNTH = np.ascontiguousarray(qkv.transpose(2, 0, 3, 1, 4))
        for part, norm in enumerate(self._norms):
            fresh_3BNTH[part] = norm(fresh_3BNTH[part])
        if self._rotation is not None:
            fresh_3BNTH[:2] = self._rotation(fresh_3BNTH[:2], where.positions_BT)
        query_BNTH, key_BNTH, value_BNTH = fresh_3BNTH
        query_BNTH = query_BNTH * self._scale
        scores_BNTK = query_BNTH @ key_BNTH.swapaxes(-1, -2)
        if cache_2BNSH is not None:
            of_cached = query_BNTH @ cache_2BNSH[0].swapaxes(-1, -2)
            scores_BNTK = np.concatenate([of_cached, scores_BNTK], axis=-1)
        scores_BNTK += where.bias_BTK[:, None]
        weights_BNTK = softmax(scores_BNTK)
        if where.weights is not None:
            where.weights.append(weights_BNTK)
        mixed_BNTH = weights_BNTK[..., -time:] @ value_BNTH
        if cache_2BNSH is not None:
            mixed_BNTH += weights_BNTK[..., :-time] @ cache_2BNSH[1]
        joined_RD = mixed_BNTH.swapaxes(1, 2).reshape(rows * time, -1)
        return self._output(joined_RD), fresh_3BNTH[1:]


class FeedForward:
    """Two dense layers with an activation between them, whose gate may be a third."""

    def __init__(self, weights: Weights, name: str, config: ModelConfig) -> None:
        width, inner, bias = config.embed_dim, config.ffn_dim, config.bias
        first = ["expand", "gate"] if config.is_gated else ["expand"]
        self._first = [Dense(weights, f"{name}/{part}", width, inner, bias) for part in first]
        self._contract = Dense(weights, f"{name}/contract", inner, width, bias)
        self._activate = ACTIVATIONS[config.activation]

    def __call__(self, x_RD: Floats) -> Floats:
        """Expand to F, activate, contract to D."""
        inputs = [layer(x_RD) for layer in self._first]
        flat = [x_RF.reshape(-1) for x_RF in inputs]  # views
        for begin in range(0, flat[0].size, ELEMENTS_AT_ONCE):
            part = slice(begin, begin + ELEMENTS_AT_ONCE)
            flat[0][part] = self._activate(*(x[part] for x in flat))
        return self._contract(inputs[0])


class Block:
    """Attention and feed-forward, each with its residual sum and its norm."""

    def __init__(self, weights: Weights, name: str, config: ModelConfig) -> None:
        self._attention_norm = NORMS[config.norm](weights, f"{name}/attention_norm", config)
        self._attention = Attention(weights, f"{name}/attention", config)
        self._ffn_norm = NORMS[config.norm](weights, f"{name}/ffn_norm", config)
        self._feed_forward = FeedForward(weights, f"{name}/feed_forward", config)
        self._norms_first = config.norm_position == "pre"

    def __call__(
        self, x_RD: Floats, cache_2BNSH: Floats | None, where: Where
    ) -> tuple[Floats, Floats]:
        """The residual stream after both sub-layers, and what the attention caches."""
        if self._norms_first:
            mixed_RD, fresh = self._attention(self._attention_norm(x_RD), cache_2BNSH, where)
            x_RD = x_RD + mixed_RD
            return x_RD + self._feed_forward(self._ffn_norm(x_RD)), fresh
        mixed_RD, fresh = self._attention(x_RD, cache_2BNSH, where)
        x_RD = self._attention_norm(x_RD + mixed_RD)
        return self._ffn_norm(x_RD + self._feed_forward(x_RD)), fresh


def softmax(scores: Floats) -> Floats:
    """Over the last axis, in the place of the scores."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores
