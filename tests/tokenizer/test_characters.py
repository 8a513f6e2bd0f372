"""Training on characters from the command line: what the vocabulary lacks, and what it does not."""

from pathlib import Path

from commands import BIGRAM_RUN, called

TEXT = "abc abd acd bcd\n" * 60
WORDS = ("train", "--preset", "shakespeare-baseline", "--data", "plain", "--validation-data", "odd")
PADDED = ("--set", "data.windows=padded", "--set", "sampling.prompt=Zebra", "--max-steps", "6")


def write(workspace: Path) -> None:
    for folder, text in (("plain", TEXT), ("odd", TEXT.replace("d", "≠"))):
        (workspace / folder).mkdir()
        for i in range(8):
            (workspace / folder / f"{i}.txt").write_text(text[i:])


def test_an_unknown_character_is_refused_before_the_first_step(tmp_path: Path) -> None:
    write(tmp_path)
    called("train-tokenizer", "plain", "--kind", "char", cwd=tmp_path)
    result = called(*WORDS, *BIGRAM_RUN, *PADDED, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert "'≠' (U+2260)" in result.stderr
    assert "tokenizer.unknown_characters=replace" in result.stderr
    assert "step" not in result.stderr.split("error:")[0]


def test_or_it_is_an_entry_of_its_own_where_asked(tmp_path: Path) -> None:
    write(tmp_path)
    replace = ("--set", "tokenizer.unknown_characters=replace")
    result = called(*WORDS, *BIGRAM_RUN, *PADDED, *replace, "--train-tokenizer", cwd=tmp_path)
    assert "step 6, all steps done" in result.stdout
    assert "sample texts have no prompt" not in result.stderr  # [UNK] stands for its letters
    text = called("generate", "--prompt", "", "--max-new-tokens", "8", cwd=tmp_path).stdout
    assert "[UNK]" not in text


def test_a_prompt_of_unknown_characters_costs_the_samples_only(tmp_path: Path) -> None:
    write(tmp_path)
    words = [word if word != "odd" else "plain/0.txt" for word in WORDS]
    result = called(*words, *BIGRAM_RUN, *PADDED, "--train-tokenizer", cwd=tmp_path)
    assert "sample texts have no prompt" in result.stderr
    assert "'Z' (U+005A)" in result.stderr
    assert "step 6, all steps done" in result.stdout
