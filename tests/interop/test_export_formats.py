"""Runs as SavedModel and as a Keras file: read back, they compute and write what the run does."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import called, in_process
from tiny_models import RATES, small_config, small_gpt, token_ids

import gpt_tf
from gpt_tf.config import LoraConfig
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.interop.exporting import FORMATS
from gpt_tf.interop.saved_model import Served
from gpt_tf.model.architectures import make_model
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import read_values, seed_variables, weight_variables
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.targets import first_foreign
from gpt_tf.tokenizer.bpe import BPETokenizer

VOCAB_SIZE = 262
KINDS = {
    "pre-norm, tied": small_config("demo"),
    "own head, biases, dropout": small_config("imdb", dropout=RATES),
    "post-norm": small_config("kerasnlp-mini"),
    "positions of OPT, relu": small_config("opt-125m"),
    "no positions": small_config("kerasnlp-no-positions"),
    "adapters": small_config("demo", lora=LoraConfig(rank=2, ffn=True)),
    "bigram": small_config("bigram"),
}
ALONE = """
import sys
sys.modules["gpt_tf"] = None  # importing it raises
import numpy, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures
ids = tf.constant(numpy.load(sys.argv[2]))
numpy.savez(sys.argv[3],
            logits=served["serving_default"](token_ids=ids)["logits"],
            token_ids=served["generate"](token_ids=ids, max_new_tokens=tf.constant(40),
                                         temperature=tf.constant(0.0),
                                         seed=tf.constant(0))["token_ids"])
"""


@pytest.fixture(scope="module")
def exported(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders `savedmodel` and `keras`, made of the run `tiny`."""
    folder = tmp_path_factory.mktemp("exported")
    for name in ("savedmodel", "keras"):
        in_process(
            "export", "tiny", "--format", name, "--to", str(folder / name), cwd=trained_workspace
        )
    return folder


@pytest.fixture(scope="module")
def writer(trained_workspace: Path) -> TextGenerator:
    return gpt_tf.load(trained_workspace / "runs" / "tiny")


