"""Text in, text out: streamed or whole, several prompts, stop strings, words that are banned."""

import numpy as np
import pytest
from scripted_model import ScriptedEngine
from tiny_models import small_gpt

import gpt_tf
from gpt_tf.errors import UsageError
from gpt_tf.inference.samplers import Greedy
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.tokenizer.bpe import BPETokenizer

TEXT = "A good movie. Ein schöner Film, 映画 🎬 and more of it, and more."
SAMPLERS = ["greedy", "random", "beam", "diverse-beam", "contrastive"]


@pytest.fixture(scope="module")
def generator() -> TextGenerator:
    tokenizer = BPETokenizer.train([TEXT], vocab_size=290)
    model = small_gpt(vocab_size=tokenizer.vocab_size + 3, context_length=16)
    return TextGenerator(model, tokenizer, replace_breaks=True)


def writing(generator: TextGenerator, text: str) -> TextGenerator:
    """The same generator with an engine that writes `text`, then the end token, after "A"."""
    ids = [*generator.tokenizer.encode(text), generator.tokenizer.eot_id]
    prompt = len(generator.prompt_ids("A"))

    def table(history: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(generator.tokenizer.vocab_size, np.float32)
        logits[ids[min(len(history) - prompt, len(ids) - 1)]] = 30
        return logits

    scripted = TextGenerator(generator.model, generator.tokenizer, replace_breaks=True)
    scripted.engine = ScriptedEngine(table, generator.tokenizer.vocab_size)
    return scripted


@pytest.mark.parametrize("sampler", ["greedy", "random", "contrastive"])
def test_streamed_pieces_are_the_whole_text(generator, sampler):
    for prompt in ("A good", "", "映"):
        options = {"sampler": sampler, "max_new_tokens": 40}
        pieces = [token.text for token in generator.stream(prompt, **options)]
        assert "".join(pieces) == generator.generate(prompt, **options)
        assert len(pieces) <= 40


def test_characters_are_streamed_whole(generator):
    pieces = [token.text for token in writing(generator, " 映画 🎬 ö").stream("A")]
    assert "".join(pieces) == " 映画 🎬 ö"
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_prompts_together_are_prompts_alone(generator, sampler):
    prompts = ["A good", "", "Ein schöner Film, 映画", "more"]
    options = {"sampler": sampler, "max_new_tokens": 12}
    alone = [generator.generate(prompt, **options) for prompt in prompts]
    assert generator.generate(prompts, **options) == alone
    assert generator.generate([], **options) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("stop", "expected"), [
    (("good",), " "), (("o", "d m"), " g"), (("d mov",), " goo"), (("absent",), " good movie"),
])  # fmt: skip
def test_a_text_ends_before_the_first_stop_string(generator, sampler, stop, expected):
    scripted = writing(generator, " good movie")
    options = {"sampler": sampler, "stop": stop, "max_new_tokens": 15}
    if sampler == "contrastive":
        options["alpha"] = 0.0  # the hidden states are scripted, too
    assert scripted.generate("A", **options) == expected
    if "beam" not in sampler:
        pieces = [token.text for token in scripted.stream("A", **options)]
        assert "".join(pieces) == expected


def test_a_stop_string_ends_the_computing_too(generator):
    scripted = writing(generator, " good movie and more of it")
    scripted.generate("A", stop=("movie",))
    short = scripted.engine.runs
    scripted.generate("A")
    assert short < scripted.engine.runs - 2


def test_a_stop_string_in_the_prompt_is_none(generator):
    assert writing(generator, " good").generate("A", stop=("A",)) == " good"


@pytest.mark.parametrize("word", ["movie", "good movie", "Film"])
def test_banned_words_are_not_written(generator, word):
    text = f" {word}"
    assert writing(generator, text).generate("A") == text
    assert word not in writing(generator, text).generate("A", banned_words=[word])


def test_banned_words_and_banned_sequences_act_together(generator):
    text = " good movie"
    encode = generator.tokenizer.encode
    scripted, sequences = writing(generator, text), [encode(" good")]
    assert "good" not in scripted.generate("A", banned_sequences=sequences)
    for options in ({"banned_sequences": sequences}, {"banned_sequences": None}, {}):
        written = scripted.generate("A", banned_words=["movie"], **options)
        assert "movie" not in written
        assert ("good" in written) == (options.get("banned_sequences") is None)


def test_ids_without_a_text_are_never_chosen(generator):
    """The model may have more entries than the tokenizer."""
    tokenizer = generator.tokenizer
    head = generator.model.embedding.tokens_VD
    assert head.shape[0] > tokenizer.vocab_size
    found = generator.texts(["A"], "random", num_samples=20, max_new_tokens=30)
    chosen = {i for text in found[0] for i in text.continuation.token_ids}
    assert max(chosen) < tokenizer.vocab_size and not chosen & tokenizer.control_ids


def test_a_sampler_of_ones_own(generator):
    class SecondBest(Greedy):
        def choose(self, session, logits_BWV, position):
            return np.argsort(logits_BWV, axis=-1)[..., -2]

    text = generator.generate("A good", SecondBest(), max_new_tokens=5, repetition_penalty=1.2)
    assert text and text != generator.generate("A good", max_new_tokens=5)
    with pytest.raises(UsageError, match="temperatur"):
        generator.generate("A good", SecondBest(), temperatur=3)


