"""What a tokenizer.json may ask for: a list of parts, none of which makes a text much longer.

A file of 100 kB can describe steps that turn a blank into a gigabyte, or a regular expression that
takes for ever on some texts. Only the parts listed here are accepted, whatever the source of the
file.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.normalizing import ASCII_PUNCTUATION

ANY_CHARACTER = r"[\s\S]"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LATER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| "
    r"?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_PATTERN, GPT4_PATTERN = _LATER.format(digits=""), _LATER.format(digits="{1,3}")
PATTERNS = {ASCII_PUNCTUATION, ANY_CHARACTER, GPT2_PATTERN, QWEN2_PATTERN, GPT4_PATTERN}

SECTIONS = {  # each with the key under which a sequence of them lists its parts
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "decoder": "decoders",
    "post_processor": "processors",
}
# By how much a part may lengthen a text: its longest output for an input of its own length.
GROWTH = {
    "normalizer": {
        "Lowercase": 2, "NFC": 3, "NFD": 3, "NFKC": 12, "NFKD": 12, "Nmt": 1, "Strip": 1,
        "StripAccents": 1, "BertNormalizer": 4, "ByteLevel": 2, "Prepend": 1, "Replace": 1,
    },
    "pre_tokenizer": {
        "ByteLevel": 2, "Metaspace": 4, "BertPreTokenizer": 1, "Whitespace": 1,
        "WhitespaceSplit": 1, "Punctuation": 1, "Digits": 1, "Split": 1,
    },
    "decoder": {
        "ByteLevel": 1, "WordPiece": 2, "Metaspace": 1, "Fuse": 1, "Strip": 1, "ByteFallback": 1,
        "BPEDecoder": 1, "Replace": 1,
    },
    "post_processor": {
        "ByteLevel": 1, "TemplateProcessing": 1, "BertProcessing": 1, "RobertaProcessing": 1,
    },
}  # fmt: skip
MODELS = ("BPE", "WordPiece", "WordLevel", "Unigram")
MOST_GROWTH = 256
MOST_PARTS = 16
SHORT = 16  # bytes of what is put before texts or words, entries of a template
MOST_WORD_CHARACTERS = 1000  # looking a word up takes the square of them


def check_parts(tokenizer: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError for anything in a tokenizer.json that is not known to be harmless."""
    for pattern in _patterns(tokenizer):
        if pattern not in PATTERNS:
            raise UsageError(
                f"regular expression refused in {path}: {pattern[:100]!r}. A foreign one may take "
                "for ever on some texts. Use a tokenizer with GPT-2's, Qwen2's or GPT-4's."
            )
    for section, inner in SECTIONS.items():
        growth = 1.0
        for number, part in enumerate(_steps(tokenizer.get(section), inner), 1):
            kind = str(part.get("type")) if isinstance(part, dict) else None
            problem = "" if kind in GROWTH[section] else "it is not one of the known parts"
            problem = problem or (f"more than {MOST_PARTS} parts" if number > MOST_PARTS else "")
            problem = problem or _problem(part)
            if not problem:
                growth *= GROWTH[section][kind or ""] * _replacing(part)
            if growth > MOST_GROWTH:
                problem = f"together they may make a text {growth:.0f} times as long"
            if problem:
                raise _refused(f"{section} {kind}"[:80], path, problem)
    _check_model(tokenizer.get("model"), path)


def _refused(part: str, path: Path, problem: str) -> UsageError:
    return UsageError(f"{part} refused in {path}: {problem}. Use another tokenizer.")


def _patterns(value: Any) -> Iterator[str]:
    """The regular expressions of a tokenizer.json, wherever they are, except in its vocabulary."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("Regex"), str):
                yield value["Regex"]
            waiting += [part for key, part in value.items() if key not in ("vocab", "merges")]
        elif isinstance(value, list):
            waiting += value


def _steps(part: Any, inner: str) -> Iterator[Any]:
    """The parts of a section in order, sequences taken apart; nothing if there are none."""
    waiting = deque([] if part is None else [part])
    while waiting:
        part = waiting.popleft()
        listed = part.get(inner) if isinstance(part, dict) else None
        if isinstance(listed, list) and part.get("type") == "Sequence":
            waiting.extendleft(reversed(listed))
        else:
            yield part


def _problem(part: Mapping[str, Any]) -> str:
    """What is wrong with a known part, "" if nothing is."""
    if part["type"] == "TemplateProcessing":
        return _problem_of_template(part)
    if part["type"] == "BPEDecoder" and not part.get("suffix"):
        return "its suffix is empty"
    if part["type"] == "Prepend" and _bytes(part.get("prepend")) > SHORT:
        return f"it puts more than {SHORT} bytes before a text"
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and "Regex" not in pattern and not pattern.get("String"):
        return "its pattern is empty"
    return ""


def _problem_of_template(part: Mapping[str, Any]) -> str:
    for name in ("single", "pair"):
        pieces = part.get(name)
        if not isinstance(pieces, list) or len(pieces) > SHORT:
            return f"its {name} is not a list of at most {SHORT} pieces"
        texts = [
            repr(piece.get("Sequence", {}).get("id"))
            for piece in pieces
            if isinstance(piece, dict)
            and isinstance(piece.get("Sequence", {}), dict)
            and "Sequence" in piece
        ]
        if len(set(texts)) < len(texts) or (name == "single" and len(texts) != 1):
            return f"its {name} does not have each text once"
    special = part.get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():
        ids = token.get("ids") if isinstance(token, dict) else None
        if not isinstance(ids, list) or len(ids) > SHORT:
            return f"a special token of it is not a list of at most {SHORT} ids"
    return ""


def _replacing(part: Mapping[str, Any]) -> float:
    """How many times as long a text may be after a replacement."""
    if part["type"] != "Replace":
        return 1
    pattern = part.get("pattern")
    text = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1, _bytes(part.get("content")) / max(1, _bytes(text)))


def _bytes(text: Any) -> float:
    """The UTF-8 bytes of a text; 0 for none, without end for anything else."""
    if text is None:
        return 0
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else math.inf


def _check_model(model: Any, path: Path) -> None:
    if not isinstance(model, dict):
        return  # the backend says that it is damaged
    kind = model.get("type")
    if kind is not None and kind not in MODELS:
        raise _refused(f"model {kind!r:.80}", path, "it is not one of the known models")
    if model.get("dropout"):
        raise UsageError(
            f"dropout refused in {path}: {model['dropout']!r:.20}. With it a text has other ids "
            "each time. Set dropout to null in the file."
        )
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if _bytes(model.get(name)) > SHORT:
            raise _refused("model", path, f"{name} has more than {SHORT} bytes")
    most = model.get("max_input_chars_per_word", 0)
    if not isinstance(most, int) or most > MOST_WORD_CHARACTERS:
        raise _refused(
            "model", path, f"max_input_chars_per_word is more than {MOST_WORD_CHARACTERS}"
        )
