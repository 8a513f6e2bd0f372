"""Texts, one text and paths of files: wherever several are taken, they are told apart."""

from pathlib import Path

import pytest
from fakes import ByteTokenizer
from tiny_models import small_gpt

from gpt_tf.errors import UsageError
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.kinds import train
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

TRAINERS = {
    "bpe": lambda texts: BPETokenizer.train(texts, vocab_size=300),
    "wordpiece": lambda texts: WordPieceTokenizer.train(texts, vocab_size=300),
    "char": CharTokenizer.train,
    "by kind": lambda texts: train(
        "bpe",
        texts,
        vocab_size=300,
        lower_case=False,
        remove_punctuation=False,
        unknown_characters="fail",
    ),
}
trainers = pytest.mark.parametrize("learn", TRAINERS.values(), ids=TRAINERS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"A text of the file {name}.")
    return tmp_path


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz "])
    model = small_gpt(vocab_size=tokenizer.vocab_size, context_length=8)
    return TextGenerator(model, tokenizer, replace_breaks=True)


@trainers
def test_a_tokenizer_is_not_trained_on_the_characters_of_a_path(learn, folder: Path) -> None:
    for one in (str(folder), folder, str(folder).encode(), "one text"):
        with pytest.raises(UsageError, match=r"^one \w+ in texts: .*Give a list of texts"):
            learn(one)
    # the remedy, typed
    texts = [path.read_text() for path in Path(folder).rglob("*.txt")]
    assert learn(texts).encode("A text") and learn([texts[0]]).encode("A text")


@trainers
def test_paths_among_texts_are_refused(learn, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    with pytest.raises(UsageError, match=r"no str in texts\[0\]: PosixPath.*read_text\(\)"):
        learn(paths)
    with pytest.raises(UsageError, match=r"no str in texts\[1\]: b'bytes'"):
        learn(["a text", b"bytes"])
    with pytest.raises(UsageError, match="all others exist as files"):
        learn(str(path) for path in paths)
    # a text that happens to be the name of a file is a text among others
    assert learn([str(paths[0]), "a text"]).encode("a text")


@trainers
@pytest.mark.parametrize("nothing", [[], ["", ""], None])
def test_no_tokenizer_is_trained_on_nothing(learn, nothing: object) -> None:
    with pytest.raises(UsageError, match="Give "):
        learn(nothing)


@pytest.mark.parametrize("length", [255, 256, 1000, 4096, 5000])
def test_a_text_longer_than_a_file_name_is_a_text(length: int) -> None:
    assert CharTokenizer.train(["ab" * length]).encode("abba")


def test_one_text_is_no_batch_and_no_ids(folder: Path) -> None:
    tokenizer = CharTokenizer.train(["0123 text"])
    for one in ("0123", b"0123", folder):
        with pytest.raises(UsageError, match=r"in texts: .*encode\(\) for one"):
            tokenizer.encode_batch(one)
    for method in (tokenizer.decode, tokenizer.tokens):
        with pytest.raises(UsageError, match="one str in ids: '0123'"):
            method("0123")
    assert tokenizer.decode([1, 2]) == "01"


def test_a_stream_takes_files_as_paths_or_strings_and_no_folder(folder: Path) -> None:
    options = {"context_length": 4, "batch_size": 2, "epochs": 1, "shuffle": False}
    for one in (str(folder), folder):
        with pytest.raises(UsageError, match=r"in documents: .*Give a list of files"):
            TokenStream.from_documents(one, ByteTokenizer(), **options)
    files = sorted(Path(folder).rglob("*.txt"))
    found = []
    for documents in (files, [str(path) for path in files]):
        with TokenStream.from_documents(documents, ByteTokenizer(), **options) as batches:
            found.append([batch.inputs.tolist() for batch in batches])
    assert found[0] == found[1] != []


def test_a_single_prompt_or_banned_word_is_no_list(writer: TextGenerator) -> None:
    with pytest.raises(UsageError, match="one str in prompts: 'abc'"):
        writer.texts("abc")
    with pytest.raises(UsageError, match="one str in banned_words: 'bad'"):
        writer.generate("abc", banned_words="bad")
    for prompt in (Path("prompt.txt"), [Path("prompt.txt")], b"abc"):
        with pytest.raises(UsageError, match=r"in (the )?prompt: .*read_text"):
            writer.generate(prompt)


def test_ids_to_continue_are_no_text(writer: TextGenerator) -> None:
    for prompts in ("abc", ["abc"]):
        with pytest.raises(UsageError, match=r"one str in .*prompts: 'abc'. Give ids"):
            generate(Decoder(writer.model), prompts, "greedy", max_new_tokens=1)


def test_training_takes_its_paths_as_strings_and_no_texts(folder: Path) -> None:
    import gpt_tf

    for path in (folder, str(folder)):
        with pytest.raises(UsageError, match=rf"no tokenizer in {folder}/tokenizers/"):
            gpt_tf.train(path, workspace=path, validation=f"{folder}/b.txt", train_tokenizer=False)
        with pytest.raises(UsageError, match="no such"):
            gpt_tf.train(f"{path}/missing", workspace=path, tokenizer="x")
    for name in ("workspace", "validation", "tokenizer"):
        with pytest.raises(UsageError, match=rf"no path in {name}: \['a text'\]"):
            gpt_tf.train(**{name: ["a text"]})
