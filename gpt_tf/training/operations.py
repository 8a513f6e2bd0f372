"""How many operations a token costs the model, whatever the machine really computes."""

from __future__ import annotations

from gpt_tf.config import Config
from gpt_tf.training.precision import product_weights


def operations_per_token(config: Config) -> float:
    """Floating point operations of a trained token, forward and backward: 6·N + 12·L·H·T.

    N are the weights of the blocks' products and of the head: a token is multiplied by each of them
    once forward and twice backward, and each time is a product and a sum. A token embedding is
    looked up, not multiplied, so it counts only where it is also the head. 12·L·H·T are scores and
    sums of the attention, with L layers, H the width of all heads together, T the context. This is
    the formula of PaLM (Chowdhery et al. 2022, appendix B); norms, biases and activations are left
    out.

    Returns:
      0 if the formula does not hold: for a table of bigrams, and if some weights stay as they are.
    """
    model = config.model
    if model.architecture != "gpt" or model.lora.rank or config.training.freeze:
        return 0.0
    attention = model.num_layers * model.num_heads * model.head_width * model.context_length
    return 6.0 * product_weights(model) + 12.0 * attention
