"""Oracles in NumPy float64: a GPT, the cross entropy, steps of optimizers, the learning rate.

Written from the papers and independent of gpt_tf; no TensorFlow. Weights are {name: array}, with
the names of `gpt_tf.model.variables.weight_variables`.

Shapes: B batch, T time, D embed, N heads, H head_dim, F ffn, V vocab.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gpt_tf.config import ModelConfig

Values = Mapping[str, np.ndarray]


def part(values: Values, name: str) -> dict[str, np.ndarray]:
    """The weights below `name`, named relative to it, in float64.

    >>> part({"norm/gamma": np.ones(1), "head": np.ones(1)}, "norm")
    {'gamma': array([1.])}
    """
    start = f"{name}/"
    return {
        key.removeprefix(start): np.asarray(value, np.float64)
        for key, value in values.items()
        if key.startswith(start)
    }


# --- the forward pass


def logits(config: ModelConfig, values: Values, token_ids_BT: np.ndarray) -> np.ndarray:
    """Logits [B, T, V]."""
    return head(config, values, hidden(config, values, token_ids_BT))


def hidden(config: ModelConfig, values: Values, token_ids_BT: np.ndarray) -> np.ndarray:
    """What the head reads, [B, T, D]."""
    assert config.bias or not any(name.endswith(("/bias", "/beta")) for name in values)
    x_BTD = embed(config, part(values, "embedding"), token_ids_BT)
    if config.embedding_norm:
        x_BTD = norm(config, part(values, "embedding_norm"), x_BTD)
    for index in range(config.num_layers):
        x_BTD = decoder_block(config, part(values, f"block_{index}"), x_BTD)
    if config.final_norm:
        x_BTD = norm(config, part(values, "final_norm"), x_BTD)
    return x_BTD


def head(config: ModelConfig, values: Values, hidden_BTD: np.ndarray) -> np.ndarray:
    """Logits of hidden states."""
    kernel_DV = values["embedding/tokens"].T if config.tied_head else values["head_kernel"]
    logits_BTV = hidden_BTD @ kernel_DV.astype(np.float64)
    return logits_BTV + values["head_bias"] if config.head_bias else logits_BTV


def embed(config: ModelConfig, weights: Values, token_ids_BT: np.ndarray) -> np.ndarray:
    """Token vector plus position vector, if there is one."""
    x_BTD = weights["tokens"][token_ids_BT]
    if config.positions in ("none", "rotary"):
        assert "positions" not in weights
        return x_BTD
    first = 2 if config.positions == "offset" else 0
    assert len(weights["positions"]) == config.context_length + first
    return x_BTD + weights["positions"][first : first + token_ids_BT.shape[1]]


def decoder_block(config: ModelConfig, weights: Values, x_BTD: np.ndarray) -> np.ndarray:
    """Attention and feed-forward with their residual sums and norms."""

    def attend(x_BTD: np.ndarray) -> np.ndarray:
        rope_base = config.rope_base if config.positions == "rotary" else None
        epsilon = config.norm_epsilon if config.qk_norm else None
        return attention(part(weights, "attention"), x_BTD, config.num_heads, rope_base, epsilon)

    def feed(x_BTD: np.ndarray) -> np.ndarray:
        return feed_forward(part(weights, "feed_forward"), x_BTD, config.activation)

    for sublayer, name in ((attend, "attention_norm"), (feed, "ffn_norm")):
        if config.norm_position == "pre":
            x_BTD = x_BTD + sublayer(norm(config, part(weights, name), x_BTD))
        else:
            x_BTD = norm(config, part(weights, name), x_BTD + sublayer(x_BTD))
    return x_BTD


def rotated(x_BTNH: np.ndarray, base: float) -> np.ndarray:
    """Halves of a head as complex numbers, turned by t · base^(-2i/H) (Su et al. 2021)."""
    time, width = x_BTNH.shape[1], x_BTNH.shape[3]
    points = x_BTNH[..., : width // 2] + 1j * x_BTNH[..., width // 2 :]
    angles_TH = np.outer(np.arange(time), base ** (-2.0 * np.arange(width // 2) / width))
    points = points * np.exp(1j * angles_TH)[:, None]
    return np.concatenate([points.real, points.imag], axis=-1)


def attention(
    weights: Values,
    x_BTD: np.ndarray,
    num_heads: int,
    rope_base: float | None = None,
    norm_epsilon: float | None = None,
) -> np.ndarray:
    """Causal attention, one head after the other and one position after the other."""
    query_BTNH, key_BTNH, value_BTNH = (
        item.reshape(*x_BTD.shape[:2], num_heads, -1)
        for item in np.split(
            x_BTD @ weights["qkv/kernel"] + weights.get("qkv/bias", 0.0), 3, axis=-1
        )
    )
    if norm_epsilon is not None:
        query_BTNH = rms_norm(part(weights, "query_norm"), query_BTNH, norm_epsilon)
        key_BTNH = rms_norm(part(weights, "key_norm"), key_BTNH, norm_epsilon)
    if rope_base is not None:
        query_BTNH, key_BTNH = (rotated(item, rope_base) for item in (query_BTNH, key_BTNH))
    mixed_BTNH = np.zeros_like(value_BTNH)
    for n in range(num_heads):
        for t in range(x_BTD.shape[1]):
            seen_BSH = key_BTNH[:, : t + 1, n]
            scores_BS = np.einsum("bh,bsh->bs", query_BTNH[:, t, n], seen_BSH)
            weights_BS = softmax(scores_BS / math.sqrt(seen_BSH.shape[-1]))
            mixed_BTNH[:, t, n] = np.einsum("bs,bsh->bh", weights_BS, value_BTNH[:, : t + 1, n])
    joined = mixed_BTNH.reshape(*x_BTD.shape[:2], -1)
    return joined @ weights["output/kernel"] + weights.get("output/bias", 0.0)


def feed_forward(weights: Values, x_BTD: np.ndarray, activation: str) -> np.ndarray:
    """Two dense layers with an activation between them, whose gate may be a third."""

    def dense(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}/kernel"] + weights.get(f"{name}/bias", 0.0)

    names = ["expand", "gate"] if activation == "swiglu" else ["expand"]
    hidden_BTF = activate(activation, *(dense(name, x_BTD) for name in names))
    return dense("contract", hidden_BTF)


def activate(activation: str, x: np.ndarray, *gates: np.ndarray) -> np.ndarray:
    """Gelu, exact or with tanh (Hendrycks and Gimpel 2016), relu, its square, or SwiGLU."""
    if activation == "swiglu":  # Shazeer 2020, equation 6
        (gate,) = gates
        return gate / (1.0 + np.exp(-gate)) * x
    assert not gates
    if activation == "gelu":
        return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))
    if activation == "gelu_tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    if activation == "relu2":  # So et al. 2021
        return np.where(x > 0.0, x, 0.0) ** 2
    assert activation == "relu"
    return np.where(x > 0.0, x, 0.0)


def norm(config: ModelConfig, weights: Values, x_BTD: np.ndarray) -> np.ndarray:
    """The norm that the model has."""
    if config.norm == "layer":
        return layer_norm(weights, x_BTD, config.norm_epsilon)
    assert config.norm == "rms" and weights.keys() == {"gamma"}
    return rms_norm(weights, x_BTD, config.norm_epsilon)


def layer_norm(weights: Values, x_BTD: np.ndarray, epsilon: float) -> np.ndarray:
    """Mean 0 and variance 1 over D, then gamma and beta (Ba et al. 2016)."""
    centred_BTD = x_BTD - x_BTD.mean(axis=-1, keepdims=True)
    variance_BT1 = (centred_BTD**2).mean(axis=-1, keepdims=True)
    return centred_BTD / np.sqrt(variance_BT1 + epsilon) * weights["gamma"] + weights.get(
        "beta", 0.0
    )


def rms_norm(weights: Values, x_BTD: np.ndarray, epsilon: float) -> np.ndarray:
    """Root mean square 1 over D, then gamma (Zhang and Sennrich 2019, equation 4)."""
    square_BT1 = (x_BTD**2).mean(axis=-1, keepdims=True)
    return x_BTD / np.sqrt(square_BT1 + epsilon) * weights["gamma"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


# --- training


def cross_entropy(logits_BTV: np.ndarray, targets_BT: np.ndarray) -> np.ndarray:
    """Nats of each target, [B, T]."""
    x_BTV = np.asarray(logits_BTV, np.float64)
    top_BT1 = x_BTV.max(axis=-1, keepdims=True)
    log_sum_BT = np.log(np.exp(x_BTV - top_BT1).sum(axis=-1)) + top_BT1[..., 0]
    return log_sum_BT - np.take_along_axis(x_BTV, targets_BT[..., None], axis=-1)[..., 0]


def masked_loss(logits_BTV: np.ndarray, targets_BT: np.ndarray, weights_BT: np.ndarray) -> float:
    """Weighted mean of the nats; 0 where no token counts."""
    total = float(np.sum(weights_BT, dtype=np.float64))
    nats = float(np.sum(cross_entropy(logits_BTV, targets_BT) * weights_BT))
    return nats / total if total else 0.0


def adam_step(
    parameter: np.ndarray,
    gradient: np.ndarray,
    momentum: np.ndarray,
    velocity: np.ndarray,
    *,
    step: int,
    learning_rate: float,
    beta_1: float = 0.9,
    beta_2: float = 0.98,
    epsilon: float = 1e-9,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """New (parameter, momentum, velocity) of update number `step`, counted from 1.

    The efficient order of Kingma and Ba 2015, end of section 2, as in Keras: epsilon is added to
    the root before its bias correction.
    """
    momentum = beta_1 * np.asarray(momentum, np.float64) + (1.0 - beta_1) * gradient
    velocity = beta_2 * np.asarray(velocity, np.float64) + (1.0 - beta_2) * np.square(gradient)
    rate = learning_rate * math.sqrt(1.0 - beta_2**step) / (1.0 - beta_1**step)
    return parameter - rate * momentum / (np.sqrt(velocity) + epsilon), momentum, velocity


def adamw_step(
    parameter: np.ndarray,
    gradient: np.ndarray,
    momentum: np.ndarray,
    velocity: np.ndarray,
    *,
    learning_rate: float,
    weight_decay: float,
    **settings: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A step of Adam from a parameter that decayed first (Loshchilov and Hutter 2019)."""
    decayed = parameter * (1.0 - learning_rate * weight_decay)
    return adam_step(decayed, gradient, momentum, velocity, learning_rate=learning_rate, **settings)


