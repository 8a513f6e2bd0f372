"""`gpt-tf export --format hf`: what stands in the folder, and what has no counterpart."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from commands import called, in_process
from tiny_models import preset_model, small_config

from gpt_tf.errors import UsageError
from gpt_tf.interop.model_config import FAMILIES, choose_family
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.storage.manifest import read_manifest, write_manifest
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.training.evaluation import METRICS


@pytest.fixture
def exported(trained_workspace: Path, tmp_path: Path) -> Path:
    """The tiny run as a folder of transformers."""
    in_process("export", "tiny", "--to", str(tmp_path / "hf"), cwd=trained_workspace)
    return tmp_path / "hf"


def test_the_manifest_has_the_sha256_of_every_file(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["run"] == "tiny" and manifest["format"] == "hf"
    files = {path.name: path for path in exported.iterdir() if path.name != "manifest.json"}
    assert (
        manifest["files"].keys()
        == files.keys()
        >= {
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "README.md",
        }
    )
    for name, path in files.items():
        assert manifest["files"][name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_weights_are_the_best_checkpoints(exported: Path, trained_workspace: Path) -> None:
    stored = find_run(trained_workspace, "tiny").checkpoints.best(weights_only=True).model
    found = safetensors.numpy.load_file(exported / "model.safetensors")
    assert sum(values.size for values in found.values()) == sum(v.size for v in stored.values())
    name = "block_0/attention/qkv/kernel"
    np.testing.assert_array_equal(found["transformer.h.0.attn.c_attn.weight"], stored[name])
    with safetensors.safe_open(exported / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}  # transformers 4 refuses a file without it


def test_config_and_tokenizer_agree(exported: Path, trained_workspace: Path) -> None:
    config, generation, tokenizer = (
        json.loads((exported / name).read_text())
        for name in ("config.json", "generation_config.json", "tokenizer_config.json")
    )
    ours = Tokenizer.load(trained_workspace / "runs" / "tiny" / "tokenizer")
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert (config["n_embd"], config["n_head"], config["vocab_size"]) == (32, 2, ours.vocab_size)
    assert config["eos_token_id"] == config["bos_token_id"] == ours.eot_id
    assert config["pad_token_id"] == generation["pad_token_id"] == ours.pad_id
    assert generation["suppress_tokens"] == [ours.pad_id]
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]


def test_the_model_card_has_the_figures_of_the_run(exported: Path, trained_workspace: Path) -> None:
    run = find_run(trained_workspace, "tiny")
    step = int(run.checkpoints.best_name().removeprefix("step-"))
    rows = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    loss = next(row["eval/loss"] for row in rows if row["step"] == step and "eval/loss" in row)
    card = (exported / "README.md").read_text()
    assert card.startswith("---\n") and "# tiny" in card
    assert f"| validation loss, nats per token | {loss:.4f} |" in card
    assert f"| steps trained | {step} |" in card
    assert all(f"| validation {metric.title} | " in card for metric in METRICS)


@pytest.mark.parametrize(
    ("preset", "reasons"),
    [
        ("imdb", ["embedding_norm false, not true", "head_bias false, not true"]),
        ("kerasnlp-mini", ["heads as wide as embed_dim (256) together, not 3 of 85"]),
        ("bigram", ["architecture gpt, not bigram"]),
        ("shakespeare-baseline", ["head_bias false, not true"]),
    ],
)
def test_an_architecture_without_a_counterpart_says_why(preset: str, reasons: list[str]) -> None:
    with pytest.raises(UsageError, match="no counterpart in transformers") as caught:
        choose_family(preset_model(preset))
    assert all(reason in str(caught.value) for reason in reasons), str(caught.value)


@pytest.mark.parametrize(
    ("changes", "class_name"),
    [
        ({}, "GPT2LMHeadModel"),
        ({"activation": "relu"}, "GPT2LMHeadModel"),
        ({"tied_head": False, "qkv_bias": False}, "GPT2LMHeadModel"),
        ({"activation": "relu2"}, "GPT2LMHeadModel"),
        ({"bias": False}, "GPT2LMHeadModel"),
        ({"activation": "relu", "positions": "offset"}, "OPTForCausalLM"),
        ({"positions": "offset", "final_norm": False}, "OPTForCausalLM"),
        ({"positions": "offset", "final_norm": False, "norm_position": "post"}, "OPTForCausalLM"),
        ({"norm_position": "post", "final_norm": False, "ffn_dim": 48}, "OpenAIGPTLMHeadModel"),
        ({"positions": "offset", "norm_position": "post"}, None),
        ({"positions": "offset", "norm_epsilon": 1e-3}, None),
        ({"norm_position": "post", "final_norm": False, "activation": "gelu"}, None),
        ({"positions": "none"}, None),
        ({"final_norm": False}, None),
    ],
)
def test_which_class_reads_it(changes: dict, class_name: str | None) -> None:
    config = small_config("demo", **changes)
    if class_name is not None:
        assert choose_family(config).class_name == class_name
        return
    with pytest.raises(UsageError, match="no counterpart"):
        choose_family(config)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm": "rms"}, "norm layer, not rms"),
        ({"qk_norm": True}, "qk_norm false, not true"),
        ({"positions": "rotary"}, ", not rotary"),
        ({"activation": "swiglu"}, "another activation than swiglu"),
    ],
)
def test_what_no_class_has_is_refused_by_name(changes: dict, reason: str) -> None:
    with pytest.raises(UsageError, match="no counterpart") as caught:
        choose_family(small_config("demo", **changes))
    assert str(caught.value).count(reason) == len(FAMILIES)


def test_nothing_is_overwritten_and_nothing_half_written(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "mine").mkdir()
    (workspace / "mine" / "thesis.txt").write_text("years of work")
    assert in_process("export", "tiny", "--to", "mine", cwd=workspace, check=False) == 2
    assert "folder with other files in --to: mine holds thesis.txt" in capsys.readouterr().err
    for path in (workspace / "runs" / "tiny" / "checkpoints").glob("step-*"):
        facts = read_manifest(path)
        files = facts.pop("files")
        facts["config"]["model"]["head_bias"] = True
        write_manifest(path, files, facts)
    assert in_process("export", "tiny", "--to", "hf", cwd=workspace, check=False) == 2
    assert "no counterpart in transformers" in capsys.readouterr().err
    assert sorted(path.name for path in workspace.glob("*hf*")) == []
    assert (workspace / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_checkpoint_that_is_asked_for_is_written(
    trained_workspace: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "hf")
    in_process("export", "tiny", "--to", place, "--checkpoint", "15", cwd=trained_workspace)
    assert read_manifest(tmp_path / "hf")["checkpoint"] == "step-00000015"


@pytest.mark.parametrize("command", [["export", "--to", "new"], ["generate"], ["evaluate"]])
def test_a_checkpoint_that_was_rotated_away_is_refused_with_those_that_are_there(
    trained_workspace: Path, command: list[str]
) -> None:
    said = called(*command, "--checkpoint", "5", cwd=trained_workspace, check=False)
    assert said.returncode == 2
    assert "no such checkpoint in" in said.stderr
    assert "Give a step (15, 20), best or last." in said.stderr
    assert not (trained_workspace / "new").exists()
