"""The house rules that no linter knows: what is imported when, and what is never called."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from commands import gpt_tf as run_gpt_tf

import gpt_tf

PACKAGE = Path(gpt_tf.__file__).parent
REPOSITORY = PACKAGE.parent
BENCHMARKS = sorted((REPOSITORY / "benchmarks").glob("*.py"))
HEAVY = ("tensorflow", "keras", "transformers", "matplotlib", "rich", "numpy", "yaml")


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after `code`."""
    program = f"{code}\nimport sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not modules_after("import gpt_tf; dir(gpt_tf)").intersection(HEAVY)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom gpt_tf.cli.main import main\nsys.stdout.write('')\n"
        "try: main(['--help'])\nexcept SystemExit: pass"
    )
    assert not modules_after(code).intersection(HEAVY)


def test_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import click\nfrom gpt_tf.cli.main import COMMANDS, cli\n"
        "for name in COMMANDS:\n    command = cli.get_command(None, name)\n"
        "    command.get_help(click.Context(command))"
    )
    heavy = {*HEAVY, "tokenizers", "safetensors"} - {"yaml"}  # names of presets are in YAML files
    assert not modules_after(code).intersection(heavy)


@pytest.mark.parametrize("room", ["tokenizer.bpe", "streaming.stream", "storage.checkpoint",
                                  "config_files", "streaming.corpora.corpus", "interop.importing",
                                  "interop.hugging_face", "tokenizer.foreign"])  # fmt: skip
def test_light_rooms_import_no_tensorflow_and_no_transformers(room: str) -> None:
    modules = modules_after(f"import gpt_tf.{room}")
    assert not modules.intersection(("tensorflow", "keras", "transformers"))


def test_public_names_are_there_and_a_model_writes_without_another_import() -> None:
    names = [name for name in gpt_tf.__all__ if name != "__version__"]
    code = "import gpt_tf\nassert gpt_tf.GPT.text_generator is gpt_tf.TextGenerator\n"
    code += "\n".join(f"gpt_tf.{name}" for name in names)
    assert "tensorflow" in modules_after(code)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = gpt_tf.Nothing


def test_commands_listed_are_commands_there_are() -> None:
    from gpt_tf.cli.main import COMMANDS, cli

    for name in COMMANDS:
        assert cli.get_command(None, name) is not None  # type: ignore[arg-type]


FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "h5py",
                     "subprocess", "pty", "code", "runpy"}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "spawnl", "execv",
                   "load_model", "load_weights", "extractall", "unpack_archive",
                   "unsafe_load", "full_load", "unsafe_load_all", "full_load_all",
                   "expect_partial", "trust_remote_code"}  # fmt: skip


def forbidden_in(source: str) -> list[str]:
    """What in a module would run, or let a file run, code that is not of the package."""
    found = []
    for node in ast.walk(ast.parse(source)):
        words = {keyword.arg: keyword.value for keyword in getattr(node, "keywords", [])}
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            found += sorted(names & FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
            found += sorted(names & (FORBIDDEN_MODULES | FORBIDDEN_CALLS))
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_CALLS:
            # a compiled pattern, and Keras' own method, are no code from elsewhere
            if not (node.attr == "compile" and getattr(node.value, "id", "") == "re"):
                found.append(node.attr)
        elif isinstance(node, ast.Name) and node.id in FORBIDDEN_CALLS:
            found.append(node.id)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).endswith("saved_model.load"):
            found.append("saved_model.load")
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call == "yaml.load" and ast.unparse(node.args[1]) != "_Loader":
                found.append(call)
            if call == "np.load" and ast.unparse(words.get("allow_pickle", node)) != "False":
                found.append(call)
            found += sorted(words.keys() & (FORBIDDEN_CALLS | {"shell"}))
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "import os\nos.system('x')", "eval('x')",
     "exec('x')", "np.load(path)", "np.load(path, allow_pickle=True)", "yaml.load(text, Loader)",
     "keras.models.load_model(path)", "from keras.saving import load_model", "tar.extractall(x)",
     "tf.saved_model.load(x)", "AutoModel.from_pretrained(x, trust_remote_code=True)",
     "run(x, shell=True)", "import numpy, pickle"],
)  # fmt: skip
def test_what_runs_foreign_data_is_recognized(source: str) -> None:
    assert forbidden_in(source)


