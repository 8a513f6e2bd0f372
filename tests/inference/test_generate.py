"""Ids in, ids out: a text is the same alone and in a batch, and each of its tokens is told."""

import numpy as np
import pytest
from scripted_model import ScriptedEngine, log_probabilities, probability_table, random_table
from tiny_models import small_gpt

from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference.beam_search import Beam, DiverseBeam
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Decoded
from gpt_tf.inference.generate import Chosen, Continuation, generate, stream
from gpt_tf.inference.samplers import Contrastive, Greedy, Random

CONTEXT = 8
END = 0
EVERY_SAMPLER = {
    "greedy": {},
    "greedy filtered": {"repetition_penalty": 1.3, "no_repeat_ngram": 2, "logit_bias": {3: 1.5}},
    "random": {"seed": 5, "num_samples": 2},
    "random filtered": {"seed": 5, "temperature": 1.2, "top_k": 12, "top_p": 0.9, "min_p": 0.02,
                        "typical": 0.95, "repetition_penalty": 1.2},
    "beam": {"num_beams": 3, "num_samples": 3, "no_repeat_ngram": 3},
    "diverse-beam": {"num_beams": 4, "num_beam_groups": 2, "num_samples": 4},
    "contrastive": {"top_k": 4, "alpha": 0.6},
}  # fmt: skip
PROMPTS = [
    [3],
    [5, 1, 4],
    [2] * 11,
    list(range(8)),
    [28, 9],
    [7, 7, 1, 2, 6],
    [1],
    [9, 4, 4, 8, 20, 11, 2],
]
STREAMED = ["greedy", "random", "contrastive"]
COUNTING = {(1,): [0, 0, 1, 0], (1, 2): [0, 0, 0, 1], (1, 2, 3): [1, 0, 0, 0]}  # 1 2 3, then end


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    """With a head of its own: a tied one makes random weights repeat themselves."""
    model = small_gpt("imdb", seed=1, tied_head=False, head_bias=False, context_length=CONTEXT)
    return Decoder(model)


def named(name: str) -> dict:
    """The sampler of a name in EVERY_SAMPLER with its options."""
    return {"sampler": name.split()[0], **EVERY_SAMPLER[name]}


def told(engine, prompts, sampler="greedy", **options) -> dict[tuple[int, int], list[Chosen]]:
    """What a stream gives for each row and sample."""
    texts: dict[tuple[int, int], list[Chosen]] = {}
    for chosen in stream(engine, prompts, sampler, **options):
        texts.setdefault((chosen.row, chosen.sample), []).append(chosen)
    return texts


# Batches


class NoisyEngine:
    """An engine off by as much as rounding could be, and more."""

    def __init__(self, engine: Decoder, seed: int) -> None:
        self._engine = engine
        self._random = np.random.default_rng(seed)
        self.context_length, self.vocab_size = engine.context_length, engine.vocab_size
        self.new_cache = engine.new_cache

    def run(self, *arguments) -> Decoded:
        logits, hidden, fresh = self._engine.run(*arguments)
        logits, hidden = (x + self._random.uniform(-5e-5, 5e-5, x.shape) for x in (logits, hidden))
        return Decoded(logits.astype(np.float32), hidden.astype(np.float32), fresh)


def first_difference(one: list[Continuation], other: list[Continuation]) -> int | None:
    """The place of the first id in which two lists of texts differ."""
    places = [
        next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), min(map(len, ids)))
        for left, right in zip(one, other, strict=True)
        if (ids := (left.token_ids, right.token_ids)) and left.token_ids != right.token_ids
    ]
    return min(places, default=None)


def hangs_on_rounding(engine: Decoder, prompt: list[int], place: int, **options) -> bool:
    """Whether changes of up to 1e-4 between two logits decide the ids at `place`."""
    (quiet,) = generate(engine, [prompt], **options)
    noisy = [generate(NoisyEngine(engine, seed), [prompt], **options)[0] for seed in range(20)]
    return any(first_difference(quiet, texts) == place for texts in noisy)


