"""The sample texts of a training: their prompt, their sampler, and what tells one from the other.

The prompt is chosen when a run begins and stored with it, so that each evaluation, and `generate`
without a prompt, continue the same words.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from itertools import islice

from gpt_tf.config import Config
from gpt_tf.config_files import preset_names, read_preset
from gpt_tf.errors import UsageError
from gpt_tf.inference.options import OPTIONS, with_settings
from gpt_tf.inference.text_generator import TextGenerator
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.job import Job
from gpt_tf.runs.progress_text import SampleText
from gpt_tf.streaming.records import part_of
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.ordinary_text import UnseenError

log = logging.getLogger(__name__)

WORDS, CHARACTERS = 4, 60  # of a prompt, at most
LOOKED_AT = 10  # documents
BEGINNING = 1000  # characters of a document that are looked at
TOP_K = 10  # of the sampler random: a little trained model writes noise without it


def resolve_sampling(
    config: Config, choice: DataChoice, tokenizer: Tokenizer, *, keep_prompt: bool = True
) -> Config:
    """Fill in the prompt and the sampler of the sample texts; they are stored with the run.

    Args:
      keep_prompt: take the one that is set; otherwise it belongs to other data.
    """
    sampling = config.sampling
    prompt = sampling.prompt if keep_prompt else None
    sampler = sampling.sampler
    if prompt is None:
        prompt = prompt_of(_beginnings(config, choice), tokenizer)
    if sampler == "auto":
        sampler = "random" if tokenizer.kind == "char" else "beam"
    sampling = dataclasses.replace(sampling, prompt=prompt, sampler=sampler)
    return dataclasses.replace(config, sampling=sampling)


def keeps_prompt(job: Job, choice: DataChoice) -> bool:
    """Whether a new run keeps its prompt: a preset's is for the preset's own corpus."""
    if choice.source is None or job.pretrained is not None or "sampling.prompt" in job.given:
        return True
    preset = read_preset(job.preset) if job.preset in preset_names() else {}
    return bool(job.config.sampling.prompt != preset.get("sampling", {}).get("prompt"))


def _beginnings(config: Config, choice: DataChoice) -> Iterator[str]:
    """The beginnings of some validation documents; of training documents if there are none."""
    split = "validation" if choice.validation else "train"
    read = choice.reader(config.data, split)
    documents = (
        document
        for path in (choice.validation or choice.train)
        for document in read.documents(path)
    )
    for document in islice(documents, LOOKED_AT):
        yield "".join(part_of(document, 0, BEGINNING))


def prompt_of(beginnings: Iterator[str], tokenizer: Tokenizer) -> str:
    """The first words that the tokenizer knows; no text if there are none."""
    for beginning in beginnings:
        words = first_words(beginning)
        try:
            if words and tokenizer.encode(words):
                return words
        except UsageError:  # a vocabulary of characters may lack one
            continue
    return ""


def first_words(text: str) -> str:
    """The first words of the first line that has several, or of the first that has any.

    >>> first_words("?\n\nGREMIO:\nGood morrow, neighbour Baptista. What"), first_words("one")
    ('Good morrow, neighbour Baptista.', 'one')
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    words = next((words for words in lines if len(words) > 1), lines[0] if lines else [])
    return " ".join(words[:WORDS])[:CHARACTERS].rstrip()


def sample_text_of(
    config: Config, model: LanguageModel, tokenizer: Tokenizer
) -> Callable[[], SampleText]:
    """What continues the sample prompt with the weights that the model has at the time."""
    settings = config.sampling
    generator = TextGenerator(model, tokenizer, replace_breaks=config.data.replace_breaks)
    prompt = settings.prompt or ""
    try:
        generator.prompt_ids(prompt)
    except UsageError as error:  # a vocabulary of characters may lack one
        what = error.what if isinstance(error, UnseenError) else error
        log.warning("sample texts have no prompt, sampling.prompt does not fit: %s", what)
        prompt = ""
    given = {"top_k": TOP_K, "seed": config.training.seed} if settings.sampler == "random" else {}
    options = with_settings(settings.sampler, given, settings)
    for name, value in list(options.items()):
        if not OPTIONS[name].takes(value):  # stored by an earlier version
            log.warning("sample texts ignore sampling.%s, which is out of range: %s", name, value)
            del options[name]

    def sample_text() -> SampleText:
        text = generator.generate(prompt, settings.sampler, truncate="left", **options)
        return SampleText(prompt, text)

    return sample_text