def test_calls_that_run_foreign_data_are_not_in_the_source() -> None:
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (names := forbidden_in(path.read_text("utf-8")))
    }
    # `launch` starts workers: this Python, with `-m gpt_tf` and the words that were typed
    assert found == {"runs/launching.py": ["subprocess"]}


def test_one_file_alone_parses_pickles() -> None:
    """With `pickletools.genops`, which never runs what it parses."""
    found = [
        path for path in PACKAGE.rglob("*.py") if "import pickletools" in path.read_text("utf-8")
    ]
    assert found == [PACKAGE / "interop" / "torch_pickle.py"]


def test_presets_are_in_the_wheel_metadata() -> None:
    import configparser

    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "setup.cfg")
    assert "presets/*.yaml" in metadata["options.package_data"]["gpt_tf"]
    assert (PACKAGE / "py.typed").exists()


def test_no_tensorflow_noise_and_no_network_on_any_command(trained_workspace: Path) -> None:
    words = ("generate", "--max-new-tokens", "3", "--engine")
    of_tensorflow, of_auto = (
        run_gpt_tf(*words, engine, cwd=trained_workspace).stderr.splitlines()
        for engine in ("tensorflow", "auto")
    )
    assert len(of_tensorflow) == 2, of_tensorflow
    assert of_tensorflow[0].startswith("run: ") and of_tensorflow[1].startswith("first token ")
    assert "TensorFlow's import" in of_tensorflow[1]  # its time is told apart
    assert len(of_auto) == 3, of_auto
    assert of_auto[0] == "engine: numpy, which starts without TensorFlow"
    assert "TensorFlow" not in of_auto[2] and of_auto[1] == of_tensorflow[0]


def test_environment_of_another_keras_does_no_harm_and_quiet_is_quiet(
    trained_workspace: Path,
) -> None:
    result = run_gpt_tf(
        "--quiet",
        "generate",
        "--max-new-tokens",
        "3",
        cwd=trained_workspace,
        KERAS_BACKEND="jax",
        TF_USE_LEGACY_KERAS="1",
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_reader_of_stdout_that_has_gone(trained_workspace: Path) -> None:
    generate = f"{sys.executable} -m gpt_tf generate --max-new-tokens 3"
    command = f"{generate} | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", command], cwd=trained_workspace, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "0"
    assert "Traceback" not in result.stderr


def test_wheel_holds_everything(tmp_path: Path, trained_workspace: Path) -> None:
    """A wheel built from the repository works alone, away from it."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path),
            str(REPOSITORY),
        ],
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(site),
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    code = "import gpt_tf; from gpt_tf.cli.main import main; print(gpt_tf.__file__); main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "train", "--preset", "imdb", "--print-config"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert str(site) in result.stdout
    assert "vocab_size: 50358" in result.stdout


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_takes_of_ours_exists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gpt_tf"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")


MOST_PARAMETERS = 8  # of a function; self and cls do not count
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def may_have_more(room: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A command has as many as it has options, and a layer those that Keras saves of it."""
    decorators = [ast.unparse(each) for each in node.decorator_list]
    is_command = any(each.startswith("click.command(") for each in decorators)
    return (room == "cli" and is_command) or (room == "model" and node.name == "__init__")


@pytest.mark.parametrize("room", ROOMS)
def test_no_function_has_more_than_eight_parameters(room: str) -> None:
    found = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                count = sum(each.arg not in ("self", "cls") for each in named)
                name = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                if count > MOST_PARAMETERS and not may_have_more(room, node):
                    found.append(f"{name} has {count}")
    assert not found
