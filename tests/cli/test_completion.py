"""`gpt-tf completion`: a real bash completes commands, options, runs, presets and settings."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import called, gpt_tf

# What bash does when Tab is pressed after some words; the function is that of the script.
TAB = """
eval "$(gpt-tf completion bash)" 2>/dev/null
while read -r line; do
    COMP_WORDS=($line); [ "${line: -1}" = _ ] && COMP_WORDS[-1]=""
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
    _gpt_tf_completion gpt-tf 2>/dev/null
    echo "${COMPREPLY[*]}"
done
"""
# What is typed, where _ is a word that is not begun, and what bash offers.
TYPED = {
    "gpt-tf tr": "train-tokenizer train",
    "gpt-tf train --pre": "--preset",
    "gpt-tf train --preset kerasnlp-m": "kerasnlp-mini",
    "gpt-tf train --set training.pa": "training.patience",
    "gpt-tf settings model.d": "model.dropout model.dropout.embedding "
    "model.dropout.block_input model.dropout.attention_weights model.dropout.attention_output "
    "model.dropout.ffn_hidden model.dropout.ffn_output model.dropout.head",
    "gpt-tf --workspace there doctor _": "tiny",
    "gpt-tf generate --workspace there --run ti": "tiny",
    "gpt-tf prepare t": "tinyshakespeare",
    "gpt-tf show _": "",
    "gpt-tf show --workspace ~ _": "tiny",
    "gpt-tf show --workspace ~/nowhere _": "",
}
# Runs that somebody else named: the shell would take these words apart, or run them.
FOREIGN = [b"zz;touch OWNED", b"$(touch OWNED)", b"`touch OWNED`", b"sp ace", b"*", b"new\nline",
           b"back\\slash", b"b\xffd", b"-option"]  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_a_real_bash_completes(trained_workspace: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "gpt-tf"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpt_tf "$@"\n')
    program.chmod(0o755)
    (tmp_path / "there").symlink_to(trained_workspace)
    result = subprocess.run(
        ["bash", "-c", TAB],
        input="".join(f"{line}\n" for line in TYPED),
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(trained_workspace),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert dict(zip(TYPED, result.stdout.splitlines(), strict=True)) == TYPED


def test_a_run_whose_name_a_shell_would_not_take_as_it_is_is_not_offered(
    trained_workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    for name in [*FOREIGN, b"tiny"]:
        place = tmp_path / "runs" / os.fsdecode(name)
        place.symlink_to(trained_workspace / "runs" / "tiny")
    asked = {"_GPT_TF_COMPLETE": "bash_complete", "COMP_WORDS": "gpt-tf show ", "COMP_CWORD": "2"}
    assert gpt_tf(cwd=tmp_path, **asked).stdout == "plain,tiny\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_each_shell_has_its_script(shell: str, tmp_path: Path) -> None:
    script = called("completion", shell, cwd=tmp_path).stdout
    assert f"_GPT_TF_COMPLETE={shell}_complete" in script and "gpt-tf" in script
