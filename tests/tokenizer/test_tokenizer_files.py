"""A tokenizer on disk: the same ids after loading, never a damaged one, never half of one."""

import json
import random
import shutil
from pathlib import Path

import pytest
from commands import called
from tokenizers import models

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.manifest import MANIFEST, read_manifest, write_manifest
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.files import CONFIG_FILE, TOKENIZER_FILE, copy_tokenizer, tokenizer_sha256
from gpt_tf.tokenizer.kinds import train
from gpt_tf.tokenizer.wordpiece import WordPieceTokenizer

CORPUS = ["This movie is good. It isn't bad, is it?", "The acting's bad; the MUSIC is good!"] * 3
TEXTS = [
    *CORPUS,
    "",
    "\n\n",
    "Ünïcode 👩‍👩‍👧 \x85\r\0",
    "<|endoftext|>[PAD] [UNK]",
    "  two  blanks ",
]
OPTIONS = [
    {"lower_case": low, "remove_punctuation": out} for low in (False, True) for out in (False, True)
]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    directory = tmp_path / "tokenizer"
    BPETokenizer.train(CORPUS, vocab_size=290).save(directory)
    return directory


@pytest.fixture(params=OPTIONS, ids=lambda options: "+".join(k for k in options if options[k]))
def options(request: pytest.FixtureRequest) -> dict[str, bool]:
    return dict(request.param)


@pytest.fixture(
    params=[("bpe", "fail"), ("wordpiece", "fail"), ("char", "fail"), ("char", "replace")],
    ids="-".join,
)
def trained(request: pytest.FixtureRequest, options: dict[str, bool]) -> Tokenizer:
    kind, unknown = request.param
    return train(kind, iter(TEXTS), vocab_size=290, unknown_characters=unknown, **options)


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    roles = {
        "eos": tokenizer.eot_id,
        "pad": tokenizer.pad_id,
        "unk": tokenizer.unk_id,
        "bos": tokenizer.bos_id,
    }
    return {role: number for role, number in roles.items() if number is not None}


def test_ids_are_the_same_after_save_and_load(tmp_path, trained):
    before = trained.encode_batch(TEXTS)
    texts = [trained.decode(ids) for ids in before]
    if not isinstance(trained, WordPieceTokenizer):  # which keeps no blanks
        assert texts == [trained.normalize(text) for text in TEXTS]
    sizes = trained.token_bytes()
    trained.save(tmp_path / "new" / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "new" / "tokenizer")
    for one in (trained, loaded):  # saving changes nothing either
        assert one.encode_batch(TEXTS) == before == [one.encode(text) for text in TEXTS]
        assert [one.decode(ids) for ids in before] == texts
        assert [one.normalize(text) for text in TEXTS] == [trained.normalize(t) for t in TEXTS]
        assert one.token_bytes().tolist() == sizes.tolist() and len(sizes) == one.vocab_size
        assert special_ids(one) == special_ids(trained)
    loaded.save(tmp_path / "again")
    for name in (TOKENIZER_FILE, CONFIG_FILE, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (
            tmp_path / "new" / "tokenizer" / name
        ).read_bytes()


@pytest.mark.parametrize(
    ("kind", "unknown", "model", "ids"),
    [
        ("bpe", "fail", models.BPE, {"eos": 0, "pad": 1}),
        ("wordpiece", "fail", models.WordPiece, {"pad": 0, "unk": 1, "bos": 2}),
        ("char", "fail", models.WordLevel, {}),
        ("char", "replace", models.WordLevel, {"unk": 16}),  # after 15 letters and the blank
    ],
)
def test_each_kind_has_its_model_and_special_tokens(kind, unknown, model, ids):
    tokenizer = train(
        kind,
        CORPUS,
        vocab_size=290,
        unknown_characters=unknown,
        lower_case=True,
        remove_punctuation=True,
    )
    assert isinstance(tokenizer.backend.model, model)
    assert special_ids(tokenizer) == ids
    assert tokenizer.control_ids == {number for role, number in ids.items() if role != "eos"}
    assert not tokenizer.token_bytes()[list(ids.values())].any()
    assert tokenizer.normalize("It's GOOD!") == "it s good "


def test_control_strings_in_a_text_are_ordinary_text(trained):
    for text in TEXTS:  # each character of which is known
        assert not set(special_ids(trained).values()) & set(trained.encode(text))


def test_a_loaded_tokenizer_has_the_class_that_was_asked_for(saved):
    assert type(Tokenizer.load(saved)) is Tokenizer
    assert type(BPETokenizer.load(saved)) is BPETokenizer


def test_transformers_loads_it_with_the_same_ids(tmp_path, trained):
    from transformers import AutoTokenizer

    trained.save(tmp_path / "tokenizer")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in TEXTS:
        if "[PAD]" not in text:
            ids = trained.encode(text)
            assert theirs.encode(text) == ids
            assert theirs.decode(ids, skip_special_tokens=True) == trained.decode(ids)
    for role in ("eos", "pad", "unk", "bos"):
        assert getattr(theirs, f"{role}_token_id") == special_ids(trained).get(role)
    # as documented: theirs reads control strings in text as control tokens, ours never does
    control = [token for role, token in trained.special_tokens.items() if role != "unk"]
    numbers = [trained.token_to_id(token) for token in control]
    assert theirs.encode("".join(control)) == numbers
    if control:
        assert not set(numbers) & set(trained.encode("<|endoftext|>[PAD]"))


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (["--vocab-size", "270"], "BPE"),
        (["--vocab-size", "270", "--kind", "wordpiece"], "WordPiece"),
        (["--set", "tokenizer.kind=wordpiece", "--kind", "char"], "WordLevel"),
    ],
)
def test_the_command_trains_the_kind_that_is_asked_for(tmp_path, arguments, model):
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(CORPUS[number % 2])
    result = called("train-tokenizer", "texts", "--output", "new", *arguments, cwd=tmp_path)
    backend = json.loads((tmp_path / "new" / TOKENIZER_FILE).read_text())
    assert backend["model"].get("type") == model
    assert f"{Tokenizer.load(tmp_path / 'new').vocab_size} entries" in result.stdout
    assert ("no more pairs" in result.stderr) == (model == "WordPiece")


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


