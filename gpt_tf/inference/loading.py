"""A stored run as an object that writes text: `load(run).generate("This movie is")`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from gpt_tf.config import Config, LoraConfig, ModelConfig
from gpt_tf.config_files import resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.inference.numpy_engine import NumpyEngine
from gpt_tf.inference.numpy_model import not_served
from gpt_tf.inference.text_writer import TextWriter, check_fits
from gpt_tf.model.lora import merged
from gpt_tf.storage.checkpoint_files import MODEL_FILE, Checkpoint
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import check_same_tokenizer

if TYPE_CHECKING:
    from gpt_tf.model.language_model import LanguageModel

EngineName = Literal["auto", "numpy", "tensorflow", "litert", "litert-float32"]
LITERT_WEIGHTS = {"litert": "int8", "litert-float32": "float32"}
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
log = logging.getLogger(__name__)


def load(
    run: str | Path | RunDirectory,
    *,
    engine: EngineName = "tensorflow",
    checkpoint: Checkpoint | None = None,
) -> TextWriter:
    """The best checkpoint of a run, else the last.

    Args:
      run: a run directory, its path, or its name in the present workspace.
      engine: what runs the model; "numpy" needs no TensorFlow, and "auto" takes it if it knows
        the model's settings, otherwise TensorFlow; "litert" has int8 weights, "litert-float32"
        exact ones, both converted once and kept in the run if it can be written.
      checkpoint: the run's, where it was read already.

    Raises:
      UsageError: if there is no such run or engine, no checkpoint, or another tokenizer.
      RunError: if no checkpoint is intact.
    """
    if engine not in ENGINES:
        raise UsageError(f"no such engine: {engine}. Engines: {', '.join(ENGINES)}.")
    directory = run if isinstance(run, RunDirectory) else find_run(Path.cwd(), str(run))
    checkpoint = checkpoint or directory.checkpoints.best(weights_only=True)
    # config.yaml may have been changed since
    config = resolve_stored(checkpoint.manifest["config"])
    check_same_tokenizer(directory.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
    tokenizer = Tokenizer.load(directory.tokenizer)
    check_fits(tokenizer, config.model.vocab_size, f" in {directory.tokenizer}")
    log.info("%s, checkpoint %s", directory.path, checkpoint.name)
    if engine == "auto":
        engine = fitting_engine(config.model).name
    if engine == "numpy":
        architecture, weights = merged(config.model, checkpoint.model)
        runner = NumpyEngine(architecture, weights, f"checkpoint {checkpoint.name}")
        return TextWriter(runner, tokenizer, replace_breaks=config.data.replace_breaks)
    from gpt_tf.inference.text_generator import TextGenerator

    model = model_of(config, checkpoint)
    generator = TextGenerator(model, tokenizer, replace_breaks=config.data.replace_breaks)
    if engine in LITERT_WEIGHTS:
        from gpt_tf.inference.litert import LiteRTEngine, prepared

        weights_type = LITERT_WEIGHTS[engine]
        sha256 = checkpoint.manifest["files"][MODEL_FILE]["sha256"]
        kept = directory.engine(weights_type, checkpoint.name)
        converted = prepared(kept, model, weights_type, sha256)
        generator.engine = LiteRTEngine(converted, model)
    return generator


class Fitting(NamedTuple):
    """The engine that suits a model best, and a clause that says why."""

    name: EngineName
    reason: str


def fitting_engine(config: ModelConfig) -> Fitting:
    """NumPy's, unless a setting of the model is none that it knows."""
    unknown = not_served(dataclasses.replace(config, lora=LoraConfig()))  # adapters are merged
    if unknown:
        return Fitting("tensorflow", f"because numpy does not serve {', '.join(unknown)}")
    return Fitting("numpy", "which starts without TensorFlow")


def model_of(config: Config, checkpoint: Checkpoint) -> LanguageModel:
    """The model of a run with the weights of a checkpoint, in float32; adapters are merged.

    Raises:
      UsageError: if the weights are of another model.
    """
    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import assign_values, weight_variables

    architecture, weights = merged(config.model, checkpoint.model)
    model = make_model(architecture, "float32", config.training.seed)
    assign_values(weight_variables(model), weights, f"checkpoint {checkpoint.name}")
    return model
