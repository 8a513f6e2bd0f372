"""A tokenizer on disk: the same ids after loading, never a damaged one, never half of one."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import kill_while_saving
import pytest

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.manifest import MANIFEST, write_manifest
from gpt_tf.tokenizer.base import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    Tokenizer,
    copy_tokenizer,
    tokenizer_sha256,
)
from gpt_tf.tokenizer.bpe import BPETokenizer

CORPUS = ["This movie is good. It isn't bad, is it?", "The acting's bad; the MUSIC is good!"] * 3
TEXTS = [
    *CORPUS,
    "",
    "\n\n",
    "Ünïcode 👩‍👩‍👧 \x85\r\0",
    "<|endoftext|>[PAD] [UNK]",
    "  two  blanks ",
]
OPTIONS = [{"lower_case": low, "remove_punctuation": out} for low in (0, 1) for out in (0, 1)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "tokenizer"
    BPETokenizer.train(CORPUS, vocab_size=290).save(directory)
    return directory


@pytest.mark.parametrize("options", OPTIONS)
def test_ids_are_the_same_after_save_and_load(tmp_path, options):
    tokenizer = BPETokenizer.train(CORPUS, vocab_size=290, **options)
    before = tokenizer.encode_batch(TEXTS)
    tokenizer.save(tmp_path / "new" / "tokenizer")
    loaded = BPETokenizer.load(tmp_path / "new" / "tokenizer")
    assert type(loaded) is BPETokenizer
    for one in (tokenizer, loaded):  # saving changes nothing either
        assert one.encode_batch(TEXTS) == before == [one.encode(text) for text in TEXTS]
        assert [one.decode(ids) for ids in before] == [one.normalize(text) for text in TEXTS]
        assert (one.eot_id, one.pad_id, one.bos_id, one.unk_id) == (0, 1, None, None)
    loaded.save(tmp_path / "again")
    for name in (TOKENIZER_FILE, CONFIG_FILE, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (
            tmp_path / "new" / "tokenizer" / name
        ).read_bytes()


@pytest.mark.parametrize("options", OPTIONS)
def test_transformers_loads_it_with_the_same_ids(tmp_path, options):
    from transformers import AutoTokenizer

    tokenizer = BPETokenizer.train(CORPUS, vocab_size=290, **options)
    tokenizer.save(tmp_path / "tokenizer")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in TEXTS:
        if "<|" not in text:
            assert theirs.encode(text) == tokenizer.encode(text)
            assert theirs.decode(theirs.encode(text)) == tokenizer.normalize(text)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (0, 1)
    assert theirs.bos_token is theirs.unk_token is None
    # as documented: theirs reads control strings in text as control tokens, ours never does
    assert theirs.encode("<|endoftext|>[PAD]") == [0, 1]
    assert not {0, 1} & set(tokenizer.encode("<|endoftext|>[PAD]"))


def test_the_files_name_a_class_that_every_transformers_knows(saved):
    config = json.loads((saved / CONFIG_FILE).read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    manifest = json.loads((saved / MANIFEST).read_text())
    assert manifest["vocab_size"] == Tokenizer.load(saved).vocab_size
    assert {*manifest["files"], MANIFEST} == {path.name for path in saved.iterdir()}
    assert manifest["files"][TOKENIZER_FILE]["sha256"] == tokenizer_sha256(saved)


def test_a_copy_is_the_same_tokenizer(saved, tmp_path):
    copy_tokenizer(saved, tmp_path / "run" / "tokenizer")
    assert tokenizer_sha256(tmp_path / "run" / "tokenizer") == tokenizer_sha256(saved)
    assert Tokenizer.load(tmp_path / "run" / "tokenizer").encode("good") == (
        Tokenizer.load(saved).encode("good")
    )


# Damage


@pytest.mark.parametrize("with_manifest", [True, False])
@pytest.mark.parametrize("name", [TOKENIZER_FILE, CONFIG_FILE])
@pytest.mark.parametrize("content", ["", "{", "[1]", "7", "{}", None], ids=repr)
def test_a_damaged_file_is_refused_by_name(saved, with_manifest, name, content):
    path = saved / name
    path.write_text(path.read_text()[:-9] if content is None else content)
    if not with_manifest:
        (saved / MANIFEST).unlink()
        if (name, content) == (CONFIG_FILE, "{}"):  # a folder without special tokens
            assert Tokenizer.load(saved).eot_id is None
            return
    with pytest.raises(RunError, match=rf"^damaged .*{name}: ") as error:
        Tokenizer.load(saved)
    assert error.value.exit_code == 1


def test_no_flipped_bit_gives_another_tokenizer(saved):
    ids = Tokenizer.load(saved).encode_batch(TEXTS)
    choose = random.Random(1)
    for name in (TOKENIZER_FILE, CONFIG_FILE, MANIFEST):
        path = saved / name
        intact = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(intact)
            damaged[choose.randrange(len(damaged))] ^= 1 << choose.randrange(8)
            path.write_bytes(damaged)
            if name == MANIFEST:  # a flip in what it does not check by may pass
                try:
                    assert Tokenizer.load(saved).encode_batch(TEXTS) == ids
                except RunError as error:
                    assert str(saved) in str(error)
            else:
                with pytest.raises(RunError, match=f"{name}: its SHA-256 is"):
                    Tokenizer.load(saved)
        path.write_bytes(intact)


def test_a_missing_file_is_refused(saved):
    (saved / CONFIG_FILE).unlink()
    with pytest.raises(RunError, match=f"cannot read .*{CONFIG_FILE}"):
        Tokenizer.load(saved)


def test_no_tokenizer_is_a_usage_error(tmp_path):
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"tokenizer.json is missing.*train-tokenizer"):
            Tokenizer.load(directory)


# Killed while saving


@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_killed_saving_leaves_the_old_tokenizer_or_the_new(tmp_path, way):
    result = subprocess.run(
        [sys.executable, kill_while_saving.__file__, tmp_path, way],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    loaded = json.loads(result.stdout)
    assert len(loaded) > 20
    assert sorted(loaded, reverse=True) == loaded and {*loaded} == {"old", "new"}


def test_a_failed_saving_leaves_the_old_tokenizer(saved, monkeypatch):
    def fail(directory, names, facts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt_tf.tokenizer.base.write_manifest", fail)
    with pytest.raises(OSError, match="No space"):
        BPETokenizer.train(["other"], vocab_size=260).save(saved)
    assert Tokenizer.load(saved).vocab_size == 290
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


# Folders from elsewhere


def imported(directory: Path, special_tokens: dict[str, object], *, added: tuple = ()) -> Tokenizer:
    """Load a folder as another project writes it, without our manifest."""
    backend = BPETokenizer.train(CORPUS, vocab_size=290).backend
    backend.add_special_tokens(list(added))
    backend.enable_truncation(4)
    backend.enable_padding(length=9)
    directory.mkdir()
    backend.save(str(directory / TOKENIZER_FILE))
    (directory / CONFIG_FILE).write_text(json.dumps(special_tokens))
    return Tokenizer.load(directory)


def test_a_folder_without_manifest_loads(tmp_path):
    tokenizer = imported(tmp_path / "ready", {"eos_token": {"content": "<|endoftext|>"}})
    ids = tokenizer.encode(CORPUS[0])
    assert tokenizer.decode(ids) == CORPUS[0]  # neither truncated nor padded
    assert tokenizer.encode_batch([CORPUS[0], "a"]) == [ids, [tokenizer.token_to_id("a")]]
    assert not {0, 1} & set(tokenizer.encode("<|endoftext|>[PAD]"))
    assert (tokenizer.eot_id, tokenizer.pad_id, tokenizer.bos_id) == (0, None, None)
    (tmp_path / "ready" / CONFIG_FILE).unlink()
    assert Tokenizer.load(tmp_path / "ready").special_tokens == {}


def test_roles_that_share_the_end_token_are_none(tmp_path):
    end = "<|endoftext|>"
    roles = {"eos_token": end, "bos_token": end, "pad_token": end, "unk_token": end}
    tokenizer = imported(tmp_path / "gpt2", roles)  # as GPT-2's
    assert (tokenizer.eot_id, tokenizer.pad_id, tokenizer.bos_id) == (0, None, None)
    assert tokenizer.control_ids == frozenset()  # the end token may be sampled: it ends the text


def test_every_role_has_an_id_and_all_but_the_end_are_control_tokens(tmp_path):
    roles = {"eos_token": "</s>", "bos_token": "<s>", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    tokenizer = imported(tmp_path / "all", roles, added=("<s>", "</s>", "[UNK]"))
    ids = (tokenizer.bos_id, tokenizer.eot_id, tokenizer.unk_id, tokenizer.pad_id)
    assert ids == (290, 291, 292, 1)
    assert tokenizer.control_ids == {290, 292, 1}
    assert tokenizer.vocab_size == 293


def test_a_special_token_that_has_no_id_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"not in the tokenizer's vocabulary: \[MASK\]"):
        imported(tmp_path / "odd", {"pad_token": "[MASK]"})


def test_a_manifest_cannot_point_outside(saved):
    shutil.copyfile(saved / TOKENIZER_FILE, saved.parent / "other.json")
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["files"]["../other.json"] = manifest["files"].pop(TOKENIZER_FILE)
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="no basename"):
        Tokenizer.load(saved)


def test_a_file_that_is_no_tokenizer_is_refused_behind_a_good_manifest(saved):
    (saved / TOKENIZER_FILE).write_text('{"version": "1.0"}')
    write_manifest(saved, [TOKENIZER_FILE, CONFIG_FILE], {})
    with pytest.raises(RunError, match=f"damaged tokenizer in .*{TOKENIZER_FILE}"):
        Tokenizer.load(saved)
