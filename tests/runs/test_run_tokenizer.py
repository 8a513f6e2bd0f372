"""The settings of a run agree with what its tokenizer does, wherever the tokenizer is from."""

import string
from pathlib import Path

import pytest
from commands import in_process
from hugging_face_folders import write_folder, write_json

from gpt_tf.cli import console
from gpt_tf.config import Config
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.interop.importing import read_folder
from gpt_tf.runs.run_tokenizer import as_followed, write_tokenizer
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.char import CharTokenizer
from gpt_tf.tokenizer.cleaned import cleaned, settings_of
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.tokenizer.kinds import train

TEXT = "The CAT sees, and The Dog doesn't! Ünï 42 <Name>"
CLEANING = [(low, out) for low in (False, True) for out in (False, True)]
BIGRAM = ["--stop-at-step", "1", "--set", "training.xla=off"]


def made(kind: str, lower_case: bool, remove_punctuation: bool) -> Tokenizer:
    texts = [TEXT, TEXT.lower(), string.punctuation, " "]
    return train(
        kind,
        texts,
        vocab_size=300,
        lower_case=lower_case,
        remove_punctuation=remove_punctuation,
        unknown_characters="fail",
    )


def settings(**changes: object) -> Config:
    return resolve({"tokenizer": changes})


@pytest.fixture
def not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are put together and written, and their training loop ends at once."""
    from gpt_tf.runs import assemble
    from gpt_tf.runs.claiming import Claim
    from gpt_tf.training.loop import Outcome

    def begun(job: object, claim: Claim, parts: object) -> tuple[RunDirectory, Outcome]:
        claim.begin()
        return claim.run, Outcome(0, "", None)

    monkeypatch.setattr(assemble, "run_training", begun)


def write_berts(folder: Path, *, lower_case: bool) -> None:
    """BERT's files of a tokenizer with words in lower case; ids 0 to 2 are of no word."""
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "the", "cat", "w", "##s"]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    options = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower_case}
    write_json(folder / "tokenizer_config.json", options)


def stored(workspace: Path, run: str) -> dict:
    return dict(read_config_file(workspace / "runs" / run / "config.yaml")["tokenizer"])


