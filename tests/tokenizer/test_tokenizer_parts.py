"""Tokenizers from elsewhere: steps that multiply a text or take for ever are refused by name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import in_process
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from gpt_tf.errors import UsageError
from gpt_tf.storage.manifest import write_manifest
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.files import CONFIG_FILE, TOKENIZER_FILE
from gpt_tf.tokenizer.foreign import read_foreign
from gpt_tf.tokenizer.parts import (
    GPT2_PATTERN,
    GPT4_PATTERN,
    MOST_GROWTH,
    QWEN2_PATTERN,
    check_parts,
)

LONG = "long " * 20_000
TEXT = "A short text, 2 lines.\nÄ 你好"


def string(pattern: str) -> dict[str, str]:
    return {"String": pattern}


def replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": string(pattern), "content": content}


def sequence(inner: str, *parts: Any) -> dict[str, Any]:
    return {"type": "Sequence", inner: list(parts)}


def template(*single: str) -> dict[str, Any]:
    pieces = [{"Sequence": {"id": each, "type_id": 0}} for each in single]
    return {"type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": {}}


DOUBLE = replace("a", "aa")
REFUSED = {  # section: part, what the message names
    "empty pattern": ("normalizer", replace("", LONG), "normalizer Replace"),
    "long content": ("normalizer", replace("a", LONG), "100000 times as long"),
    "a chain": ("normalizer", sequence("normalizers", *[DOUBLE] * 15), "times as long"),
    "chains in chains": (
        "normalizer",
        sequence("normalizers", *[sequence("normalizers", DOUBLE, DOUBLE)] * 40),
        "times as long",
    ),
    "many parts": (
        "normalizer",
        sequence(
            "normalizers", *[{"type": "Strip", "strip_left": True, "strip_right": True}] * 5000
        ),
        "more than 16 parts",
    ),
    "a long beginning": ("normalizer", {"type": "Prepend", "prepend": LONG}, "before a text"),
    "a table of its own": (
        "normalizer",
        {"type": "Precompiled", "precompiled_charsmap": ""},
        "Precompiled",
    ),
    "an unknown normalizer": ("normalizer", {"type": "Append", "append": LONG}, "Append"),
    "bytes of bytes": (
        "pre_tokenizer",
        sequence(
            "pretokenizers",
            *[
                {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                }
            ]
            * 12,
        ),
        "times as long",
    ),
    "a costly pattern": (
        "pre_tokenizer",
        {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False},
        "(a+)+b",
    ),
    "decoding to more": ("decoder", replace("a", LONG), "decoder Replace"),
    "decoding between characters": ("decoder", {"type": "BPEDecoder", "suffix": ""}, "suffix"),
    "decoding of sounds": (
        "decoder",
        {"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": True},
        "decoder CTC",
    ),
    "a text many times": ("post_processor", template(*"A" * 1000), "at most 16 pieces"),
    "a text twice": ("post_processor", template("A", "A"), "each text once"),
    "no list": ("post_processor", 7, "post_processor None"),
}


def write(folder: Path, **sections: Any) -> Path:
    """A folder with a byte-level tokenizer whose sections are replaced; `model` is updated."""
    folder.mkdir(exist_ok=True)
    tokenizer = json.loads(BPETokenizer.train([TEXT], vocab_size=270).backend.to_str())
    tokenizer["model"].update(sections.pop("model", {}))
    (folder / TOKENIZER_FILE).write_text(json.dumps({**tokenizer, **sections}))
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_steps_that_multiply_a_text_are_refused_by_name(case: str, tmp_path: Path) -> None:
    section, part, named = REFUSED[case]
    folder = write(tmp_path / "theirs", **{section: part})
    for read in (Tokenizer.load, read_foreign):
        with pytest.raises(UsageError, match=re.escape(named)) as caught:
            read(folder)
        assert f"refused in {folder / TOKENIZER_FILE}" in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_manifest_and_a_run_do_not_make_them_known(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tokenizer given to train, and one in a run from elsewhere with its checksums in order."""
    folder = write(workspace / "theirs", normalizer=replace("", LONG))
    arguments = ("train", "--data", "reviews", "--tokenizer", "theirs")
    assert in_process(*arguments, cwd=workspace, check=False) == 2
    assert "normalizer Replace refused in" in capsys.readouterr().err
    assert {path.name for path in (workspace / "runs").iterdir()} == {"tiny"}
    own = workspace / "runs" / "tiny" / "tokenizer"
    (own / TOKENIZER_FILE).write_bytes((folder / TOKENIZER_FILE).read_bytes())
    write_manifest(own, [TOKENIZER_FILE, CONFIG_FILE], {})
    with pytest.raises(UsageError, match="normalizer Replace refused in"):
        Tokenizer.load(own)
    assert in_process("generate", "--run", "tiny", cwd=workspace, check=False) == 2
    message = capsys.readouterr().err
    assert "tokenizer" in message and "Traceback" not in message


def test_a_hundred_thousand_empty_steps_take_linear_time(tmp_path: Path) -> None:
    empty = sequence("normalizers")
    steps = sequence("normalizers", *[empty] * 100_000)
    with pytest.raises(UsageError, match="more than 16 parts"):
        check_parts(
            {"normalizer": sequence("normalizers", steps, *[{"type": "Nmt"}] * 17)}, tmp_path
        )