@pytest.mark.parametrize("past_context", ["slide", "half"])
@pytest.mark.parametrize("name", EVERY_SAMPLER)
def test_a_batch_equals_single_calls_past_the_context_too(decoder, name, past_context):
    options = {
        **named(name),
        "max_new_tokens": 12,
        "past_context": past_context,
        "truncate": "left",
        "end_id": END,
        "log_probabilities": True,
    }

    def stops(row: int, ids) -> bool:  # rows leave at different times
        return len(ids) == 12 - 2 * (row % 5)

    together = generate(decoder, PROMPTS, stops=stops, **options)
    undecided = 0
    for number, (prompt, row) in enumerate(zip(PROMPTS, together, strict=True)):
        alone_options = {**options, "stops": lambda _, ids, row=number: stops(row, ids)}
        (alone,) = generate(decoder, [prompt], **alone_options)
        place = first_difference(row, alone)
        if place is not None:
            assert hangs_on_rounding(decoder, prompt, place, **alone_options), (row, alone)
            undecided += 1
            continue
        for one, other in zip(row, alone, strict=True):
            assert one.finish == other.finish
            np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-4)
    print(f"{undecided} of {len(PROMPTS)} undecided")
    assert undecided <= 1
    texts = {tuple(one.token_ids) for row in together for one in row}
    assert len(texts) == len(PROMPTS) * options.get("num_samples", 1)


@pytest.mark.parametrize("prompt", [[3], [3, 1, 4, 1, 5], list(range(CONTEXT)), [2] * 20])
def test_greedy_is_the_argmax_of_full_passes_past_the_context_too(decoder, prompt):
    expected = list(prompt)
    for _ in range(2 * CONTEXT):
        logits = decoder.model(np.array([expected[-CONTEXT:]]))[0, -1].numpy()
        best, second = np.sort(logits)[[-1, -2]]
        assert best - second > 1e-4, "choose a prompt whose answer is no matter of rounding"
        expected.append(int(logits.argmax()))
    ((one,),) = generate(decoder, [prompt], max_new_tokens=2 * CONTEXT, truncate="left")
    assert one.token_ids == expected[len(prompt) :]


def test_half_forgets_otherwise_than_slide(decoder):
    options = {"max_new_tokens": 2 * CONTEXT}
    texts = [
        generate(decoder, PROMPTS, past_context=p, truncate="left", **options)
        for p in ("slide", "half")
    ]
    assert texts[0] != texts[1]


def test_one_trace_of_each_function_whatever_the_sampler(decoder):
    for name in EVERY_SAMPLER:
        for count in (1, 3, 10):
            generate(
                decoder, (PROMPTS * 10)[:count], max_new_tokens=3, truncate="left", **named(name)
            )
    assert decoder.traces == 2


# Where a text ends


@pytest.mark.parametrize("sampler", ["greedy", "random", "contrastive", "beam", "diverse-beam"])
def test_a_text_ends_with_its_end_token_its_stop_or_its_length(sampler):
    engine = ScriptedEngine(probability_table(COUNTING))
    stops = {1: [2], 2: [2, 3]}
    options = {"end_id": END, "stops": lambda row, ids: list(ids) == stops.get(row)}
    rows = [[1], [1], [1], [1, 2]]
    for limit, expected in {
        9: [([2, 3], "end"), ([2], "stop"), ([2, 3], "stop"), ([3], "end")],
        3: [([2, 3], "end"), ([2], "stop"), ([2, 3], "stop"), ([3], "end")],
        2: [([2, 3], "length"), ([2], "stop"), ([2, 3], "stop"), ([3], "end")],
        1: [([2], "length"), ([2], "stop"), ([2], "length"), ([3], "length")],
    }.items():
        found = generate(engine, rows, sampler, max_new_tokens=limit, **options)
        assert [(row[0].token_ids, row[0].finish) for row in found] == expected
        if sampler in STREAMED:
            texts = told(engine, rows, sampler, max_new_tokens=limit, **options)
            for row, (ids, finish) in enumerate(expected):
                ids = [*ids, END] if finish == "end" else ids
                assert [chosen.token_id for chosen in texts[row, 0]] == ids
                assert [c.finish for c in texts[row, 0]] == [None] * (len(ids) - 1) + [finish]


