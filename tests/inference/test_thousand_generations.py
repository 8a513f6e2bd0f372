"""A process that generates all day: one trace, and no more memory than at the start."""

import numpy as np
import psutil
import pytest
from tiny_models import small_gpt

from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate

CONTEXT = 128
SAMPLERS = [
    {"sampler": "greedy"},
    {"sampler": "random", "top_p": 0.9, "num_samples": 3},
    {"sampler": "beam", "num_beams": 3},
    {"sampler": "contrastive"},
]


@pytest.mark.long
def test_a_thousand_generations_of_mixed_length_trace_once_and_keep_their_memory() -> None:
    decoder = Decoder(small_gpt(vocab_size=2000, context_length=CONTEXT))
    random = np.random.default_rng(1)

    def generate_some(count: int) -> float:
        for number in range(count):
            lengths = random.integers(1, CONTEXT, random.integers(1, 4))
            prompts = [random.integers(0, 2000, length).tolist() for length in lengths]
            tokens = int(random.integers(1, 12))
            generate(decoder, prompts, max_new_tokens=tokens, **SAMPLERS[number % len(SAMPLERS)])
        return psutil.Process().memory_info().rss / 1e6

    # oneDNN keeps a primitive for each shape it meets, up to 1,024: the first thousand fill that
    before, after = generate_some(1000), generate_some(1000)
    print(f"{decoder.traces} traces, {before:.1f} MB before, {after:.1f} MB after")
    assert decoder.traces == 2  # one of each function
    assert after < 1.02 * before
