"""Settings that would do nothing are refused if they were typed, and said if a preset has them."""

import dataclasses
import gc
import inspect
from pathlib import Path

import pytest
from commands import TINY_RUN, in_process, tree
from workspaces import choose_data, workspace_at

from gpt_tf.cli import console
from gpt_tf.config import ModelConfig
from gpt_tf.config_files import parse_assignments, preset_names, read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.model import bigram, initial
from gpt_tf.runs.assemble import begin
from gpt_tf.runs.claiming import claimed
from gpt_tf.runs.given import SET, given_settings
from gpt_tf.runs.job import Job
from gpt_tf.runs.tokenizer_records import record_of
from gpt_tf.runs.without_effect import (
    BLOCKS,
    DEFAULTS,
    OF_EVERY_MODEL,
    RULES,
    check_end,
    idle_settings,
    refuse_for_ready_tokenizer,
    refuse_idle,
    tell_uneven_heads,
)
from gpt_tf.tokenizer.kinds import KINDS

WHOLE = ["data.validation_share=0"]


def check(workspace: Path, assignments: list[str], **options: Path) -> None:
    """Refuse these settings, typed for the data `texts`."""
    config = resolve(parse_assignments(assignments))
    choice = choose_data(workspace, workspace / "texts", config.data, **options)
    refuse_idle([config], choice, given_settings(assignments))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A workspace with a folder `texts` of text files, and `more.txt`."""
    (tmp_path / "texts").mkdir()
    for i in range(10):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"some words {i} " * 20)
    (tmp_path / "more.txt").write_text("more words " * 20)
    return tmp_path


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ([*WHOLE, "training.patience=3"], ["training.patience=3", "data.validation_share=0.1"]),
        ([*WHOLE, "training.eval_batches=3"], ["training.eval_batches=3"]),
        ([*WHOLE, "training.eval_interval=3"], [*WHOLE, "training.checkpoint_interval=3"]),
        (["data.column=body"], ["data.document=line"]),
        (["training.max_steps=200", "training.max_epochs=3"],
         ["training.max_epochs=3", "training.max_steps=null"]),
        (["training.muon_momentum=0.9"],
         ["training.muon_momentum=0.9", "training.optimizer=muon"]),
        (["training.schedule=constant", "training.min_learning_rate=1e-5"],
         ["training.min_learning_rate=1e-5", "training.schedule=cosine"]),
        (["model.initial_std=0.1"], ["model.initial_std=0.1", "model.initial_weights=gpt2"]),
        (["model.rope_base=500"], ["model.rope_base=500", "model.positions=rotary"]),
        (["model.bias=false", "model.qkv_bias=false"],
         ["model.qkv_bias=false", "model.bias=true"]),
        (["model.lora.alpha=3"], ["model.lora.alpha=3", "model.lora.rank=4"]),
        (["model.architecture=bigram", "model.num_layers=2"],
         ["model.num_layers=2", "model.architecture=gpt"]),
        (["tokenizer.unknown_characters=replace"],
         ["tokenizer.unknown_characters=replace", "tokenizer.kind=char"]),
        (["tokenizer.kind=char", "tokenizer.vocab_size=300"],
         ["tokenizer.vocab_size=300", "tokenizer.kind=bpe"]),
        (["tokenizer.kind=char", "tokenizer.num_merges=300"],
         ["tokenizer.num_merges=300", "tokenizer.kind=bpe"]),
        (["tokenizer.kind=char", "tokenizer.min_frequency=2"],
         ["tokenizer.min_frequency=2", "tokenizer.kind=bpe"]),
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_refused_and_its_remedy_works(
    texts: Path, wrong: list[str], right: list[str]
) -> None:
    key = wrong[-1].partition("=")[0]
    with pytest.raises(UsageError, match=rf"in --set: {key}=.*(, or l|\. L)eave {key} out\.") as no:
        check(texts, wrong)
    check(texts, right)
    check(texts, wrong[:-1])
    if "Add --set " in str(no.value):
        assert str(no.value).split("Add --set ")[1].split(", or")[0] in right


def test_an_option_that_decides_is_left_out_before_set_is_added(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "texts", "--preset", "imdb", "--set", "training.max_epochs=3"]
    end = [
        "--set",
        "training.batch_size=100000",
        "--train-tokenizer",
        "--set",
        "tokenizer.kind=char",
    ]
    assert in_process(*words, "--max-steps", "9000", *end, cwd=texts, check=False) == 2
    said = capsys.readouterr().err
    assert "Leave --max-steps out and add --set training.max_steps=null" in said
    assert in_process(*words, "--set", "training.max_steps=null", *end, cwd=texts, check=False) == 2
    assert "dataset gives 0 batches" in capsys.readouterr().err  # the last check of all
    words = ["train-tokenizer", "texts", "--set", "tokenizer.unknown_characters=replace"]
    assert in_process(*words, "--kind", "bpe", cwd=texts, check=False) == 2
    assert "Leave --kind out and add --set tokenizer.kind=char" in capsys.readouterr().err
    in_process(*words, "--set", "tokenizer.kind=char", cwd=texts)


def test_validation_that_is_given_apart_leaves_no_share(texts: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.validation_share=0\.3: the validation data are"):
        check(texts, ["data.validation_share=0.3"], validation=texts / "more.txt")
    check(texts, ["training.patience=3", *WHOLE], validation=texts / "more.txt")


def test_what_a_preset_has_without_effect_is_said_once(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = resolve(read_preset("imdb"), {"data": {"validation_share": 0.0}})
    choice = choose_data(texts, texts / "texts", config.data)
    refuse_idle([config], choice, {"data.validation_share": SET})
    assert "no validation data, so these have no effect: training.patience 4" in (
        capsys.readouterr().err
    )


def test_a_file_of_settings_is_refused_where_it_is_named(
    texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (texts / "mine.yaml").write_text("training: {patience: 3}\ndata: {validation_share: 0}\n")
    words = ["train", "--data", "texts", "--config", "mine.yaml"]
    assert in_process(*words, cwd=texts, check=False) == 2
    assert "no effect in mine.yaml: training.patience=3" in capsys.readouterr().err
    assert sorted(path.name for path in texts.iterdir()) == ["mine.yaml", "more.txt", "texts"]


def test_settings_of_a_ready_tokenizer_are_refused_unless_it_has_them(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "reviews", *TINY_RUN, "--max-steps", "6"]
    assert in_process(*words, "--set", "tokenizer.vocab_size=300", cwd=workspace, check=False) == 2
    assert "tokenizer.vocab_size=300: the tokenizer is ready" in capsys.readouterr().err
    assert in_process(*words, "--set", "tokenizer.num_merges=3", cwd=workspace, check=False) == 2
    assert "tokenizer.num_merges=3: the tokenizer is ready" in capsys.readouterr().err
    assignments = ["tokenizer.vocab_size=400"]
    given, trained = given_settings(assignments), record_of(workspace / "tokenizers" / "reviews")
    refuse_for_ready_tokenizer(resolve(parse_assignments(assignments)), given, trained)
    with pytest.raises(UsageError, match="the tokenizer is ready"):
        refuse_for_ready_tokenizer(resolve(parse_assignments(assignments)), given, {})


def test_a_sweep_refuses_settings_of_a_ready_tokenizer(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "--data", "reviews", "--grid", "training.seed=1,2", *TINY_RUN]
    words += ["--max-steps", "6"]
    assert in_process(*words, "--set", "tokenizer.vocab_size=300", cwd=workspace, check=False) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "tokenizer.vocab_size=300: the tokenizer is ready. Leave it out, or train one" in said
    assert not (workspace / "sweeps").exists()


def test_a_grid_over_what_has_no_effect_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", "--data", "reviews", "--grid", "training.muon_momentum=0.8,0.9"]
    assert in_process(*words, cwd=workspace, check=False) == 2
    assert "no effect in --grid: training.muon_momentum=0.8" in capsys.readouterr().err
    words = ["train-tokenizer", "reviews", "--set", "training.seed=3"]
    assert in_process(*words, cwd=workspace, check=False) == 2
    assert "no effect in --set: training.seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--overwrite"], "--overwrite has no effect without --name"),
        (["train", "--accept-data-change"], "without --resume. Give --resume, or leave"),
        (["train-tokenizer", "reviews", "--overwrite"], "no effect without --output"),
        (["generate", "--overwrite"], "--overwrite has no effect without --output"),
        (["generate", "--output", "-", "--overwrite"], "--output - is standard output"),
        (["generate", "--output", "x.jsonl", "--raw"], "no effect in --raw: all characters are"),
        (["generate", "--logit-bias", "3=1", "--logit-bias", "3=2"], "repeated id in --logit-bias"),
        (["plot", "--output", "-", "--overwrite"], "no effect in --overwrite: --output - is"),
        (["evaluate", "tiny", "reviews", "--split", "validation"], "--split is for the run's own"),
        (["train", "--resume", "stopped", "--stop-at-step", "10"], "stop-at-step: 10: the run is"),
        (["train", "--resume", "stopped", "--stop-at-step", "20"], "20: the run is at step 10"),
        (["train", "--data", "reviews", "--stop-at-step", "20", "--max-steps", "20", *TINY_RUN],
         "20: the run is at step 0, and its last step is 20. Give a step between, or leave it"),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused_and_changes_nothing(
    words: list[str], said: str, stopped_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(stopped_workspace)
    assert in_process(*words, cwd=stopped_workspace, check=False) == 2
    assert said in capsys.readouterr().err
    after = tree(stopped_workspace)
    assert after.keys() - before.keys() <= {name for name in after if "token_stores" in name}
    assert {name: after[name] for name in before} == before


def test_patience_that_no_evaluation_can_use_up_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def said(patience: int, **origin: str) -> str:
        training = {"patience": patience, "max_steps": 20, "eval_interval": 5, "warmup_steps": 5}
        check_end(resolve({"training": training, "origin": origin}), None, console=console)
        return capsys.readouterr().err

    assert said(2) == ""  # steps 5, 10 and 15
    assert (
        "training.patience 3 has no effect: the first evaluation is the best so far, with 2 more"
        in (said(3))
    )
    assert said(3, run="runs/a") == ""  # measured before the first step, too
    assert said(4, run="runs/a")


def test_overwriting_without_a_name_is_refused_in_python(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="overwrite without a name"),
        claimed(tmp_path, "demo", None, overwrite=True),
    ):
        pass
    assert not tree(tmp_path)


def test_rules_name_settings_that_exist_and_presets_break_none(texts: Path) -> None:
    for rule in RULES:
        assert all(any(key.startswith(name) for key in DEFAULTS) for name in rule.keys)
    for name in preset_names():
        config = resolve(read_preset(name))
        choice = choose_data(texts, texts / "texts", config.data)
        idle = idle_settings(config, choice)
        assert all(key.startswith("model.") and name == "bigram" for key in idle), idle


@pytest.mark.parametrize("name", [item.name for item in dataclasses.fields(ModelConfig)])
def test_a_setting_of_the_model_is_read_by_the_bigram_table_or_has_a_rule(name: str) -> None:
    """A new one has the rule, unless the table reads it."""
    table = inspect.getsource(bigram)
    assert (name in {*OF_EVERY_MODEL, "lora"}) != (name in BLOCKS)
    if name in BLOCKS:
        assert f"config.{name}" not in table
    elif name not in ("architecture", "lora"):
        assert f"config.{name}" in table + inspect.getsource(initial)


def test_a_setting_of_a_kind_of_tokenizer_has_a_rule_of_the_kinds_that_have_it() -> None:
    for setting in {name for kind in KINDS.values() for name in kind.settings}:
        [rule] = [rule for rule in RULES if f"tokenizer.{setting}" in rule.keys]
        for name, kind in KINDS.items():
            config = resolve({"tokenizer": {"kind": name}})
            assert rule.applies(config, None) != (setting in kind.settings)


def test_a_refused_training_leaves_no_file_open(workspace: Path) -> None:
    config = resolve(read_preset("demo"), {"data": {"windows": "packed"}, "training": {"seed": 1}})
    gc.collect()
    gc.disable()  # what is in a circle stays
    try:
        with pytest.raises(UsageError, match="its last step is"):
            begin(
                Job(config=config, workspace=workspace_at(workspace), data=workspace / "reviews",
                    stop_at_step=10**9)
            )  # fmt: skip
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert not [link for link in links if link.readlink().name == "ids.bin"]
    finally:
        gc.enable()


def test_heads_that_do_not_divide_the_width_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell_uneven_heads(resolve({"model": {"num_heads": 4}}), console)
    assert capsys.readouterr().err == ""
    tell_uneven_heads(resolve({"model": {"num_heads": 3}}), console)
    said = " ".join(capsys.readouterr().err.split())
    assert "makes heads of 42, together 126 of model.embed_dim 128" in said