@pytest.mark.parametrize("sampler", ["greedy", "beam"])
def test_the_end_tokens_log_probability_is_kept_last(sampler):
    table = probability_table({(1,): [0.2, 0.1, 0.7], (1, 2): [0.9, 0.05, 0.05]})
    options = {"end_id": END, "max_new_tokens": 9}
    ((one,),) = generate(ScriptedEngine(table), [[1]], sampler, log_probabilities=True, **options)
    assert one.token_ids == [2]
    assert np.exp(one.log_probabilities) == pytest.approx([0.7, 0.9])


def test_log_probabilities_are_for_those_who_ask():
    ((one,),) = generate(ScriptedEngine(random_table(0)), [[1]], max_new_tokens=3)
    assert one.log_probabilities is None and one.score is None


# The stream


@pytest.mark.parametrize("sampler", STREAMED)
def test_a_stream_goes_round_the_texts_that_are_not_done(sampler):
    samples = 3 if sampler == "random" else 1
    options = {
        "num_samples": samples,
        "end_id": END,
        "max_new_tokens": 9,
        "stops": lambda row, ids: row == 1 and ids[-1] == 4,
    }
    finishes = set()
    for seed in range(6):
        engine = ScriptedEngine(random_table(seed, 5))
        events = stream(engine, [[1], [2, 3], [4, 4, 1], [3]], sampler, **options)
        waiting = [(row, sample) for row in range(4) for sample in range(samples)]
        while waiting:
            chosen = [next(events) for _ in waiting]
            assert [(one.row, one.sample) for one in chosen] == waiting
            waiting = [(one.row, one.sample) for one in chosen if one.finish is None]
            finishes |= {one.finish for one in chosen} - {None}
        assert next(events, None) is None
    assert finishes == {"end", "stop", "length"}


def test_nothing_is_computed_before_it_is_asked_for():
    engine = ScriptedEngine(random_table(2))
    events = stream(engine, [[1]], max_new_tokens=3)
    assert engine.runs == 0
    for number, _ in enumerate(events, start=1):
        assert engine.runs == number  # nobody reads the logits after the last id
    assert number == 3


@pytest.mark.parametrize("name", ["greedy filtered", "random filtered", "contrastive"])
def test_log_probabilities_and_alternatives_are_the_models_own(name):
    """Of the logits before filters, whatever these forbid."""
    table, banned = random_table(7, 9), frozenset({1, 6})
    options = {**named(name), "banned_ids": banned, "max_new_tokens": 10}
    prompts = [[1], [2, 5, 5]]
    for count in (0, 3, 99):
        texts = told(ScriptedEngine(table), prompts, alternatives=count, **options)
        for (row, _), chosen in texts.items():
            history = list(prompts[row])
            for one in chosen:
                values = log_probabilities(table(tuple(history)))
                assert one.log_probability == pytest.approx(values[one.token_id], abs=1e-6)
                best = np.argsort(-values)[:count]
                assert [token_id for token_id, _ in one.alternatives] == best.tolist()
                expected = pytest.approx(values[best].tolist(), abs=1e-6)
                assert [value for _, value in one.alternatives] == expected
                history.append(one.token_id)
    for chosen in stream(ScriptedEngine(table), prompts, **options):
        assert chosen.log_probability is None and chosen.alternatives == []


@pytest.mark.parametrize("sampler", STREAMED)
def test_generate_collects_the_stream(sampler):
    options = {"end_id": END, "max_new_tokens": 9}
    prompts = [[1], [2, 3], [4]]
    if sampler == "random":
        options["num_samples"] = 3
    for seed in range(5):
        engine = ScriptedEngine(random_table(seed, 5))
        texts = told(engine, prompts, sampler, alternatives=0, **options)
        found = generate(engine, prompts, sampler, log_probabilities=True, **options)
        assert len(texts) == sum(map(len, found))
        for (row, sample), chosen in texts.items():
            one = found[row][sample]
            ids = [token.token_id for token in chosen]
            assert one.token_ids == (ids[:-1] if chosen[-1].finish == "end" else ids)
            assert one.finish == chosen[-1].finish
            assert one.log_probabilities == [token.log_probability for token in chosen]


