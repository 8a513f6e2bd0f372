"""Where a text ends: at the stop string that is complete first, however the text is made."""

from functools import cache
from itertools import chain

import numpy as np
import pytest
from hypothesis import strategies as st
from properties import holds
from scripted_model import ScriptedEngine
from tiny_models import small_gpt

from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

PROMPTS = ("a", "ab", "b 日")  # texts that stop strings begin in
LETTERS = "abcd é日"
KINDS = {
    "bpe": BPETokenizer.train(["abcd abc bcd é日 日日 cd d."], vocab_size=270),
    "wordpiece": WordPieceTokenizer.train(["abcd abc bcd é日 日日 cd d."], vocab_size=40),
    "char": CharTokenizer.train([LETTERS], unknown="replace"),
}
MODEL = small_gpt(vocab_size=300, context_length=16)
TEXTS = st.text(LETTERS, max_size=5)


def some_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    """Ids of texts and, between them, any ids: of single bytes of a character, too."""
    written = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.control_ids]
    of_texts = TEXTS.map(lambda text: [i for i in tokenizer.encode(text) if i in written])
    return st.lists(of_texts | st.lists(st.sampled_from(written), max_size=2), max_size=3).map(
        lambda parts: list(chain(*parts))
    )


@cache
def maker(tokenizer: Tokenizer) -> TextGenerator:
    """A generator whose engine is replaced; to make one takes most of a second."""
    return TextGenerator(MODEL, tokenizer, replace_breaks=True)


def writing(tokenizer: Tokenizer, ids: list[int]) -> TextGenerator:
    """A generator that continues each prompt by `ids` and then by the first entry with a text."""
    generator = maker(tokenizer)
    begins = [tuple(generator.prompt_ids(prompt)) for prompt in PROMPTS]
    filler = next(i for i in range(tokenizer.vocab_size) if i not in tokenizer.control_ids)

    def table(history: tuple[int, ...]) -> np.ndarray:
        length = max((len(b) for b in begins if history[: len(b)] == b), default=len(history))
        position = len(history) - length
        logits = np.zeros(tokenizer.vocab_size, np.float32)
        logits[ids[position] if position < len(ids) else filler] = 50
        return logits

    generator.engine = ScriptedEngine(table, tokenizer.vocab_size)
    return generator


def first_end(text: str, stop: list[str]) -> str:
    """The rule, written a second time: character by character, the longest of those complete."""
    for end in range(len(text) + 1):
        complete = [one for one in stop if text[:end].endswith(one)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


def check(kind: str, ids: list[int], stop: list[str], num_beams: int) -> None:
    tokenizer, count = KINDS[kind], max(1, len(ids))
    generator = writing(tokenizer, ids)
    options = {"stop": stop, "max_new_tokens": count}
    whole = [generator.generate(prompt, **options) for prompt in PROMPTS]
    free = [generator.generate(prompt, max_new_tokens=count) for prompt in PROMPTS]
    assert whole == [first_end(text, stop) for text in free]
    streamed = ["".join(t.text for t in generator.stream(p, **options)) for p in PROMPTS]
    assert streamed == whole
    assert generator.generate(PROMPTS, **options) == whole
    samples = generator.texts(PROMPTS, "random", num_samples=2, **options)
    assert [[one.text for one in row] for row in samples] == [[text, text] for text in whole]
    beams = generator.generate(PROMPTS, "beam", num_beams=num_beams, **options)
    assert num_beams > 1 or beams == whole


@holds(
    60,
    2000,
    kind=st.sampled_from(list(KINDS)),
    data=st.data(),
    num_beams=st.integers(1, 2),
)
def test_streamed_whole_and_batched_texts_end_at_the_same_stop_string(
    kind: str, data: st.DataObject, num_beams: int
) -> None:
    ids = data.draw(some_ids(KINDS[kind]))
    text = KINDS[kind].decode(ids)
    place = st.tuples(st.integers(0, max(0, len(text) - 1)), st.integers(1, 4))
    inside = place.map(lambda cut: text[cut[0] : sum(cut)]) | TEXTS | st.just("\ufffd")
    stop = data.draw(st.lists(inside.filter(bool), max_size=4))
    check(kind, ids, stop, num_beams)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stop_string_that_is_complete_first_ends_the_text(kind):
    tokenizer = KINDS[kind]
    ids = tokenizer.encode("abcd") if kind != "wordpiece" else tokenizer.encode("x abcd")[1:]
    text = writing(tokenizer, ids).generate("a", max_new_tokens=len(ids))
    assert text.endswith("abcd")
    check(kind, ids, ["bc", "abcd"], 1)
    assert writing(tokenizer, ids).generate("a", stop=["bc", "abcd"]) == text[: text.index("bc")]
    assert writing(tokenizer, ids).generate("a", stop="bc") == text[: text.index("bc")]
