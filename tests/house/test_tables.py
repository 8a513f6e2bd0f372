"""What a table names can be used, and what was written for a table stands in it."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import keras
import pytest
from places import REPOSITORY

import gpt_tf
import gpt_tf.model
import gpt_tf.streaming
from gpt_tf.cli.main import COMMANDS
from gpt_tf.cli.prepare import prepare
from gpt_tf.inference.options import SAMPLERS
from gpt_tf.interop.exporting import FORMATS
from gpt_tf.streaming.corpora.corpus import READY_MADE
from gpt_tf.streaming.kinds import FILE_KINDS
from gpt_tf.streaming.records import DataFile
from gpt_tf.training import evaluation
from gpt_tf.training.evaluation import METRICS, Sums
from gpt_tf.training.schedule import SCHEDULES


@pytest.mark.parametrize("name", FORMATS)
def test_each_export_format_has_a_module_that_writes(name: str) -> None:
    module = importlib.import_module(f"gpt_tf.interop.{FORMATS[name].module}")
    assert callable(module.write)


def test_each_ready_made_corpus_is_a_command_of_prepare() -> None:
    assert sorted(READY_MADE) == sorted(prepare.commands)


def modules_of(room: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(room.__path__):
        if not found.ispkg:
            yield importlib.import_module(f"{room.__name__}.{found.name}")


def test_each_command_that_was_written_is_in_the_table_of_commands() -> None:
    def is_command(path: Path) -> bool:
        functions = [each for each in ast.parse(path.read_text()).body
                     if isinstance(each, ast.FunctionDef)]  # fmt: skip
        return any(
            ast.unparse(decorator).startswith(("click.command", "click.group"))
            for function in functions
            for decorator in function.decorator_list
        )

    folder = REPOSITORY / "gpt_tf" / "cli"
    written = {path.stem for path in folder.glob("*.py") if is_command(path)} - {"main"}
    assert written == {module for module, _ in COMMANDS.values()}


def test_each_reader_of_a_data_file_is_in_the_table_of_file_kinds() -> None:
    """A reader takes a `DataFile` and gives texts."""
    written = set()
    for module in modules_of(gpt_tf.streaming):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            hints = inspect.get_annotations(function, eval_str=False)
            if function.__module__ == module.__name__ and not name.startswith("_"):
                first, *_ = [*hints.items(), ("", "")]
                if first[1] == DataFile.__name__ and hints.get("return") == "Iterator[str]":
                    written.add(function)
    assert written == {kind.texts for kind in FILE_KINDS}


def test_each_function_of_the_sums_is_in_the_table_of_metrics() -> None:
    written = {
        function
        for _, function in inspect.getmembers(evaluation, inspect.isfunction)
        if inspect.get_annotations(function).get("sums") == Sums.__name__
        and inspect.get_annotations(function)["return"] == "float"
    }
    assert written and written <= {metric.of for metric in METRICS}


def test_schedules_and_samplers_are_public() -> None:
    names = {schedule.__name__ for schedule in SCHEDULES.values()}
    names |= {entry.place.partition(":")[2] for entry in SAMPLERS.values()}
    assert names <= {*gpt_tf.__all__}


def test_each_layer_can_be_saved_by_keras() -> None:
    layers = {
        layer
        for module in modules_of(gpt_tf.model)
        for _, layer in inspect.getmembers(module, inspect.isclass)
        if issubclass(layer, keras.layers.Layer) and layer.__module__ == module.__name__
    }
    bases = {"KeepsArguments", "LanguageModel", "Head"}  # the head is made by its model
    unknown = {
        layer.__name__ for layer in layers
        if not keras.saving.get_registered_name(layer).startswith("gpt_tf>")
    }  # fmt: skip
    assert unknown <= bases