# What never appears, and what one brings oneself


@pytest.mark.parametrize("name", EVERY_SAMPLER)
def test_banned_ids_never_appear(name):
    banned = frozenset({1, 2, 7})
    options = {**named(name), "banned_ids": banned, "max_new_tokens": 20}
    if "logit_bias" in options:
        options["logit_bias"] = {1: 99.0}
    for seed in range(5):
        (found,) = generate(ScriptedEngine(random_table(seed, 9)), [[1]], **options)
        for one in found:
            assert len(one.token_ids) == 20 and not banned & set(one.token_ids)


class Last(Greedy):
    """The highest id that the filters leave."""

    draws = True

    def choose(self, session, logits_BWV, position):
        assert session.logits_BWV.shape == logits_BWV.shape
        self.positions = [*getattr(self, "positions", []), position]
        ids = np.arange(logits_BWV.shape[-1])
        return np.where(logits_BWV > -np.inf, ids, -1).max(axis=-1)


def test_a_sampler_of_ones_own():
    engine, sampler = ScriptedEngine(random_table(1, 6)), Last()
    options = {"max_new_tokens": 3, "banned_ids": frozenset({5}), "num_samples": 2}
    found = generate(engine, [[1], [2, 3]], sampler, no_repeat_ngram=1, **options)
    assert [[one.token_ids for one in row] for row in found] == [[[4, 3, 2]] * 2, [[4, 1, 0]] * 2]
    assert sampler.positions == [0, 1, 2]
    best = generate(engine, [[1]], Last(), top_k=1)  # filters for drawing are for one's own too
    assert best == generate(engine, [[1]], "greedy")


def test_a_plain_function_is_a_sampler():
    engine, prompts = ScriptedEngine(random_table(1, 6)), [[1], [2, 3]]

    def last(logits_BWV, position):
        ids = np.arange(logits_BWV.shape[-1])
        return np.where(logits_BWV > -np.inf, ids, -1).max(axis=-1)

    options = {"max_new_tokens": 4, "banned_ids": frozenset({5}), "num_samples": 2, "top_k": 3}
    assert generate(engine, prompts, last, **options) == generate(
        engine, prompts, Last(), **options
    )
    greedy = generate(engine, prompts, "greedy", max_new_tokens=4)
    assert greedy == generate(
        engine, prompts, lambda logits, position: logits.argmax(-1), max_new_tokens=4
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda logits, position: 1,
        lambda logits, position: logits.argmax(-1)[0],
        lambda logits, position: logits.max(-1),
        lambda logits, position: None,
    ],
)
def test_a_function_that_gives_no_ids_is_refused(function):
    with pytest.raises(UsageError, match=r"wrong ids from .* Give integers of shape \[2, 1\]"):
        generate(ScriptedEngine(random_table(0)), [[1], [2]], function)


@pytest.mark.parametrize("token_id", [3, -1])
def test_an_id_outside_the_vocabulary_is_refused_at_the_last_token_too(token_id):
    with pytest.raises(UsageError, match=rf"outside the vocabulary .*: {token_id}\. Give ids of 0"):
        generate(
            ScriptedEngine(random_table(0)),
            [[1]],
            lambda logits, position: np.full(logits.shape[:2], token_id),
            max_new_tokens=1,
        )


@pytest.mark.parametrize("alternatives", [2.5, "2", -1])
def test_alternatives_are_a_count(alternatives):
    with pytest.raises(UsageError, match="out of range in alternatives"):
        list(stream(ScriptedEngine(random_table(0)), [[1]], alternatives=alternatives))


@pytest.mark.parametrize("prompt", [[1.7], [True], ["1"]])
def test_a_prompt_is_whole_numbers(prompt):
    with pytest.raises(UsageError, match="no integer in row 1 of the prompts: "):
        generate(ScriptedEngine(random_table(0)), [[1], prompt])


