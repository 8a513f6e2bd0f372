"""A run loaded: with a word on what takes long, and no noise of libraries."""

from __future__ import annotations

from gpt_tf.config_files import resolve_stored
from gpt_tf.inference import loading
from gpt_tf.inference.loading import LITERT_WEIGHTS, EngineName
from gpt_tf.inference.options import with_settings
from gpt_tf.inference.text_writer import TextWriter
from gpt_tf.quiet_libraries import quiet_libraries
from gpt_tf.runs.console import Console
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.run_directory import RunDirectory


def settled(engine: EngineName, checkpoint: Checkpoint, console: Console) -> EngineName:
    """The engine that "auto" means for a checkpoint, said with the reason; any other as it is."""
    if engine != "auto":
        return engine
    name, reason = loading.fitting_engine(resolve_stored(checkpoint.manifest["config"]).model)
    console.note(f"engine: {name}, {reason}")
    return name


def load_quietly(
    run: RunDirectory, engine: EngineName, checkpoint: Checkpoint, console: Console
) -> TextWriter:
    """The run's text generator with this engine and the weights of its checkpoint."""
    weights = LITERT_WEIGHTS.get(engine)
    if weights and not run.engine(weights, checkpoint.name).is_dir():
        console.note(f"converting to LiteRT, {weights} weights, once; a large model takes minutes")
    with quiet_libraries():
        return loading.load(run, engine=engine, checkpoint=checkpoint)


def continued(
    run: RunDirectory, checkpoint: Checkpoint, prompt: str, seed: int, console: Console
) -> str:
    """What a run writes after a prompt, drawn at random, as long as its settings say."""
    generator = load_quietly(run, "tensorflow", checkpoint, console)
    sampling = resolve_stored(checkpoint.manifest["config"]).sampling
    options = with_settings("random", {"seed": seed}, sampling)
    return str(generator.texts([prompt], "random", **options)[0][0].text)
