"""What a dry run looks at: the data as far as their first documents, and the tokenizer."""

from __future__ import annotations

import dataclasses
from itertools import chain

from gpt_tf.config import Config
from gpt_tf.runs.data import choose_data, document_reader, name_of_data
from gpt_tf.runs.job import Job
from gpt_tf.runs.own_tokenizers import ready_tokenizer, require_tokenizer
from gpt_tf.runs.without_effect import refuse_idle
from gpt_tf.streaming.corpora.corpus import newest_corpus
from gpt_tf.tokenizer.base import Tokenizer


def look_at_data(job: Job) -> None:
    """Open the data as far as their first documents; of a workspace without any, nothing is made.

    Raises:
      UsageError: if training would refuse them at its start, with the same words.
      DocumentError: if the first document of a split cannot be read.
    """
    workspace, config = job.workspace, job.config
    if job.data is None and newest_corpus(workspace.path) is None:
        return
    choice = choose_data(workspace, job.data, config.data, job.validation)
    refuse_idle([config], choice, job.given)
    reader = document_reader(config.data)  # of whole files, so that none is read to its end
    for files in (choice.train, choice.validation):
        documents = chain.from_iterable(reader.documents(path) for path in files)
        next(chain.from_iterable(documents), None)


def with_real_vocabulary(job: Job) -> Config:
    """The config with the size of the tokenizer that training would take, where there is one."""
    config, workspace, tokenizer = job.config, job.workspace, job.tokenizer
    if job.pretrained is not None:
        return config
    if tokenizer is not None:
        require_tokenizer(tokenizer, tokenizer)
        workspace.console.note(f"tokenizer: {tokenizer}")
    else:
        name = name_of_data(workspace, job.data)
        tokenizer = ready_tokenizer(workspace, name, job.data)
    if tokenizer is None:
        workspace.console.note(
            "no tokenizer yet: counting with the vocabulary that the preset asks for"
        )
        return config
    size = Tokenizer.load(tokenizer).vocab_size
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=size))