def test_what_is_banned_may_come_from_a_generator():
    engine = ScriptedEngine(random_table(1, 6))
    for name, value in (("banned_ids", [1, 2, 3]), ("banned_sequences", [[1], [2], [3]])):
        expected = generate(engine, [[1]], max_new_tokens=6, **{name: value})
        assert not {1, 2, 3} & {*expected[0][0].token_ids}
        once = (entry if name == "banned_ids" else iter(entry) for entry in value)
        assert generate(engine, [[1]], max_new_tokens=6, **{name: once}) == expected


def test_options_of_drawing_choose_the_sampler_random():
    engine = ScriptedEngine(random_table(1, 6))
    options = {"temperature": 1.5, "top_k": 4, "max_new_tokens": 9}
    drawn = generate(engine, [[1]], "random", **options)
    assert generate(engine, [[1]], **options) == drawn
    assert generate(engine, [[1]], temperature=None, max_new_tokens=9) == generate(
        engine, [[1]], "greedy", max_new_tokens=9
    )
    chosen = [one.token_id for one in stream(engine, [[1]], **options)]
    assert chosen == drawn[0][0].token_ids


@pytest.mark.parametrize(
    ("sampler", "name", "options"),
    [
        (Greedy(), "greedy", {}),
        (Random(5), "random", {"seed": 5}),
        (Contrastive(4, 0.3), "contrastive", {"top_k": 4, "alpha": 0.3}),
        (Beam(num_beams=3, length_penalty=0.0), "beam", {"num_beams": 3, "length_penalty": 0.0}),
        (DiverseBeam(), "diverse-beam", {}),
    ],
)
def test_an_object_is_as_good_as_its_name(sampler, name, options):
    engine, prompts = ScriptedEngine(random_table(1, 6)), [[1], [2, 3]]
    by_name = generate(engine, prompts, name, max_new_tokens=9, end_id=END, **options)
    assert generate(engine, prompts, sampler, max_new_tokens=9, end_id=END) == by_name


def test_a_search_of_ones_own_is_known_by_its_method():
    class Mine:
        draws, num_beams = False, 2

        def search(self, session, **options):
            return Beam(num_beams=2).search(session, **options)

    engine, options = ScriptedEngine(random_table(1, 6)), {"max_new_tokens": 9, "end_id": END}
    found = generate(engine, [[1], [2, 3]], Mine(), num_samples=2, **options)
    assert found == generate(engine, [[1], [2, 3]], Beam(num_beams=2), num_samples=2, **options)
    with pytest.raises(UsageError, match=r"num_samples: 3\. The search has 2"):
        generate(engine, [[1]], Mine(), num_samples=3)
    with pytest.raises(UsageError, match="knows its text at the end only"):
        next(stream(engine, [[1]], Mine()))