@pytest.mark.parametrize("name", ["savedmodel", "keras"])
def test_an_export_is_replaced_when_asked(
    exported: Path, trained_workspace: Path, name: str, tmp_path: Path
) -> None:
    shutil.copytree(exported / name, tmp_path / name)
    assert first_foreign(tmp_path / name) is None
    again = ["export", "tiny", "--format", name, "--to", str(tmp_path / name), "--overwrite"]
    assert in_process(*again, cwd=trained_workspace) == 0


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_an_export_that_the_disk_refuses_is_told_and_leaves_nothing(
    format_name: str, trained_workspace: Path, tmp_path: Path
) -> None:
    """TensorFlow raises errors of its own, without the system's number."""
    again = ["export", "tiny", "--format", format_name, "--to", str(tmp_path / "out")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes; Python ignores SIGXFSZ
    try:
        done = called(*again, cwd=trained_workspace, check=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "error: cannot write in " in done.stderr
    assert "File too large" in done.stderr
    assert "ulimit -f" in done.stderr


def test_a_saved_model_needs_no_gpt_tf(
    exported: Path, writer: TextGenerator, tmp_path: Path
) -> None:
    """In a process that cannot import it; 40 new tokens slide the window of 32."""
    prompts = np.array([writer.prompt_ids("This movie is")] * 2, np.int32)
    prompts[1, 0] = 5
    np.save(tmp_path / "ids.npy", prompts)
    script = [
        sys.executable,
        "-c",
        ALONE,
        str(exported / "savedmodel"),
        str(tmp_path / "ids.npy"),
        str(tmp_path / "out.npz"),
    ]
    subprocess.run(script, cwd=tmp_path, check=True, timeout=120, capture_output=True)
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["logits"], writer.model(prompts), atol=1e-5)
        rows = found["token_ids"].tolist()
    for prompt, row in zip(prompts.tolist(), rows, strict=True):
        assert row[: len(prompt)] == prompt
        chosen = [token.token_id for token in writer.stream(prompt, max_new_tokens=40)]
        assert row[len(prompt) :][: len(chosen)] == chosen


def test_a_keras_file_is_read_back_with_every_weight(exported: Path, writer: TextGenerator) -> None:
    model = keras.models.load_model(exported / "keras" / "model.keras")
    assert type(model) is gpt_tf.GPT
    assert model.config == writer.model.config
    found, expected = (read_values(weight_variables(m)) for m in (model, writer.model))
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_every_file_is_in_the_manifest(exported: Path) -> None:
    for folder in (exported / "savedmodel", exported / "keras"):
        files = json.loads((folder / "manifest.json").read_text())["files"]
        there = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        assert there - {"manifest.json"} == files.keys()
        assert all(sha256_file(folder / name) == entry["sha256"] for name, entry in files.items())
        settings = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
        assert settings["model_max_length"] < 1e6  # the run's own context
        assert BPETokenizer.load(folder / "tokenizer").encode("a film")


@pytest.mark.parametrize("kind", KINDS)
def test_keras_reads_every_architecture_back(kind: str, tmp_path: Path) -> None:
    """Every weight by name: Keras is silent about what it leaves out."""
    model = make_model(KINDS[kind])
    for number, variable in enumerate(model.weights):
        noise = np.random.default_rng(number).standard_normal(variable.shape)
        variable.assign(noise)
    model.save(tmp_path / "model.keras")
    twin = keras.models.load_model(tmp_path / "model.keras")
    found, expected = (read_values(weight_variables(one)) for one in (twin, model))
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert sorted(seed_variables(twin)) == sorted(seed_variables(model))
    assert twin.get_config() == model.get_config()


# --- the generate signature


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(["a good movie, good"], vocab_size=VOCAB_SIZE)


def with_logits(logits_V: np.ndarray) -> GPT:
    """A model that gives these, whatever it reads."""
    model = small_gpt("imdb", vocab_size=len(logits_V))
    for variable in model.weights:
        variable.assign(tf.zeros_like(variable))
    model.head_bias_V.assign(logits_V)
    return model


def continued(served: Served, *, temperature: float, seed: int = 0, new: int = 20) -> np.ndarray:
    numbers = tf.constant(new), tf.constant(temperature), tf.constant(seed)
    return served.generate(token_ids(3, 2, VOCAB_SIZE), *numbers)["token_ids"].numpy()


def test_drawing_follows_the_seed_and_the_probabilities(tokenizer: BPETokenizer) -> None:
    likely = (97, 98, 99)
    bias_V = np.full(VOCAB_SIZE, -50.0)
    bias_V[list(likely)] = np.log([0.2, 0.3, 0.5])
    served = Served(with_logits(bias_V), tokenizer)
    first, again, other = (continued(served, temperature=1.0, seed=s, new=100) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    shares = [np.mean(np.stack([first, other])[..., 2:] == token_id) for token_id in likely]
    np.testing.assert_allclose(shares, [0.2, 0.3, 0.5], atol=0.1)  # 5 deviations of 600 draws
    np.testing.assert_array_equal(continued(served, temperature=0.0)[:, 2:], 99)
    cold = continued(served, temperature=0.01)
    np.testing.assert_array_equal(cold[:, 2:], 99)


def test_the_end_token_ends_a_row_and_special_tokens_are_never_chosen() -> None:
    tokenizer = BPETokenizer.train(["a good movie, good"], vocab_size=VOCAB_SIZE)
    tokenizer.backend.add_special_tokens(["[SEP]"])  # it has no role
    size = len(tokenizer) + 3  # of a model with more entries than its tokenizer
    never = [*tokenizer.control_ids, tokenizer.token_to_id("[SEP]"), size - 3, size - 1]
    assert tokenizer.control_ids
    bias_V = np.zeros(size)
    bias_V[never] = 1e6
    bias_V[tokenizer.eot_id] = -1e6
    for temperature in (0.0, 1.0):
        rows = continued(Served(with_logits(bias_V), tokenizer), temperature=temperature)
        assert rows.shape == (3, 22)
        assert not np.isin(rows[:, 2:], never).any()
    bias_V[tokenizer.eot_id] = 1e5
    ended = continued(Served(with_logits(bias_V), tokenizer), temperature=0.0)
    assert ended.shape == (3, 3)
    assert (ended[:, 2] == tokenizer.eot_id).all()


def test_a_row_that_ended_is_filled_while_others_go_on(tokenizer: BPETokenizer) -> None:
    """A tenth of the tokens drawn are the end: each row ends at a place of its own."""
    bias_V = np.zeros(VOCAB_SIZE)
    bias_V[tokenizer.eot_id] = np.log(VOCAB_SIZE / 10)
    rows = continued(Served(with_logits(bias_V), tokenizer), temperature=1.0, new=60)
    ends = [list(row[2:]).index(tokenizer.eot_id) for row in rows]
    assert len({*ends}) > 1
    for row, end in zip(rows, ends, strict=True):
        assert (row[2 + end :] == tokenizer.eot_id).all()
    assert rows.shape[1] == 2 + max(ends) + 1


def test_exported_models_name_the_context_too(exported: Path) -> None:
    """The run's is 32 tokens."""
    ids = tf.zeros((1, 33), tf.int32)
    served = tf.saved_model.load(str(exported / "savedmodel")).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="context_length of 32"):
        served(token_ids=ids)
    with pytest.raises(ValueError, match=r"context_length of 32.*\s*Received: 33"):
        keras.models.load_model(exported / "keras" / "model.keras")(ids)
