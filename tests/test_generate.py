"""Ids in, ids out: where a text ends, what it never holds, and that it can be had again."""

import numpy as np
import pytest
from scripted_model import ScriptedDecoder, ScriptedSession, probability_table, random_table
from tiny_models import small_gpt

from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference.beam_search import beam_search
from gpt_tf.inference.generate import generate, stream
from gpt_tf.inference.kv_cache import Decoder
from gpt_tf.inference.samplers import Greedy, RandomSampler

CONTEXT = 8
SAMPLERS = [
    {"sampler": "greedy"},
    {"sampler": "beam", "num_beams": 3},
    {"sampler": "random", "seed": 5},
    {"sampler": "random", "seed": 5, "temperature": 0.7, "top_k": 9, "top_p": 0.9},
]
COUNTING = {(1,): [0, 0, 1, 0], (1, 2): [0, 0, 0, 1], (1, 2, 3): [1, 0, 0, 0]}  # 1 2 3, then end


@pytest.fixture(scope="module")
def model():
    return small_gpt(context_length=CONTEXT)


@pytest.fixture(scope="module")
def decoder(model):
    return Decoder(model)


@pytest.fixture
def counting():
    with np.errstate(divide="ignore"):
        yield ScriptedDecoder(probability_table(COUNTING))


@pytest.mark.parametrize("sampler", ["greedy", "beam", "random"])
def test_the_end_token_stops_and_is_left_out(counting, sampler):
    assert generate(counting, [1], sampler=sampler, end_id=0, max_new_tokens=50) == [2, 3]


@pytest.mark.parametrize("sampler", ["greedy", "beam", "random"])
@pytest.mark.parametrize("max_new_tokens", [0, 1, 2])
def test_a_text_has_at_most_max_new_tokens(counting, sampler, max_new_tokens):
    options = {"sampler": sampler, "end_id": 0, "max_new_tokens": max_new_tokens}
    assert generate(counting, [1], **options) == [2, 3][:max_new_tokens]


@pytest.mark.parametrize("options", SAMPLERS, ids=str)
def test_banned_ids_never_appear(options):
    banned = frozenset({1, 2, 7})
    for seed in range(20):
        decoder = ScriptedDecoder(random_table(seed, vocab_size=9))
        ids = generate(decoder, [1], banned_ids=banned, max_new_tokens=20, **options)
        assert len(ids) == 20 and not banned & set(ids)


def test_a_stream_gives_each_id_as_soon_as_it_is_chosen():
    decoder = ScriptedDecoder(random_table(2))
    ids = stream(decoder, [1], Greedy(), max_new_tokens=3)
    assert decoder.session is None  # nothing is computed before the first id is asked for
    taken = []
    for expected_steps, token_id in enumerate(ids):
        taken.append(token_id)
        assert decoder.session.steps == expected_steps
    assert decoder.session.steps == 2  # nobody reads the logits after the last id
    assert taken == generate(ScriptedDecoder(random_table(2)), [1], max_new_tokens=3)


def test_beam_gives_the_best_beam():
    for seed in range(10):
        table = random_table(seed, vocab_size=5)
        options = {"num_beams": 4, "length_penalty": 0.6, "max_new_tokens": 6, "end_id": 0}
        best = beam_search(ScriptedSession(table, [(1,)]), **options)[0].token_ids
        text = generate(ScriptedDecoder(table), [1], sampler="beam", **options)
        assert text == [token_id for token_id in best if token_id != 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "best"}, "unknown sampler in --sampler: best"),
        ({"sampler": "greedy", "temperature": 0.5}, "unused option with --sampler greedy"),
        ({"sampler": "beam", "top_k": 5}, "unused option with --sampler beam"),
        ({"sampler": "random", "top_k": 0}, "out of range in top_k: 0"),
        ({"sampler": "random", "top_p": 0.0}, "out of range in top_p"),
        ({"sampler": "random", "temperature": 0.0}, "out of range in temperature"),
        ({"sampler": "beam", "num_beams": 0}, "out of range in num_beams"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        generate(ScriptedDecoder(random_table(0)), [1], **options)


# A real GPT


@pytest.mark.parametrize("prompt", [[3], [3, 1, 4, 1, 5], list(range(CONTEXT)), [2] * 20])
def test_greedy_is_the_argmax_of_full_passes_past_the_context_too(model, decoder, prompt):
    expected = list(prompt)
    for _ in range(2 * CONTEXT):
        logits = model(np.array([expected[-CONTEXT:]]))[0, -1].numpy()
        best, second = np.sort(logits)[[-1, -2]]
        assert best - second > 1e-4, "choose a prompt whose answer is no matter of rounding"
        expected.append(int(logits.argmax()))
    assert generate(decoder, prompt, max_new_tokens=2 * CONTEXT) == expected[len(prompt) :]


@pytest.mark.parametrize("options", SAMPLERS, ids=str)
def test_the_same_seed_gives_the_same_text(decoder, options):
    first, second = (generate(decoder, [3, 4], max_new_tokens=20, **options) for _ in range(2))
    assert first == second
    if options["sampler"] == "random":
        other = generate(decoder, [3, 4], max_new_tokens=20, **{**options, "seed": 6})
        assert other != first


def test_a_text_does_not_depend_on_what_else_is_in_the_batch(decoder):
    alone = generate(decoder, [3, 4], sampler="random", seed=5, max_new_tokens=12)
    session, sampler = decoder.start([[3, 4], [9], [1] * 11]), RandomSampler(5)
    rows = []
    for position in range(12):
        rows.append(sampler.choose(session.logits, position))
        session.step(rows[-1])
    assert [int(ids[0]) for ids in rows] == alone


def test_one_trace_whatever_the_lengths_and_beams(model):
    decoder = Decoder(model)
    for number in range(50):
        options = SAMPLERS[number % len(SAMPLERS)]
        if options["sampler"] == "beam":
            options = {**options, "num_beams": 1 + number % 6}
        prompt = [number % 29] * (1 + number % 13)
        generate(decoder, prompt, max_new_tokens=1 + number % 9, end_id=0, **options)
    assert decoder.traces == 1


@pytest.mark.parametrize("options", SAMPLERS, ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_weights_give_an_error_and_never_an_id(options, value):
    model = small_gpt()
    gamma = model.final_norm.gamma
    gamma.assign(np.full(gamma.shape, value))
    with pytest.raises(RunError, match="model gives non-finite logits") as error:
        generate(Decoder(model), [1, 2], **options)
    assert error.value.exit_code == 1


@pytest.mark.parametrize("prompt", [[-1], [29], [3, 2**31 - 1]])
def test_a_prompt_outside_the_vocabulary_is_refused(decoder, prompt):
    with pytest.raises(UsageError, match=f"row 0: {prompt[-1]}. Ids are 0 to 28"):
        generate(decoder, prompt)
    with pytest.raises(UsageError, match="empty prompt in row 0"):
        generate(decoder, [])