# What is refused


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (
            "greedy",
            {"num_samples": 2},
            "num_samples: 2. The sampler greedy has one text per prompt. Leave it out, or",
        ),
        (
            "contrastive",
            {"num_samples": 3},
            "num_samples: 3. The sampler contrastive has one text",
        ),
        ("beam", {"num_samples": 5}, "num_samples: 5. The search has 4 beams. Give at"),
        (
            "beam",
            {"num_samples": 3, "num_beams": 2},
            "beams. Give at most as many, or 3 in num_beams",
        ),
        ("diverse-beam", {"num_samples": 5}, "num_samples: 5. The search has 4 beams"),
        *(("beam", {"num_beams": value}, "n num_beams: ") for value in ("3", 2.5)),
        *(
            ("greedy", {"max_new_tokens": value}, "out of range in max_new_tokens: ")
            for value in ("3", 2.5, None)
        ),
        (
            "random",
            {"temperature": "hot"},
            "out of range in temperature: 'hot'. Give a finite number above 0",
        ),
        ("random", {"seed": 1.5}, "out of range in seed: 1.5. Give a whole number from 0 to"),
        ("greedy", {"logit_bias": [1]}, r"not understood in logit_bias: \[1\]. Give a mapping, as"),
        *(
            ("greedy", {"logit_bias": {key: 1.0}}, "out of range in logit_bias: .*Give ids below 3")
            for key in (1.5, True, "1", 3, -1)
        ),
        *(
            ("greedy", {"logit_bias": {1: value}}, "out of range in logit_bias: .*a finite number")
            for value in (None, "2", True, float("inf"))
        ),
        *(
            ("greedy", {"banned_ids": value}, "out of range in banned_ids: .*Give ids below 3")
            for value in ([1.5], [True], {3})
        ),
        *(
            ("greedy", {"end_id": value}, "out of range in end_id: .*Give ids below 3")
            for value in ("x", 9999, 1.0)
        ),
        *(
            ("greedy", {"banned_sequences": value}, "in banned_sequences: .*Give a list of lists")
            for value in ([1], 1, ["1"])
        ),
        ("greedy", {"banned_sequences": [[1, 1.5]]}, "out of range in banned_sequences: 1.5"),
        ("greedy", {"banned_ids": [0, 1, 2]}, "no token left in banned_ids: all 3 are forbidden"),
        (
            "random",
            {"banned_ids": [0], "banned_sequences": [[0, 1], [1], [2]]},
            "no token left in banned_sequences: all 3 are forbidden. Allow one.",
        ),
        (
            "beam",
            {"banned_sequences": [[1]], "logit_bias": {0: -np.inf, 2: -np.inf}},
            "no token left in banned_sequences, logit_bias: all 3 are forbidden",
        ),
        (1.5, {}, "unknown sampler: 1.5. Samplers: greedy, random"),
        (Greedy, {}, r"class as a sampler: Greedy. Give Greedy\(\)"),
        ("best", {}, "unknown sampler: best. Samplers: greedy, random, beam, diverse-beam, con"),
        ("greedy", {"temperature": 0.5}, "without effect on the sampler greedy: .*temperature 0.5"),
    ],
)
def test_what_a_sampler_cannot_do_is_refused(sampler, options, message):
    with pytest.raises(UsageError, match=message):
        generate(ScriptedEngine(random_table(0)), [[1]], sampler, **options)


@pytest.mark.parametrize("write", [generate, stream])
@pytest.mark.parametrize(
    ("name", "instead"), [("stop", "stops"), ("banned_words", "banned_sequences")]
)
def test_options_for_texts_are_refused_for_ids(write, name, instead):
    engine = ScriptedEngine(random_table(0))
    message = rf"no tokenizer for the texts in {name}: \['a'\]\. Give {instead} instead, or use"
    with pytest.raises(UsageError, match=message):
        list(write(engine, [[1]], **{name: ["a"]}))
    assert len(list(write(engine, [[1]], max_new_tokens=1, **{name: None}))) == 1


@pytest.mark.parametrize("sampler", ["beam", "diverse-beam"])
def test_a_beam_search_cannot_be_streamed(sampler):
    with pytest.raises(UsageError, match=f"sampler {sampler} knows its text at the end only"):
        next(stream(ScriptedEngine(random_table(0)), [[1]], sampler))


@pytest.mark.parametrize("name", EVERY_SAMPLER)
@pytest.mark.parametrize("prompt", [[-1], [29], [3, 2**31 - 1], []])
def test_a_prompt_outside_the_vocabulary_or_empty_is_refused(name, prompt):
    message = f"row 1: {prompt[-1]}. Ids are 0 to 28" if prompt else "empty prompt in row 1"
    with pytest.raises(UsageError, match=message):
        generate(ScriptedEngine(random_table(0, 29)), [[1], prompt], **named(name))


@pytest.mark.parametrize("name", EVERY_SAMPLER)
def test_damaged_weights_give_an_error_and_never_an_id(name):
    model = small_gpt()
    gamma = model.final_norm.gamma
    gamma.assign(np.full(gamma.shape, np.nan))
    with pytest.raises(RunError, match="model gives non-finite logits"):
        generate(Decoder(model), [[1, 2]], **named(name))
