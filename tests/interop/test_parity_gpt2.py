"""The GPT-2-shaped model against transformers' own, in PyTorch, with the same weights."""

import numpy as np
import pytest
from data import parity_package

from gpt_tf.config import ModelConfig
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.training.losses import masked_loss

pytestmark = pytest.mark.parity

CONFIG = ModelConfig(
    vocab_size=97,
    context_length=24,
    num_layers=3,
    num_heads=4,
    embed_dim=32,
    ffn_dim=80,
    activation="gelu_tanh",
)

# Ours to theirs, inside one block; both keep dense kernels as [in, out].
BLOCK_NAMES = {
    "attention_norm/gamma": "ln_1.weight",
    "attention_norm/beta": "ln_1.bias",
    "attention/qkv/kernel": "attn.c_attn.weight",
    "attention/qkv/bias": "attn.c_attn.bias",
    "attention/output/kernel": "attn.c_proj.weight",
    "attention/output/bias": "attn.c_proj.bias",
    "ffn_norm/gamma": "ln_2.weight",
    "ffn_norm/beta": "ln_2.bias",
    "feed_forward/expand/kernel": "mlp.c_fc.weight",
    "feed_forward/expand/bias": "mlp.c_fc.bias",
    "feed_forward/contract/kernel": "mlp.c_proj.weight",
    "feed_forward/contract/bias": "mlp.c_proj.bias",
}


@pytest.fixture(scope="module")
def models():
    """Our model with random weights and biases, and theirs with the same."""
    torch, transformers = parity_package("torch"), parity_package("transformers")
    ours = GPT(CONFIG, seed=3)
    random = np.random.default_rng(0)
    for variable in weight_variables(ours).values():
        variable.assign(variable + random.normal(0, 0.1, variable.shape))
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=97,
            n_positions=24,
            n_embd=32,
            n_layer=3,
            n_head=4,
            n_inner=80,
            activation_function="gelu_new",
        )
    ).eval()
    values = read_values(weight_variables(ours))
    names = {"embedding/tokens": "wte.weight", "embedding/positions": "wpe.weight",
             "final_norm/gamma": "ln_f.weight", "final_norm/beta": "ln_f.bias"}  # fmt: skip
    for block in range(CONFIG.num_layers):
        names |= {f"block_{block}/{own}": f"h.{block}.{hf}" for own, hf in BLOCK_NAMES.items()}
    assert set(names) == set(values)
    state = {f"transformer.{names[name]}": torch.tensor(value) for name, value in values.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    missing = theirs.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert not [key for key in missing.missing_keys if not key.endswith(".attn.bias")]
    return ours, theirs


def test_logits_equal_transformers(models) -> None:
    ours, theirs = models
    torch = parity_package("torch")
    ids = np.random.default_rng(1).integers(0, 97, (3, 24)).astype(np.int32)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids, dtype=torch.long)).logits.numpy()
    np.testing.assert_allclose(ours(ids).numpy(), expected, atol=1e-4)


def test_loss_and_gradient_equal_pytorch(models) -> None:
    import tensorflow as tf

    ours, theirs = models
    torch = parity_package("torch")
    ids = np.random.default_rng(2).integers(0, 97, (3, 25)).astype(np.int32)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    table = ours.embedding.tokens_VD.value
    with tf.GradientTape() as tape:
        loss = masked_loss(ours(inputs), targets, tf.ones(targets.shape))
    gradient = tf.convert_to_tensor(tape.gradient(loss, table))
    logits = theirs(torch.tensor(inputs, dtype=torch.long)).logits
    expected = torch.nn.functional.cross_entropy(
        logits.reshape(-1, 97), torch.tensor(targets, dtype=torch.long).reshape(-1)
    )
    theirs.zero_grad()
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), abs=1e-5)
    np.testing.assert_allclose(gradient, theirs.transformer.wte.weight.grad.numpy(), atol=1e-4)
