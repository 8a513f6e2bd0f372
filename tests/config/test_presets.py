"""Every ready-made run: its published size, and that it builds and takes a step."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from places import REPOSITORY
from tiny_models import preset_model, token_ids

from gpt_tf.config_files import preset_names, read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.interop.families import parameter_shapes
from gpt_tf.model.architectures import make_model
from gpt_tf.model.variables import weight_variables
from gpt_tf.runs.preset_costs import ROWS_OF_CHUNK, TIMES, memory_of
from gpt_tf.runs.preset_facts import facts_of
from gpt_tf.streaming.batches import Batch
from gpt_tf.training.losses import CHUNK_ROWS
from gpt_tf.training.optimizer import make_optimizer
from gpt_tf.training.train_step import TrainStep

# Published sizes; demo by hand: 1,200 * 128 + 128 * 128
# + 4 * (49,536 + 16,512 + 66,048 + 65,664 + 512) + 256. best: at most that of context64.
PARAMETERS = {
    "bigram": 4_225,
    "demo": 963_328,
    "gpt2": 124_439_808,
    "imdb": 27_446_454,
    "kerasnlp-dropout": 7_297_784,
    "kerasnlp-final-norm": 3_387_778,
    "kerasnlp-mini": 3_387_266,
    "kerasnlp-no-positions": 7_265_016,
    "kerasnlp-prenorm": 3_387_266,
    "kerasnlp-prenorm-12x12": 7_297_784,
    "opt-125m": 125_239_296,
    "shakespeare-8-heads": 209_729,
    "shakespeare-baseline": 209_729,
    "shakespeare-best": 211_389,
    "shakespeare-context64": 211_777,
    "shakespeare-gpt": 10_788_929,
    "shakespeare-long": 209_729,
}
FINE_TUNING = ("finetune", "finetune-lora")
LARGE = ("gpt2", "opt-125m")  # a step takes half a minute and gigabytes
QUICK = ("bigram", "demo", "imdb", "kerasnlp-mini", "shakespeare-baseline")  # one of each system
# The KerasNLP study's grid: model 2 by layers and heads; model 4 with 4 or 8 heads.
GRID = {
    ("kerasnlp-prenorm", 6, 4): 4_972_424,
    ("kerasnlp-prenorm", 6, 8): 4_972_424,
    ("kerasnlp-prenorm", 6, 12): 4_947_776,
    ("kerasnlp-prenorm", 12, 4): 7_347_080,
    ("kerasnlp-prenorm", 12, 8): 7_347_080,
    ("kerasnlp-prenorm", 12, 12): 7_297_784,
    ("kerasnlp-no-positions", 12, 4): 7_314_312,
    ("kerasnlp-no-positions", 12, 8): 7_314_312,
}


def test_every_preset_is_listed() -> None:
    assert sorted([*PARAMETERS, *FINE_TUNING]) == preset_names()


def test_the_readme_s_table_is_that_of_the_presets() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| .* \| ([\d,]+) \| (.+) \| (.+) \| ([\d,]+) \| (.+) \|$",
        (REPOSITORY / "README.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert sorted(row[0] for row in rows) == sorted(PARAMETERS)
    for name, context, shape, width, parameters, tokenizer in rows:
        config = resolve(read_preset(name))
        model = config.model
        assert int(context.replace(",", "")) == model.context_length, name
        assert int(parameters.replace(",", "")) == PARAMETERS[name], name
        char = config.tokenizer.kind == "char"
        size = (model if char else config.tokenizer).vocab_size
        assert f"{size:,}" in tokenizer, name
        if model.architecture == "gpt":
            assert (shape, int(width)) == (
                f"{model.num_layers} × {model.num_heads}",
                model.embed_dim,
            )


def test_the_facts_of_each_preset_are_those_of_its_model_and_of_the_documents() -> None:
    facts = {name: facts_of(name) for name in preset_names()}
    sizes = {name: each.parameters for name, each in facts.items() if each.parameters is not None}
    assert sizes == PARAMETERS
    for each in facts.values():
        assert each.about.endswith(".") and len(each.origin) <= 23
        assert ("--from RUN" in each.command) == (each.name in FINE_TUNING)
    measured = json.loads((REPOSITORY / "docs" / "figures.json").read_text("utf-8"))
    figures = {figure["name"]: figure["value"]
               for entry in measured["measurements"] for figure in entry["figures"]}  # fmt: skip
    assert TIMES["demo"].minutes == figures["demo, the training"]
    hours = figures["imdb, 20 epochs: training, estimated from the 800 steps"]
    assert TIMES["imdb"].minutes == 60 * hours and not TIMES["imdb"].is_measured
    _, seconds, *_ = figures["kerasnlp-mini, estimated and taken"]
    assert TIMES["kerasnlp-mini"].minutes == round(seconds / 60)
    assert "The run took 3.0 hours" in (REPOSITORY / "docs" / "RESULTS.md").read_text("utf-8")
    assert TIMES["shakespeare-gpt"].minutes == 3 * 60
    performance = (REPOSITORY / "docs" / "PERFORMANCE.md").read_text("utf-8")
    assert "**W1** is compiled by XLA as one function. A step takes about 12 ms" in performance
    steps = resolve(read_preset("shakespeare-baseline")).training.max_steps
    assert TIMES["shakespeare-baseline"].minutes == steps * 0.012 / 60
    assert ROWS_OF_CHUNK == CHUNK_ROWS
    for name in ("demo", "shakespeare-baseline", "shakespeare-gpt", "kerasnlp-mini"):
        by_dry_run, *_ = figures[f"memory estimated, taken and the difference: `{name}`"]
        precision = "float32" if name in ("demo", "shakespeare-baseline") else "bfloat16"
        config = resolve(read_preset(name), {"training": {"precision": precision}})
        assert memory_of(config, PARAMETERS[name]) == pytest.approx(1e6 * by_dry_run, rel=0.05)


def test_the_costs_of_each_preset_are_known_as_far_as_they_do_not_depend_on_your_data() -> None:
    facts = {name: facts_of(name) for name in preset_names()}
    assert {name for name, each in facts.items() if each.memory is None} == {*FINE_TUNING}
    own = {name for name, each in facts.items() if each.time is None}
    assert own == {*FINE_TUNING, "gpt2", "opt-125m"}
    minutes = {name: each.time.minutes for name, each in facts.items() if each.time}
    assert minutes["shakespeare-long"] == 2 * minutes["shakespeare-baseline"]
    assert minutes["kerasnlp-prenorm"] == minutes["kerasnlp-mini"]
    assert minutes["kerasnlp-prenorm-12x12"] > 2 * minutes["kerasnlp-mini"]


@pytest.mark.parametrize("preset", FINE_TUNING)
def test_a_preset_for_fine_tuning_has_no_architecture(preset: str) -> None:
    assert set(read_preset(preset).get("model", {})) <= {"lora", "dropout"}


@pytest.mark.parametrize("preset", LARGE)
def test_a_large_preset_has_its_size(preset: str) -> None:
    shapes = parameter_shapes(preset_model(preset))
    assert sum(math.prod(shape) for shape in shapes.values()) == PARAMETERS[preset]


@pytest.mark.parametrize("preset", sorted(PARAMETERS.keys() - {*LARGE, *QUICK}))
def test_a_preset_builds_in_its_size(preset: str) -> None:
    assert make_model(preset_model(preset)).count_params() == PARAMETERS[preset]


@pytest.mark.parametrize(
    "preset",
    [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.long]) for name in PARAMETERS],
)
def test_a_preset_builds_in_its_size_and_takes_a_step(
    preset: str, request: pytest.FixtureRequest
) -> None:
    if preset in QUICK:  # the long cases compile
        request.getfixturevalue("eagerly")
    config = resolve(read_preset(preset))
    model = make_model(config.model, seed=1)
    weights = weight_variables(model)
    sizes = [math.prod(variable.shape) for variable in weights.values()]
    assert sum(sizes) == model.count_params() == PARAMETERS[preset]
    before = {name: variable.numpy() for name, variable in weights.items()}
    shape = (2, config.model.context_length)
    step = TrainStep(model, make_optimizer(model, config.training), shape=shape)
    inputs, targets = (token_ids(*shape, config.model.vocab_size, seed) for seed in (0, 1))
    result = step([Batch(inputs, targets, np.ones(shape, np.float32))], [1e-3])[0]
    assert result.finite and result.tokens == math.prod(shape)
    for name, variable in weights.items():
        assert not np.array_equal(variable.numpy(), before[name]), name


@pytest.mark.parametrize(("preset", "layers", "heads"), GRID)
def test_the_grid_has_its_sizes(preset: str, layers: int, heads: int) -> None:
    model = dataclasses.replace(preset_model(preset), num_layers=layers, num_heads=heads)
    assert make_model(model).count_params() == GRID[preset, layers, heads]


def test_a_preset_lies_over_its_base() -> None:
    base, preset = (read_preset(f"shakespeare-{name}") for name in ("baseline", "8-heads"))
    assert "base" not in preset
    assert preset.pop("model") == {**base.pop("model"), "num_heads": 8}
    assert preset == base


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean kerasnlp-mini"):
        read_preset("kerasnlp-mimi")
