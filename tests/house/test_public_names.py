"""The public names: the same for Python and for type checkers, with help, and light to import."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gpt_tf

REPOSITORY = Path(gpt_tf.__file__).parent.parent
NAMES = [name for name in gpt_tf.__all__ if name != "__version__"]


def test_type_checkers_see_the_names_that_python_sees() -> None:
    (block,) = [
        node for node in ast.parse(Path(gpt_tf.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]  # fmt: skip
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    seen = {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}
    assert seen == {name: (module, name) for name, module in gpt_tf._PUBLIC.items()}


def test_mypy_knows_the_type_of_every_public_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    lines = [f"reveal_type(gpt_tf.{name})" for name in gpt_tf.__all__]
    program.write_text("\n".join(["import gpt_tf", *lines, "gpt_tf.Nothing"]) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "setup.cfg", str(program)]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout
    revealed = re.findall(r'program\.py:(\d+): note: Revealed type is "(.*)"', said)
    types = {gpt_tf.__all__[int(line) - 2]: found for line, found in revealed}
    assert types.keys() == set(gpt_tf.__all__), said
    assert [name for name, found in types.items() if found == "Any"] == []
    assert re.fullmatch(r"def \(\) -> (builtins\.)?list\[(builtins\.)?str\]", types["presets"])
    assert re.search(r'error: .*"Nothing"', said), "a name that is not there is not noticed"


def first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().split("\n")[0]


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_public_name_says_what_it_is_and_what_it_takes(name: str) -> None:
    thing = getattr(gpt_tf, name)
    assert re.fullmatch(r"[A-Z].{15,}[.:]|.{15,}\.", first_line(thing)), first_line(thing)
    assert (
        name in (gpt_tf.__doc__ or "")
        or "Config" in name
        or thing.__module__.startswith(
            ("gpt_tf.model", "gpt_tf.training.schedule", "gpt_tf.inference")
        )
    )
    if isinstance(thing, type):
        methods = [each for key, each in vars(thing).items() if not key.startswith("_")]
        assert all(first_line(each) for each in methods if hasattr(each, "__code__"))


def test_presets_are_listed_without_tensorflow() -> None:
    program = "import gpt_tf, sys; print(*gpt_tf.presets()); print('tensorflow' in sys.modules)"
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert {"demo", "imdb", "shakespeare-baseline"} <= set(said[0].split())
    assert said[1] == "False"


def test_what_is_made_of_the_public_names_says_what_it_is() -> None:
    loss, stopping = gpt_tf.MaskedLoss(pad_id=1), gpt_tf.EarlyStopping(patience=3)
    assert repr(loss) == "MaskedLoss(pad_id=1)"
    stopping.update(1.5, 10)
    assert repr(stopping) == "EarlyStopping(patience=3, best=1.5000, best_step=10, waited=0)"
    assert repr(gpt_tf.WarmupLinear(0.1, 5, 10)).startswith(
        "WarmupLinear(peak_learning_rate=0.1, warmup_steps=5, max_steps=10, "
    )
