"""The sample corpus: its grammar writes and recognises the same sentences, its files are fixed."""

import hashlib
import itertools
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from gpt_tf.streaming.corpora import sample_reviews
from gpt_tf.streaming.corpora.sample_grammar import (
    _RULES,
    SUBJECTS,
    complete_sentences,
    generate_sentence,
    parses,
)
from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews

SENTENCES = [
    generate_sentence(Random(f"sentence {polarity} {number}"), polarity)
    for polarity in ("pos", "neg")
    for number in range(1000)
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """1,200 reviews of the default seed: path below the directory -> text."""
    directory = tmp_path_factory.mktemp("reviews")
    write_sample_reviews(directory, train_per_class=500, test_per_class=100)
    return read_corpus(directory)


def read_corpus(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        path.relative_to(directory).as_posix(): path.read_bytes().decode("utf-8") for path in files
    }


def without_breaks(text: str) -> str:
    return text.replace("<br /><br />", " ")


# The grammar


@given(seed=st.integers(0, 2**64), polarity=st.sampled_from(["pos", "neg"]))
def test_every_generated_sentence_parses(seed, polarity):
    assert parses(generate_sentence(Random(seed), polarity))


@pytest.mark.parametrize("polarity", ["pos", "neg"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_parses_and_is_one_well_formed_sentence(subject, polarity):
    for number in range(200):
        sentence = generate_sentence(Random(number), polarity, subject)
        assert parses(sentence)
        assert complete_sentences(sentence) == [sentence]
        assert re.fullmatch(r"[A-Z]([A-Za-z-]|,? )+[a-z][.!?]", sentence)


def test_every_rule_is_used_and_every_name_is_a_rule():
    for rules in _RULES.values():
        items = {item for options in rules.values() for option in options for item in option}
        assert {item for item in items if item[0] == "<"} == set(rules) - {"<sentence>"}


def test_articles_agree_with_the_next_word():
    for sentence in SENTENCES:
        for article, word in re.findall(r"\b(an?) ([\w-]+)", sentence):
            vowel_sound = word == "honest" or (word[0] in "aeiou" and word != "unique")
            assert article == ("an" if vowel_sound else "a"), sentence


def test_an_unknown_polarity_or_subject_is_refused():
    with pytest.raises(ValueError, match="polarity must be"):
        generate_sentence(Random(1), "mixed")
    with pytest.raises(ValueError, match="subject must be"):
        generate_sentence(Random(1), "pos", "film")  # a rule, but not a sentence


def damaged(words: list[str]) -> dict[str, list[list[str]]]:
    """Every sentence with one word doubled, or two neighbors exchanged, or one word dropped."""
    places = range(len(words))
    return {
        "doubled": [words[: i + 1] + words[i:] for i in places],
        "swapped": [[*words[:i], words[i + 1], words[i], *words[i + 2 :]] for i in places[:-1]],
        "dropped": [words[:i] + words[i + 1 :] for i in places],
    }


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("doubled", 0.0),
        ("swapped", 0.0),
        # "truly" and other optional words may go
        ("dropped", 0.05),
    ],
)
def test_a_damaged_sentence_does_not_parse(kind, most):
    results = []
    for sentence in SENTENCES[::10]:
        mark = sentence[-1]
        for words in damaged(sentence[:-1].split(" "))[kind]:
            text = " ".join(words)
            results.append(parses(text[:1].upper() + text[1:] + mark))
    assert sum(results) <= most * len(results)


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda s: s[0].lower() + s[1:], id="lower-cased start"),
        pytest.param(lambda s: s.upper(), id="upper case"),
        pytest.param(lambda s: s[:-1], id="no end mark"),
        pytest.param(lambda s: s[:-1] + {".": "!", "!": "?", "?": "."}[s[-1]], id="other mark"),
        pytest.param(lambda s: s + s[-1], id="two marks"),
        pytest.param(lambda s: s + " ", id="blank at the end"),
        pytest.param(lambda s: s.replace(" ", "  ", 1), id="two blanks"),
        pytest.param(lambda s: s.replace(" ", ", ", 1), id="stray comma"),
        pytest.param(lambda s: " ".join(reversed(s.split())), id="backwards"),
        pytest.param(lambda s: f"{s} {s}", id="two sentences"),
    ],
)
def test_a_mutated_sentence_never_parses(mutate):
    assert not any(parses(mutate(sentence)) for sentence in SENTENCES)


def test_a_wrong_article_never_parses():
    changed = [re.sub(r"\ban\b", "a", s) for s in SENTENCES]
    changed += [re.sub(r"\ba\b", "an", s) for s in SENTENCES]
    changed = [new for new, old in zip(changed, SENTENCES * 2, strict=True) if new != old]
    assert len(changed) > 300
    assert not any(map(parses, changed))


