"""A stored run becomes a text generator, or says exactly why not."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import reference
from fakes import ByteTokenizer
from scripted_model import ScriptedEngine
from tiny_models import small_config, small_gpt

from gpt_tf.config import Config, DataConfig, LoraConfig
from gpt_tf.config_files import as_yaml
from gpt_tf.errors import RunError, UsageError
from gpt_tf.inference import numpy_model
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.generate import generate
from gpt_tf.inference.loading import EngineName, fitting_engine, load
from gpt_tf.inference.numpy_engine import NumpyEngine
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.storage.checkpoint_files import MODEL_FILE
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.files import TOKENIZER_FILE, tokenizer_sha256

EXACT: tuple[EngineName, ...] = ("numpy", "tensorflow")
Arrays = dict[str, np.ndarray]
VOCAB_SIZE = 262
CORPUS = ["a good movie, good"]
OTHER_CORPUS = ["some bad, bad books"]
CONFIG = Config(model=small_config(vocab_size=VOCAB_SIZE), data=DataConfig())


def weights(seed: int) -> Arrays:
    return read_values(weight_variables(small_gpt(seed=seed, vocab_size=VOCAB_SIZE)))


@pytest.fixture(scope="module")
def stored() -> dict[int, Arrays]:
    return {step: weights(seed=step) for step in (1, 2, 3)}


@pytest.fixture
def run(tmp_path: Path, stored: dict[int, Arrays]) -> RunDirectory:
    """A run with three checkpoints, none of them called the best."""
    directory = RunDirectory(tmp_path / "runs" / "tiny-001")
    BPETokenizer.train(CORPUS, vocab_size=VOCAB_SIZE).save(directory.tokenizer)
    directory.config_file.write_text(as_yaml(CONFIG))
    for step, arrays in stored.items():
        save(directory, step, arrays)
    return directory


def save(
    run: RunDirectory, step: int, arrays: Arrays, config: Config = CONFIG, **facts: int
) -> str:
    facts = {
        "config": dataclasses.asdict(config),
        "tokenizer_sha256": tokenizer_sha256(run.tokenizer),
        **facts,
    }
    return run.checkpoints.save(step, arrays, {}, {}, facts)


def step_of(generator: TextGenerator, stored: dict[int, Arrays]) -> int:
    """Which checkpoint's weights these are, every one of them."""
    found = read_values(weight_variables(generator.model))
    (step,) = [
        step
        for step, arrays in stored.items()
        if all(np.array_equal(arrays[name], found[name]) for name in arrays)
    ]
    assert found.keys() == stored[step].keys()
    return step


def test_the_best_checkpoint_is_loaded_else_the_last(run, stored):
    assert step_of(load(run), stored) == 3
    save(run, 3, stored[3], best_step=2)
    assert step_of(load(run), stored) == 2


def test_a_run_is_found_by_name_and_by_path(run, stored, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("tiny-001", "runs/tiny-001", run.path):
        assert step_of(load(name), stored) == 3
    with pytest.raises(UsageError, match=r"no such run: tiny-002\..*tiny-001"):
        load("tiny-002")


def test_a_damaged_best_checkpoint_gives_way_to_the_last_with_a_warning(run, stored, caplog):
    save(run, 3, stored[3], best_step=2)
    flip_a_bit(run.checkpoints.directory / "step-00000002" / MODEL_FILE)
    assert step_of(load(run), stored) == 3
    assert "step-00000002" in caplog.text and "Using checkpoint step-00000003" in caplog.text


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_no_intact_checkpoint_is_an_error_and_never_random_weights(run):
    for name in run.checkpoints.names():
        flip_a_bit(run.checkpoints.directory / name / MODEL_FILE)
    with pytest.raises(RunError, match=f"no intact checkpoint.*{MODEL_FILE}"):
        load(run)
    for name in run.checkpoints.names():
        (run.checkpoints.directory / name / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"no checkpoint in .*checkpoints, config.yaml"):
        load(run)


# The tokenizer that belongs to the weights


def test_another_tokenizer_of_the_same_size_is_refused(run):
    ours = tokenizer_sha256(run.tokenizer)
    other = BPETokenizer.train(OTHER_CORPUS, vocab_size=VOCAB_SIZE)
    other.save(run.tokenizer, overwrite=True, option=None)
    assert other.vocab_size == VOCAB_SIZE
    with pytest.raises(UsageError, match="another tokenizer") as error:
        load(run)
    assert ours in str(error.value) and tokenizer_sha256(run.tokenizer) in str(error.value)


def test_a_swapped_vocabulary_file_is_refused(run, tmp_path):
    BPETokenizer.train(OTHER_CORPUS, vocab_size=VOCAB_SIZE).save(tmp_path / "other")
    swapped = (tmp_path / "other" / TOKENIZER_FILE).read_bytes()
    (run.tokenizer / TOKENIZER_FILE).write_bytes(swapped)
    with pytest.raises(UsageError, match="another tokenizer"):
        load(run)
    (run.tokenizer / TOKENIZER_FILE).write_bytes(swapped[:-100])
    with pytest.raises(RunError, match=rf"damaged tokenizer .*{TOKENIZER_FILE}"):
        load(run)


def test_a_tokenizer_larger_than_the_model_is_refused(run):
    BPETokenizer.train(CORPUS, vocab_size=VOCAB_SIZE + 1).save(
        run.tokenizer, overwrite=True, option=None
    )
    save(run, 4, weights(seed=4))
    with pytest.raises(UsageError, match=r"tokenizer larger than the model.*263 entries.*262"):
        load(run)


def test_a_run_without_tokenizer_is_refused(run):
    (run.tokenizer / TOKENIZER_FILE).unlink()
    with pytest.raises(UsageError, match=r"tokenizer.json is missing"):
        load(run)


@pytest.mark.parametrize("engine", EXACT)
def test_an_engine_has_the_weights_of_the_checkpoint(run, stored, engine):
    ids_BT = np.array([[1, 2, 3]], np.int32)
    places_BT = np.arange(3, dtype=np.int32)[None]
    decoded = load(run, engine=engine).engine.run(
        ids_BT, places_BT, None, np.tri(3, dtype=bool)[None], places_BT
    )
    expected = reference.logits(CONFIG.model, stored[3], ids_BT)
    np.testing.assert_allclose(decoded.logits_BQV, expected, rtol=1e-5, atol=1e-5)


def test_auto_takes_numpy_unless_it_does_not_know_a_setting(run, monkeypatch):
    assert isinstance(load(run, engine="auto").engine, NumpyEngine)
    with_adapters = dataclasses.replace(CONFIG.model, lora=LoraConfig(rank=2))
    assert fitting_engine(with_adapters).name == "numpy"  # they are merged
    monkeypatch.setitem(numpy_model.SERVED, "norm", ())
    assert isinstance(load(run, engine="auto").engine, Decoder)
    expected = ("tensorflow", "because numpy does not serve model.norm=layer")
    assert fitting_engine(CONFIG.model) == expected
    with pytest.raises(UsageError, match=r"numpy does not serve model\.norm=layer\. Use --engine"):
        load(run, engine="numpy")


# Weights that do not fit


def drop(arrays: Arrays, name: str) -> Arrays:
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (drop, ["missing: {name}"]),
        (
            lambda arrays, name: {**drop(arrays, name), "old/name": arrays[name]},
            ["missing: {name}", "unknown: old/name"],
        ),
        (
            lambda arrays, name: {**arrays, name: arrays[name][:-1].copy()},
            ["shape of {name}: (11,), the model has (12,)"],
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    run: RunDirectory, stored: dict[int, Arrays], change: Callable, problems: list[str]
):
    name = "final_norm/gamma"
    save(run, 4, change(stored[1], name))
    for engine in EXACT:
        with pytest.raises(UsageError, match="step-00000004 does not fit the model") as error:
            load(run, engine=engine)
        for problem in problems:
            assert problem.format(name=name) in str(error.value)


def test_a_config_of_another_width_is_refused(run, stored):
    model = dataclasses.replace(CONFIG.model, ffn_dim=24)
    save(run, 4, stored[1], dataclasses.replace(CONFIG, model=model))
    with pytest.raises(UsageError, match="block_0/feed_forward/"):
        load(run)


def test_a_changed_config_file_changes_no_model_that_is_loaded(run, stored):
    """The heads of attention leave no trace in the weights' shapes."""
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace("num_heads: 2", "num_heads: 3"))
    assert load(run).model.config == CONFIG.model