def test_a_text_generator_needs_a_model_and_a_tokenizer_and_says_what_it_is(generator):
    mine = gpt_tf.TextGenerator(generator.model, generator.tokenizer)
    assert repr(mine) == "TextGenerator(gpt, BPETokenizer, engine=Decoder)"
    options = {"max_new_tokens": 5}
    greedy = mine.generate("A good", gpt_tf.Greedy(), **options)
    assert greedy == mine.generate("A good", lambda logits, at: logits.argmax(-1), **options)
    for sampler in (gpt_tf.Random(3), gpt_tf.Contrastive(), gpt_tf.Beam(), gpt_tf.DiverseBeam()):
        assert len(mine.texts(["A good"], sampler, **options)[0]) == 1


def test_banned_words_and_stop_strings_may_come_from_a_generator(generator):
    options = {"max_new_tokens": 8}
    words = [*generator.generate("A good", **options).split(), "e"]
    for name in ("banned_words", "stop"):
        expected = generator.generate("A good", **options, **{name: words})
        assert expected != generator.generate("A good", **options)
        assert generator.generate("A good", **options, **{name: iter(words)}) == expected


def test_only_a_model_with_its_own_tokenizer_writes(generator):
    model, tokenizer = generator.model, generator.tokenizer
    for given, message in (
        ((tokenizer, model), "not a GPT or a Bigram in model: "),
        ((None, tokenizer), "not a GPT or a Bigram in model: None. Give the model first"),
        ((model, "tokenizers/mine"), "not a tokenizer in tokenizer: 'tokenizers/mine'"),
        ((model, None), "not a tokenizer in tokenizer: None"),
        ((model, BPETokenizer), "not a tokenizer in tokenizer: <class"),
    ):
        with pytest.raises(UsageError, match=message):
            TextGenerator(*given)
    with pytest.raises(UsageError, match="not a tokenizer in tokenizer: 'tk1'"):
        model.generate("tk1", "A good")
    small = small_gpt(vocab_size=tokenizer.vocab_size - 1, context_length=16)
    for write in (small.generate, lambda *given: TextGenerator(small, given[0])):
        with pytest.raises(UsageError, match=r"tokenizer larger than the model: \d+ entries, the"):
            write(tokenizer, "A good")


def test_a_model_writes_with_the_weights_of_the_moment():
    tokenizer = BPETokenizer.train([TEXT], vocab_size=290)
    model = small_gpt(vocab_size=tokenizer.vocab_size, context_length=16)
    options = {"sampler": "random", "seed": 1, "max_new_tokens": 8}
    prompts = ["A good", "more"]
    texts = model.generate(tokenizer, prompts, **options)
    assert texts == gpt_tf.TextGenerator(model, tokenizer).generate(prompts, **options)
    assert model.generate(tokenizer, "A good", **options) == texts[0]
    model.set_weights([weight / 2 for weight in model.get_weights()])
    assert model.generate(tokenizer, prompts, **options) != texts
    other = BPETokenizer.train([TEXT, "zzzz zzzz"], vocab_size=280)
    assert model.generate(other, "zzzz", **options) == gpt_tf.TextGenerator(model, other).generate(
        "zzzz", **options
    )


def test_what_is_no_stop_string_is_refused(generator):
    for stop in (5, [5], b"a", None):
        with pytest.raises(UsageError, match=r" in stop: .*Give a text, or a list of texts\."):
            generator.generate("A", stop=stop)
        with pytest.raises(UsageError, match=r" in stop: .*Give a text, or a list of texts\."):
            list(generator.stream("A", stop=stop))


@pytest.mark.parametrize("options", [{"stop": [""]}, {"banned_words": ["a", ""]}])
def test_empty_strings_are_refused(generator, options):
    with pytest.raises(UsageError, match="empty"):
        generator.generate("A", **options)
    with pytest.raises(UsageError, match="empty"):
        list(generator.stream("A", **options))


@pytest.mark.parametrize("sampler", ["random", "beam", "greedy"])
def test_one_text_is_refused_if_several_are_asked_for(generator, sampler):
    remedy = r"of a prompt in num_samples: 2\. Use `texts` of the run or of gpt_tf\.TextGenerator"
    for write in (
        generator.generate,
        lambda *given, **more: list(generator.stream(*given, **more)),
    ):
        with pytest.raises(UsageError, match=remedy):
            write("A", sampler, num_samples=2)
        with pytest.raises(UsageError, match="out of range in num_samples: 0"):
            write("A", sampler, num_samples=0)
    assert len(generator.texts(["A"], "random", num_samples=2, max_new_tokens=2)[0]) == 2


@pytest.mark.parametrize("name", ["end_id", "banned_ids"])
def test_what_the_tokenizer_decides_is_no_option(generator, name):
    with pytest.raises(UsageError, match=f"no choice in {name}: the tokenizer has it"):
        generator.generate("A", **{name: 1})