def test_word_salad_never_parses():
    random = Random(1)
    words = sorted({word for s in SENTENCES for word in s[:-1].split(" ")})
    for length in range(2, 15):
        for _ in range(100):
            text = " ".join(random.choices(words, k=length))
            assert not parses(text[0].upper() + text[1:] + ".")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("This movie is truly wonderful.", True),
        ("This movie is a unique comedy about first love.", True),
        ("This movie is an unique comedy about first love.", False),
        ("This movie is an honest comedy about first love.", True),
        ("This movie is a honest comedy about first love.", False),
        ("This movie is wonderful and moving from start to finish.", True),
        ("This movie is wonderful and hollow from start to finish.", False),  # two minds
        ("This movie is is wonderful.", False),
        ("This movie are truly wonderful.", False),
        ("This movie is truly terrible!", False),
        ("This movie is", False),
        ("Avoid it at all costs!", True),
        ("Avoid it at all costs !.", False),  # more than a sentence
        (".", False),
        ("", False),
    ],
)
def test_parses_by_hand(sentence, expected):
    assert parses(sentence) is expected


@given(st.text())
def test_any_other_text_is_refused_without_an_error(text):
    assert parses(text) is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two. Three four! Five six? Seven", ["One two.", "Three four!", "Five six?"]),
        ("One\ntwo.\r\nThree\tfour.", ["One two.", "Three four."]),
        ("  One.  ", ["One."]),
        ("One.Two. Three", ["One.Two."]),  # no blank after the first mark
        ("Well... yes?! No", ["Well...", "yes?!"]),
        ("no end", []),
        (". One.", [".", "One."]),
        ("", []),
    ],
)
def test_complete_sentences(text, expected):
    assert complete_sentences(text) == expected


# The corpus


def test_layout(corpus):
    sizes = {"train": 500, "test": 100}
    for split, polarity in itertools.product(sizes, ("pos", "neg")):
        names = [re.fullmatch(rf"{split}/{polarity}/(\d+)_(\d+)\.txt", path) for path in corpus]
        numbers, ratings = zip(*[map(int, name.groups()) for name in names if name], strict=True)
        assert sorted(numbers) == list(range(sizes[split]))
        assert set(ratings) == ({7, 8, 9, 10} if polarity == "pos" else {1, 2, 3, 4})
    assert len(corpus) == 1200


def test_each_review_is_sentences_of_its_own_polarity(corpus):
    verdicts = {"pos": r"\b(wonderful|charming)\b", "neg": r"\b(dreadful|boring)\b"}
    for path, text in list(corpus.items())[::4]:
        sentences = complete_sentences(without_breaks(text))
        assert 5 <= len(sentences) <= 12
        assert " ".join(sentences) == without_breaks(text)  # no blank at either end, no rest
        assert all(map(parses, sentences))
        other = "neg" if "/pos/" in path else "pos"
        assert not re.search(verdicts[other], text)


def test_the_text_is_what_the_demo_needs(corpus):
    texts = [without_breaks(text) for text in corpus.values()]
    lengths = [len(text.split()) for text in texts]
    assert 80 < sum(lengths) / len(lengths) < 100
    assert 0.2 < sum("<br /><br />" in text for text in corpus.values()) / len(corpus) < 0.6
    sentences = [sentence for text in texts for sentence in complete_sentences(text)]
    openings = [sentence.startswith("This movie is ") for sentence in sentences]
    assert sum(openings) > 0.08 * len(sentences)
    assert len({word.lower() for text in texts for word in re.findall(r"[\w-]+", text)}) >= 450


def test_no_two_reviews_are_the_same(corpus):
    assert len(set(corpus.values())) == len(corpus)


def test_a_clash_is_drawn_again_in_the_same_way():
    def draw_twice():
        seen: set[str] = set()
        return [sample_reviews._new_review("any key", "pos", seen) for _ in range(2)], seen

    (first, second), seen = draw_twice()
    assert seen == {first[1], second[1]} and first[1] != second[1]
    assert draw_twice()[0] == [first, second]


def test_the_bytes_are_pinned(tmp_path):
    write_sample_reviews(tmp_path, train_per_class=20, test_per_class=5)
    corpus = read_corpus(tmp_path)
    digest = hashlib.sha256("".join(f"{path}\0{corpus[path]}\0" for path in corpus).encode())
    assert digest.hexdigest() == "22ef72828b1400b9907ebc51c5fabbae723d6b5bb7dbc30f68ffc4d810d9b31c"


def test_a_smaller_corpus_is_a_part_of_a_larger_one(corpus, tmp_path):
    write_sample_reviews(tmp_path, train_per_class=10, test_per_class=3)
    assert read_corpus(tmp_path).items() < corpus.items()


def test_another_seed_writes_other_reviews(corpus, tmp_path):
    write_sample_reviews(tmp_path, train_per_class=10, test_per_class=3, seed=1)
    assert set(read_corpus(tmp_path).values()).isdisjoint(corpus.values())


def test_progress_ends_with_the_total(tmp_path):
    calls = []
    write_sample_reviews(
        tmp_path,
        train_per_class=200,
        test_per_class=10,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(250, 420), (420, 420)]


def test_a_negative_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="test_per_class must be 0 or more"):
        write_sample_reviews(tmp_path / "reviews", train_per_class=1, test_per_class=-1)
    assert list(tmp_path.iterdir()) == []


def test_a_vocabulary_of_1200_is_reached_and_reads_back(corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [text for path, text in corpus.items() if path.startswith("train/")]
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == 1200
    assert tokenizer.decode(tokenizer.encode(texts[0]).ids) == texts[0]