# Text


def test_text_is_generated_from_the_stored_tokenizer_and_weights(run):
    generator = load(run)
    text = generator.generate("good", max_new_tokens=10)
    tokenizer = generator.tokenizer
    ((found,),) = generate(
        generator.engine,
        [tokenizer.encode("good")],
        max_new_tokens=10,
        end_id=0,
        banned_ids=frozenset({1}),
    )
    assert (
        text == tokenizer.decode(found.token_ids) == load(run).generate("good", max_new_tokens=10)
    )
    options = {"sampler": "random", "max_new_tokens": 30}
    assert generator.generate("good", seed=1, **options) == (
        load(run).generate("good", seed=1, **options)
    )
    assert generator.generate("good", seed=2, **options) != (
        generator.generate("good", seed=1, **options)
    )


@pytest.mark.parametrize("sampler", ["greedy", "beam", "random"])
def test_a_text_stops_at_the_end_token_and_passes_control_tokens_by(run, sampler):
    generator = load(run)
    tokenizer = generator.tokenizer
    written = [*tokenizer.encode("movie"), tokenizer.eot_id, *tokenizer.encode("more")]
    start = len(generator.prompt_ids("good"))

    def table(history: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(VOCAB_SIZE, np.float32)
        logits[tokenizer.pad_id] = 90
        logits[written[len(history) - start]] = 50
        return logits

    generator.engine = ScriptedEngine(table, VOCAB_SIZE)
    text = generator.generate("good", sampler=sampler, max_new_tokens=len(written))
    assert text == "movie"


@pytest.fixture(scope="module")
def byte_model():
    return small_gpt(vocab_size=259)


@pytest.mark.parametrize(
    ("special", "empty", "hi"),
    [
        ({"end": True, "begin": True}, [257], [257, 104, 105]),
        ({"end": False, "begin": True}, [257], [257, 104, 105]),
        ({"end": True}, [258], [104, 105]),
        ({"end": False}, [10], [104, 105]),
    ],
)
def test_an_empty_prompt_is_the_begin_token_else_the_end_token_else_a_line_feed(
    byte_model, special, empty, hi
):
    generator = TextGenerator(byte_model, ByteTokenizer(**special), replace_breaks=True)
    assert generator.prompt_ids("") == generator.prompt_ids("\ufeff") == empty
    assert generator.prompt_ids("hi") == hi


def test_a_prompt_is_cleaned_as_the_training_texts_were(byte_model):
    for replace_breaks, expected in ((True, "a b\nc\rd"), (False, "a<br />b\nc\rd")):
        generator = TextGenerator(byte_model, ByteTokenizer(), replace_breaks=replace_breaks)
        assert generator.prompt_ids("\ufeffa<br />b\r\nc\rd") == list(expected.encode())


def test_a_prompt_that_is_no_unicode_is_refused(run):
    with pytest.raises(UsageError, match=r"no Unicode text in the prompt: .* at character 2"):
        load(run).prompt_ids("ab\udce9")