def test_models_that_are_random_or_slow_are_refused(tmp_path: Path) -> None:
    for named, model in {
        "dropout": {"dropout": 0.5},
        "continuing_subword_prefix": {"continuing_subword_prefix": LONG},
        "max_input_chars_per_word": {"max_input_chars_per_word": 10**9},
        "not one of the known models": {"type": "Other"},
    }.items():
        folder = write(tmp_path, model=model)
        with pytest.raises(UsageError, match=f"refused in {folder / TOKENIZER_FILE}.*"):
            Tokenizer.load(folder)
        with pytest.raises(UsageError, match=named):
            Tokenizer.load(folder)


def test_ids_with_holes_are_refused_wherever_a_tokenizer_is_read(tmp_path: Path) -> None:
    model = {"vocab": {"a": 0, "b": 300}, "merges": []}
    folder = write(tmp_path, model=model, added_tokens=[])
    for read in (Tokenizer.load, read_foreign):
        with pytest.raises(UsageError, match=r"2 ids up to 300\. Renumber"):
            read(folder)


def known() -> dict[str, Backend]:
    """Pipelines of well-known tokenizers, with parts that are not of ours."""
    from tokenizers import Regex

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    pipelines: dict[str, tuple[Any, Any, Any, Any]] = {
        "GPT-2": (
            None,
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
            processors.ByteLevel(trim_offsets=False),
        ),
        "BERT": (
            normalizers.BertNormalizer(),
            pre_tokenizers.BertPreTokenizer(),
            decoders.WordPiece(),
            None,
        ),
        "ALBERT": (
            normalizers.Sequence(
                [
                    normalizers.Replace("``", '"'),
                    normalizers.NFKD(),
                    normalizers.StripAccents(),
                    normalizers.Lowercase(),
                ]
            ),
            pre_tokenizers.Metaspace(),
            decoders.Metaspace(),
            None,
        ),
        "Llama 2": (
            normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
            None,
            decoders.Sequence(
                [
                    decoders.Replace("▁", " "),
                    decoders.ByteFallback(),
                    decoders.Fuse(),
                    decoders.Strip(" ", 1, 0),
                ]
            ),
            None,
        ),
    }
    for name, pattern in {"GPT-4": GPT4_PATTERN, "Qwen2": QWEN2_PATTERN}.items():
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        cut = pre_tokenizers.Sequence([split, byte_level])
        pipelines[name] = (normalizers.NFC(), cut, decoders.ByteLevel(), None)
    found = {}
    alphabet = {c: i for i, c in enumerate(sorted({*pre_tokenizers.ByteLevel.alphabet(), "▁"}))}
    for name, (normalizer, pre_tokenizer, decoder, post_processor) in pipelines.items():
        backend = Backend(models.BPE(alphabet, []))
        if normalizer is not None:
            backend.normalizer = normalizer
        if pre_tokenizer is not None:
            backend.pre_tokenizer = pre_tokenizer
        if post_processor is not None:
            backend.post_processor = post_processor
        backend.decoder = decoder
        found[name] = backend
    return found


def test_pipelines_of_well_known_tokenizers_are_read(tmp_path: Path) -> None:
    for name, backend in known().items():
        backend.save(str(tmp_path / TOKENIZER_FILE))
        loaded = Tokenizer.load(tmp_path)
        expected = backend.encode(TEXT, add_special_tokens=False).ids
        assert loaded.encode(TEXT) == expected, name
        assert loaded.decode(expected) == backend.decode(expected), name
    text = "don't 12345 stop\r\n\n  x"
    for pattern in (GPT2_PATTERN, GPT4_PATTERN, QWEN2_PATTERN):
        from tokenizers import Regex

        pieces = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
        assert "".join(piece for piece, _ in pieces) == text


def test_the_growth_that_is_admitted_is_the_growth_that_is_seen() -> None:
    """The longest known outputs: each admitted step stays within the figure of the table."""
    from gpt_tf.tokenizer.parts import GROWTH

    steps = {
        "Lowercase": ("İ", normalizers.Lowercase()),
        "NFC": ("\U0001d160", normalizers.NFC()),
        "NFD": ("ΐ", normalizers.NFD()),
        "NFKC": ("ﷺ", normalizers.NFKC()),
        "NFKD": ("ﷺ", normalizers.NFKD()),
        "BertNormalizer": ("你", normalizers.BertNormalizer()),
        "ByteLevel": (" ", normalizers.ByteLevel()),
        "Nmt": ("\u200d", normalizers.Nmt()),
    }
    for name, (character, step) in steps.items():
        text = character * 100
        grown = len(step.normalize_str(text).encode()) / len(text.encode())
        assert grown <= GROWTH["normalizer"][name], name
    worst = max(
        len(normalizers.NFKD().normalize_str(chr(c)).encode()) / len(chr(c).encode())
        for c in (*range(0x3000), *range(0xF900, 0x10000), *range(0x1D000, 0x1F200))
    )
    assert 10 < worst <= GROWTH["normalizer"]["NFKD"] < MOST_GROWTH
