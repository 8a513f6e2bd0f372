"""Contrastive search against KerasHub's, given the same probabilities and hidden states."""

import numpy as np
import pytest
from data import parity_package
from tiny_models import small_gpt

from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate

pytestmark = pytest.mark.parity

CONTEXT, NEW = 20, 10


def kerashub_ids(model, prompt: list[int], k: int, alpha: float) -> list[int]:
    """What their sampler takes, each step a full pass without a cache."""
    sampler = parity_package("keras_hub").samplers.ContrastiveSampler(k=k, alpha=alpha)

    def following(prompt_BT, cache, index):
        """Logits after the token before `index`, and its hidden state; later ones do not count."""
        hidden_BTD = model.hidden(prompt_BT)
        last_BD = hidden_BTD[:, index - 1]
        return model.head(last_BD), last_BD, cache

    padded_BT = np.array([[*prompt, *[0] * NEW]], np.int32)
    mask_BT = np.array([[True] * len(prompt) + [False] * NEW])
    ids_BT = sampler(
        following, padded_BT, index=len(prompt), mask=mask_BT, hidden_states=model.hidden(padded_BT)
    )
    return np.asarray(ids_BT)[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    ("preset", "k", "alpha"),
    [("demo", 2, 0.3), ("demo", 4, 0.6), ("imdb", 5, 0.9), ("imdb", 29, 0.5)],
)
def test_ids_equal_kerashubs(preset: str, k: int, alpha: float) -> None:
    model = small_gpt(preset, context_length=CONTEXT)
    prompts = [[3], [5, 1, 4, 1, 5], list(range(10)), [28, 0]]
    found = generate(
        Decoder(model), prompts, "contrastive", top_k=k, alpha=alpha, max_new_tokens=NEW
    )
    # none of these texts hangs on the last bits of float32
    assert [one.token_ids for (one,) in found] == [
        kerashub_ids(model, prompt, k, alpha) for prompt in prompts
    ]