@pytest.mark.parametrize("asked", CLEANING, ids=str)
@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "char"])
def test_a_run_cleans_as_asked_for_and_its_settings_say_what_is_done(
    kind: str, asked: tuple[bool, bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings(lower_case=asked[0], remove_punctuation=asked[1])
    for number, does in enumerate(CLEANING):
        made(kind, *does).save(tmp_path / f"{number}")
        capsys.readouterr()
        copy = tmp_path / f"run {number}"
        found = write_tokenizer(config, tmp_path / f"{number}", copy, console)
        followed = as_followed(config, found, console).tokenizer
        lower, plain = (a or d for a, d in zip(asked, does, strict=True))
        assert (followed.kind, followed.lower_case, followed.remove_punctuation) == (
            kind,
            lower,
            plain,
        )
        expected = made(kind, lower, plain).normalize(TEXT)
        assert found.normalize(TEXT) == expected
        assert Tokenizer.load(copy).encode(TEXT) == found.encode(TEXT)
        changed = (lower, plain) != does
        assert changed == (tokenizer_sha256(copy) != tokenizer_sha256(tmp_path / f"{number}"))
        said = capsys.readouterr().err
        assert changed == ("the run's copy of the tokenizer cleans text first" in said)
        assert ("is true in this run" in said) == ((lower, plain) != asked)


def test_cleaning_keeps_entries_added_tokens_and_steps_of_its_own() -> None:
    from tokenizers import AddedToken, normalizers

    tokenizer = made("bpe", False, False)
    tokenizer.backend.normalizer = normalizers.Replace("q", "kw")
    tokenizer.backend.add_tokens([AddedToken("<Name>", normalized=True, lstrip=True)])
    changed = cleaned(tokenizer, lower_case=True, remove_punctuation=False)
    assert changed.backend.get_vocab() == tokenizer.backend.get_vocab()
    assert changed.normalize("The QUEEN") == "the kwueen"
    name = tokenizer.token_to_id("<Name>")
    assert name in changed.encode("a <NAME>") and name in tokenizer.encode("a <Name>")
    assert changed.special_tokens == tokenizer.special_tokens
    assert tokenizer.normalize("The QUEEN") == "The QUEEN"  # the original is as it was


def test_a_ready_tokenizer_with_settings_that_clean_trains_on_clean_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("The CAT sees The Dog, and A Bird! " * 60)
    made("bpe", False, False).save(tmp_path / "ready")
    before = (tmp_path / "ready" / "tokenizer.json").read_bytes()
    lower = ("--set", "tokenizer.lower_case=true", "--set", "tokenizer.remove_punctuation=true")
    in_process(
        "train",
        "--preset",
        "bigram",
        "--data",
        "texts.txt",
        "--tokenizer",
        "ready",
        "--name",
        "clean",
        *lower,
        *BIGRAM,
        cwd=tmp_path,
    )
    assert "tokenizer.lower_case and tokenizer.remove_punctuation ask" in capsys.readouterr().err
    assert (tmp_path / "ready" / "tokenizer.json").read_bytes() == before
    copy = Tokenizer.load(tmp_path / "runs" / "clean" / "tokenizer")
    assert copy.normalize("The CAT!") == "the cat "
    assert stored(tmp_path, "clean")["lower_case"] is True
    in_process(
        "generate", "--run", "clean", "--prompt", "THE CAT!", "--max-new-tokens", "2", cwd=tmp_path
    )
    assert capsys.readouterr().out.startswith("THE CAT!")


def test_a_tokenizer_that_is_replaced_while_the_data_are_tokenized_leaves_the_run_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpt_tf.runs import assemble

    (tmp_path / "texts.txt").write_text("The CAT sees The Dog, and A Bird! " * 60)
    made("bpe", False, False).save(tmp_path / "ready")
    streams = assemble.Streams

    def replaced(*arguments: object) -> object:
        made("char", False, False).save(tmp_path / "ready", overwrite=True)
        return streams(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(assemble, "Streams", replaced)
    in_process(
        "train",
        "--preset",
        "bigram",
        "--data",
        "texts.txt",
        "--tokenizer",
        "ready",
        "--name",
        "whole",
        *BIGRAM,
        cwd=tmp_path,
    )
    assert settings_of(Tokenizer.load(tmp_path / "runs" / "whole" / "tokenizer"))["kind"] == "bpe"
    capsys.readouterr()
    in_process(
        "generate", "--run", "whole", "--prompt", "The", "--max-new-tokens", "2", cwd=tmp_path
    )
    assert capsys.readouterr().out.startswith("The")


def test_fine_tuning_says_what_its_tokenizer_does_and_cleans_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], not_trained: None
) -> None:
    (tmp_path / "texts.txt").write_text("w0 W1 w5 W7\n" * 40)
    folder = write_folder(tmp_path / "theirs", GPT2)
    in_process("import", str(folder), "--name", "words", cwd=tmp_path)
    arguments = (
        "train",
        "--from",
        "words",
        "--data",
        "texts.txt",
        "--set",
        "training.batch_size=2",
    )
    assert in_process(*arguments, "--name", "cased", cwd=tmp_path, check=False) == 2  # W1 unseen
    in_process(*arguments, "--name", "lower", "--set", "tokenizer.lower_case=true", cwd=tmp_path)
    copy = tmp_path / "runs" / "lower" / "tokenizer"
    assert Tokenizer.load(copy).encode("W1") == [4]
    assert stored(tmp_path, "lower")["lower_case"] is True
    assert stored(tmp_path, "words")["lower_case"] is False
    # a tokenizer that cleans goes on doing so, whatever the settings ask for, and they say so
    write_berts(folder, lower_case=True)
    in_process("import", str(folder), "--name", "bert", cwd=tmp_path)
    arguments = ("train", "--from", "bert", *arguments[3:], "--set", "tokenizer.lower_case=false")
    capsys.readouterr()
    in_process(*arguments, "--name", "again", cwd=tmp_path)
    assert "tokenizer.lower_case is true in this run" in capsys.readouterr().err
    assert stored(tmp_path, "again")["lower_case"] is True


def test_an_imported_runs_settings_say_what_its_tokenizer_does(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "theirs", GPT2)
    for lower in (True, False):
        write_berts(folder, lower_case=lower)
        config = read_folder(folder).config
        assert (config.tokenizer.kind, config.tokenizer.lower_case) == ("wordpiece", lower)


def test_a_corpus_tokenizer_made_with_other_settings_is_described_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], not_trained: None
) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(12):
        (tmp_path / "texts" / f"{number}.txt").write_text("The CAT sees the dog. " * (20 + number))
    in_process("train-tokenizer", "texts", "--kind", "char", "--lower-case", cwd=tmp_path)
    in_process("train", "--data", "texts", "--name", "one", cwd=tmp_path)
    said = capsys.readouterr().err
    assert "tokenizer.lower_case is true in this run" in said
    assert "tokenizer.kind is char in this run" in said
    kept = stored(tmp_path, "one")
    assert (kept["kind"], kept["lower_case"], kept["remove_punctuation"]) == ("char", True, False)


def test_text_that_a_vocabulary_does_not_cover_is_told_with_its_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], not_trained: None
) -> None:
    (tmp_path / "known.txt").write_text("the cat sees the dog\n" * 40)
    (tmp_path / "other.txt").write_text("ελα cat\n" * 400)
    for kind in ("wordpiece", "bpe"):
        in_process(
            "train-tokenizer",
            "known.txt",
            "--kind",
            kind,
            "--vocab-size",
            "300",
            "--output",
            kind,
            cwd=tmp_path,
        )
    for kind, data, warnings in (
        ("bpe", "other", 0),
        ("wordpiece", "known", 0),
        ("wordpiece", "other", 1),
    ):
        capsys.readouterr()
        in_process(
            "train",
            "--data",
            f"{data}.txt",
            "--tokenizer",
            kind,
            "--set",
            "training.batch_size=2",
            cwd=tmp_path,
        )
        said = capsys.readouterr().err
        assert said.count("% of the tokens are [UNK]") == warnings
    assert "Train one with `gpt-tf train-tokenizer other.txt`, and leave --tokenizer out." in said


def test_what_a_tokenizer_does_is_told_from_what_it_gives() -> None:
    from tokenizers import normalizers

    for name, step, lower, plain in [
        ("BERT", normalizers.BertNormalizer(lowercase=True), True, False),
        ("none", normalizers.NFC(), False, False),
        ("chain", normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), True, False),
        (
            "prepend",
            normalizers.Sequence([normalizers.Prepend("_"), normalizers.Lowercase()]),
            True,
            False,
        ),
    ]:
        tokenizer = CharTokenizer.train([TEXT])
        tokenizer.backend.normalizer = step
        found = settings_of(tokenizer)
        assert (found["lower_case"], found["remove_punctuation"]) == (lower, plain), name