def muon_step(
    parameter: np.ndarray,
    gradient: np.ndarray,
    momentum: np.ndarray,
    *,
    learning_rate: float,
    weight_decay: float,
    beta: float,
) -> tuple[np.ndarray, np.ndarray]:
    """New (parameter, momentum) of a kernel [inputs, outputs] (Jordan et al. 2024).

    The paper's matrices are [outputs, inputs]: rows are outputs.
    """
    momentum = beta * np.asarray(momentum, np.float64) + gradient
    matrix = (gradient + beta * momentum).T
    update = orthogonal(matrix) * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
    return parameter * (1.0 - learning_rate * weight_decay) - learning_rate * update.T, momentum


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    """Every singular value through the quintic five times, by decomposition."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt(np.sum(values**2))
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


def warmup_linear(
    step: int,
    peak: float,
    warmup_steps: int,
    max_steps: int,
    minimum: float = 0.0,
    share: float = 1.0,
) -> float:
    """The rate of the update number `step`, which falls along a line over the last `share`.

    Only where that is whole steps.

    >>> [warmup_linear(step, 1.0, 2, 6, share=0.5) for step in (0, 1, 2, 4, 5, 6)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    corners = [warmup_steps, max_steps - share * (max_steps - warmup_steps), max_steps]
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return float(np.interp(step, corners, [peak, peak, minimum]))


def warmup_cosine(
    step: int, peak: float, warmup_steps: int, max_steps: int, minimum: float = 0.0
) -> float:
    """The rate of the update number `step`, counted from 0.

    >>> [warmup_cosine(step, 1.0, 2, 4) for step in (0, 1, 2, 3, 4)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if step >= max_steps:
        return minimum
    angle = math.pi * (step - warmup_steps) / (max_steps - warmup_steps)
    return minimum + (peak - minimum) * (1.0 + math.cos(angle)) / 2.0