def test_only_a_tokenizers_own_files_are_copied(saved, tmp_path):  # N18
    for name in ("model.safetensors", ".env", "README.md", "special_tokens_map.json.bak"):
        (saved / name).write_text("a secret")
    (saved / "checkpoints").mkdir()
    copy_tokenizer(saved, tmp_path / "copy")
    names = {TOKENIZER_FILE, CONFIG_FILE, MANIFEST}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == names
    for name in names:  # the manifest, too, is what was written at first
        assert (tmp_path / "copy" / name).read_bytes() == (saved / name).read_bytes()


def test_a_kind_of_tokenizer_loads_no_other(saved):
    BPETokenizer.load(saved)
    with pytest.raises(UsageError, match=r"no WordPieceTokenizer in .*: its model is BPE\. Load"):
        WordPieceTokenizer.load(saved)


def test_files_of_two_tokenizers_are_never_copied_together(saved, tmp_path):
    """As if another were put in its place between the copies of the files and the look at them."""
    other = tmp_path / "other"
    BPETokenizer.train(["other text"], vocab_size=260).save(other)
    (other / MANIFEST).replace(saved / MANIFEST)
    with pytest.raises(UsageError, match=r"tokenizer replaced while it was read: .* Try again\."):
        copy_tokenizer(saved, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("with_manifest", [True, False])
def test_a_tokenizer_beside_weights_is_copied_and_described_alone(saved, tmp_path, with_manifest):
    """N18: as an export of gpt-tf, or a folder of the Hub, whose files are links."""
    (saved / "blobs").mkdir()
    (saved / TOKENIZER_FILE).rename(saved / "blobs" / "0")
    (saved / TOKENIZER_FILE).symlink_to("blobs/0")
    (saved / "special_tokens_map.json").write_text("{}")
    (saved / "model.safetensors").write_text("weights")
    (saved / MANIFEST).unlink()
    if with_manifest:
        everything = [TOKENIZER_FILE, CONFIG_FILE, "model.safetensors", "special_tokens_map.json"]
        write_manifest(saved, everything, {"format": "hf"})
        (saved / "model.safetensors").write_text("other weights, which nobody asked for")
    before = Tokenizer.load(saved)
    copy_tokenizer(saved, tmp_path / "copy")
    manifest = read_manifest(tmp_path / "copy")
    assert [*manifest["files"]] == ["special_tokens_map.json", TOKENIZER_FILE, CONFIG_FILE]
    assert manifest["vocab_size"] == before.vocab_size and "format" not in manifest
    assert not (tmp_path / "copy" / TOKENIZER_FILE).is_symlink()
    assert Tokenizer.load(tmp_path / "copy").encode("good") == before.encode("good")
    (tmp_path / "copy" / TOKENIZER_FILE).write_text("{}")
    with pytest.raises(RunError, match="damaged file"):
        Tokenizer.load(tmp_path / "copy")


def test_a_run_that_holds_more_than_its_tokenizer_still_loads(saved):
    """N18: runs of earlier versions copied the whole folder."""
    (saved / "model.safetensors").write_text("weights")
    write_manifest(saved, [TOKENIZER_FILE, CONFIG_FILE, "model.safetensors"], {"format": "hf"})
    (saved / "model.safetensors").unlink()
    assert Tokenizer.load(saved).vocab_size == 290


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
    write_manifest(saved, ["../other.json"], {})
    with pytest.raises(RunError, match="is not a name below"):
        Tokenizer.load(saved)


def test_a_file_that_is_no_tokenizer_is_refused_behind_a_good_manifest(saved):
    (saved / TOKENIZER_FILE).write_text('{"version": "1.0"}')
    write_manifest(saved, [TOKENIZER_FILE, CONFIG_FILE], {})
    with pytest.raises(RunError, match=f"damaged tokenizer in .*{TOKENIZER_FILE}"):
        Tokenizer.load(saved)
