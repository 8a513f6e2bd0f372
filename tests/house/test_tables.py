"""What a table names can be used: each entry has its module, and its command."""

import importlib

import pytest

from gpt_tf.cli.prepare import prepare
from gpt_tf.interop.exporting import FORMATS
from gpt_tf.streaming.corpora.corpus import READY_MADE


@pytest.mark.parametrize("name", FORMATS)
def test_each_export_format_has_a_module_that_writes(name: str) -> None:
    module = importlib.import_module(f"gpt_tf.interop.{FORMATS[name].module}")
    assert callable(module.write)


def test_each_ready_made_corpus_is_a_command_of_prepare() -> None:
    assert sorted(READY_MADE) == sorted(prepare.commands)
