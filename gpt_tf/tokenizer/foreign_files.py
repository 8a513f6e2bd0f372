"""The files of a foreign tokenizer: which are there, what they say, checked and laid out again.

They are copied in one layout, with no more in them than is known, so that transformers can put them
together without meeting anything else: no code, no templates, no other paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.json_file import MAX_BYTES, plain_file, read_json
from gpt_tf.tokenizer.backend_file import read_backend
from gpt_tf.tokenizer.files import CONFIG_FILE, SPECIAL_TOKENS_FILE, TOKENIZER_FILE

BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
WORDS_FILE = "vocab.txt"
SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
ADDED_TOKENS_FILE = "added_tokens.json"
MODEL_FILE = "config.json"
AS_IT_IS = "PreTrainedTokenizerFast"
WORDPIECE = "BertTokenizer"
BYTE_LEVEL = ("GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer")
OF_PAIRS = ("GPT2Tokenizer", "CodeGenTokenizer", "Qwen2Tokenizer", "OpenAIGPTTokenizer")
READ_BY = {  # file: classes that read it, what to do with any other
    TOKENIZER_FILE: (
        (AS_IT_IS, WORDPIECE, "OpenAIGPTTokenizer", *BYTE_LEVEL),
        f"To take the file as it is, set tokenizer_class to {AS_IT_IS}",
    ),
    WORDS_FILE: (
        (WORDPIECE,),
        f"Set it to {WORDPIECE} for WordPiece, or leave it out for a list of words",
    ),
}
# The class that transformers takes for a model if no file names one.
OF_MODELS = {
    "gpt2": "GPT2Tokenizer",
    "opt": "GPT2Tokenizer",
    "openai-gpt": "OpenAIGPTTokenizer",
    "bert": WORDPIECE,
}
OPTIONS = (
    "add_bos_token", "add_eos_token", "add_prefix_space", "added_tokens_decoder",
    "additional_special_tokens", "extra_special_tokens", "do_lower_case", "strip_accents",
    "tokenize_chinese_chars", "clean_up_tokenization_spaces",
)  # fmt: skip
TOKEN_FIELDS = ("content", "lstrip", "rstrip", "normalized", "single_word", "special")


class Found(NamedTuple):
    """A tokenizer's files, read.

    Attributes:
      class_name: of transformers, which puts it together.
      vocabulary: the entries of the model, without what is added.
      options, special_tokens, added_tokens: what the files beside it say; None for no such file.
      steps: a tokenizer.json, or the steps of a list of words.
      merges: the lines of merges.txt.
    """

    class_name: str
    vocabulary: Mapping[str, int]
    options: dict[str, Any]
    special_tokens: dict[str, Any] | None
    added_tokens: dict[str, Any] | None
    steps: Backend | None = None
    merges: list[str] | None = None

    def settings(self) -> dict[str, Any]:
        """What the files say of special tokens; tokenizer_config.json goes first."""
        said = [*(self.special_tokens or {}).items(), *self.options.items()]
        return {key: value for key, value in said if value is not None}

    def write(self, folder: Path) -> None:
        """Write the files that transformers reads into an empty folder."""
        if self.steps is not None:
            self.steps.save(str(folder / TOKENIZER_FILE))
        elif self.merges is not None:
            _write_json(folder / "vocab.json", self.vocabulary)
            lines = ["#version: 0.2", *self.merges]
            (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
        else:
            (folder / WORDS_FILE).write_text("\n".join(self.vocabulary) + "\n", "utf-8")
        _write_json(folder / CONFIG_FILE, {**self.options, "tokenizer_class": self.class_name})
        if self.special_tokens is not None:
            _write_json(folder / SPECIAL_TOKENS_FILE, self.special_tokens)
        if self.added_tokens is not None:
            _write_json(folder / ADDED_TOKENS_FILE, self.added_tokens)


def find_files(directory: Path) -> Found:
    """The files of the tokenizer in a folder.

    Raises:
      UsageError: if there is none, or the files found do not fit the class that they name.
      RunError: if one is damaged.
    """
    config = _json_of(directory / CONFIG_FILE) or {}
    model = _json_of(directory / MODEL_FILE) or {}
    named = config.get("tokenizer_class") or model.get("tokenizer_class")
    if named is not None and not isinstance(named, str):
        raise RunError(f"damaged tokenizer_class in {directory}: {named!r:.60}.")
    named = AS_IT_IS if named in ("TokenizersBackend", "PreTrainedTokenizer") else named
    if named is not None and named != AS_IT_IS:
        named = named.removesuffix("Fast")
    special_tokens = _json_of(directory / SPECIAL_TOKENS_FILE)
    beside = {
        "options": {key: _typed(value) for key, value in _known(config).items()},
        "special_tokens": None if special_tokens is None else _known(special_tokens),
        "added_tokens": _json_of(directory / ADDED_TOKENS_FILE),
    }
    usual = OF_MODELS.get(str(model.get("model_type")))
    return _vocabulary(directory, named, usual, beside)


def _vocabulary(
    directory: Path, named: str | None, usual: str | None, beside: dict[str, Any]
) -> Found:
    """The vocabulary that is found first, with what is beside it."""
    if (directory / TOKENIZER_FILE).exists():
        name = _checked(named or usual or AS_IT_IS, directory, TOKENIZER_FILE)
        steps = read_backend(directory / TOKENIZER_FILE)
        return Found(name, steps.get_vocab(with_added_tokens=True), **beside, steps=steps)
    pair = next((pair for pair in BPE_FILES if (directory / pair[0]).exists()), None)
    words = directory / WORDS_FILE
    if pair is not None and not (words.exists() and named == WORDPIECE):
        name = _checked(named or usual or BYTE_LEVEL[0], directory, pair[0])
        entries, merges = _entries(directory / pair[0]), _merges(directory / pair[1])
        return Found(name, entries, **beside, merges=merges)
    if words.exists() and named is None and usual != WORDPIECE:
        steps = _words(words)
        return Found(AS_IT_IS, steps.get_vocab(), **beside, steps=steps)
    if words.exists():
        return Found(_checked(named or WORDPIECE, directory, WORDS_FILE), _listed(words), **beside)
    for file in SENTENCEPIECE_FILES:
        if (directory / file).exists():
            raise UsageError(
                f"tokenizer refused in {directory / file}: it is SentencePiece's "
                f"({named or 'no tokenizer_class'}), which is not read. Use another tokenizer."
            )
    raise UsageError(
        f"no tokenizer in {directory}: neither {TOKENIZER_FILE}, nor vocab.json with merges.txt, "
        f"nor {WORDS_FILE}."
    )


def _checked(name: str, directory: Path, file: str) -> str:
    """The class of a file, if gpt-tf knows how it reads that file. Raises UsageError."""
    known, remedy = READ_BY.get(file, (OF_PAIRS, f"For byte-level BPE, set it to {BYTE_LEVEL[0]}"))
    if name in known:
        return name
    raise UsageError(
        f"tokenizer_class of {directory / file} refused: {name[:60]} is not known to read that "
        f"file. {remedy} in {CONFIG_FILE}."
    )


def _json_of(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """What is known of a file of settings: options, and special tokens by role."""
    known: dict[str, Any] = {}
    for key, value in settings.items():
        if key.endswith("_token") and isinstance(value, dict):
            known[key] = {name: value[name] for name in TOKEN_FIELDS if name in value}
        elif key in OPTIONS or key.endswith("_token"):
            known[key] = [_typed(each) for each in value] if isinstance(value, list) else value
    return known


def _typed(value: Any) -> Any:
    """A special token with its flags, marked as transformers wants it in this file."""
    is_token = isinstance(value, dict) and "content" in value
    return {"__type": "AddedToken", **value} if is_token else value


def _entries(path: Path) -> dict[str, int]:
    entries = read_json(path)
    ids = set(entries.values()) if all(type(i) is int for i in entries.values()) else set()
    if not ids or len(ids) < len(entries) or min(ids) < 0 or max(ids) >= 2**31:
        raise RunError(f"damaged vocabulary {path}: ids that repeat, or no ids.")
    return entries


def _merges(path: Path) -> list[str]:
    """The merges of a file; blank lines, blanks at line ends and a byte order mark do not count."""
    merges = []
    for number, line in enumerate(_lines(path), 1):
        text = (line.removeprefix("\ufeff") if number == 1 else line).strip(" \t\r")
        if not text or text.startswith("#version"):
            continue
        if len(text.split(" ")) != 2:
            raise RunError(f"damaged merges in {path}, line {number}: {line[:60]!r}.")
        merges.append(text)
    return merges


def _words(path: Path) -> Backend:
    """One entry a word, the id its line."""
    vocabulary = _listed(path)
    if "[UNK]" in vocabulary and any(word[:2] == "##" and word != "##" for word in vocabulary):
        raise UsageError(
            f"words or WordPiece in {path}: it has [UNK] and entries that begin with ##, and no "
            f"tokenizer_class says what they are. Set tokenizer_class to {WORDPIECE} in "
            f"{CONFIG_FILE}."
        )
    if any(len(word.split()) != 1 for word in vocabulary):
        raise RunError(f"damaged vocabulary {path}: words that have blanks.")
    backend = Backend(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def _listed(path: Path) -> dict[str, int]:
    """The entries of a list, the id its line."""
    lines = _lines(path)
    vocabulary = {line: i for i, line in enumerate(lines)}
    if lines and lines[0].startswith("\ufeff"):
        raise RunError(f"damaged vocabulary {path}: a byte order mark. Save it without one.")
    if len(vocabulary) < len(lines) or any(not line or line != line.strip() for line in lines):
        raise RunError(f"damaged vocabulary {path}: entries that repeat, or blanks around them.")
    return vocabulary


def _lines(path: Path) -> list[str]:
    """The lines of a text file, ends of any kind; a last empty one is left out."""
    size = plain_file(path).stat().st_size
    if size > MAX_BYTES:
        raise UsageError(f"file too large in {path}: {size:,} bytes, the limit is {MAX_BYTES:,}.")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"no UTF-8 text in {path}: {error}.") from error
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), "utf-8")
