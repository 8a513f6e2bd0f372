"""What "auto" means, by the processor's flags and the model's width."""

from __future__ import annotations

import pytest

from gpt_tf.config import Config, TrainingConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.runs.resolving import resolve_config, steps_in_words
from gpt_tf.training import precision
from gpt_tf.training.precision import resolve_precision


@pytest.mark.parametrize(
    ("flags", "preset", "expected"),
    [
        ({"avx2", "amx_bf16", "avx512_bf16"}, "imdb", ("bfloat16", "off", 1)),
        ({"avx2", "avx512_bf16"}, "imdb", ("bfloat16", "off", 1)),  # AMD's have no AMX
        ({"avx2", "avx512f"}, "imdb", ("float32", "off", 1)),
        ({"avx2", "amx_bf16"}, "shakespeare-baseline", ("float32", "on", 10)),  # too narrow
        (set(), "shakespeare-gpt", ("float32", "off", 1)),
    ],
)
def test_the_processor_and_the_width_decide(
    monkeypatch: pytest.MonkeyPatch,
    flags: set[str],
    preset: str,
    expected: tuple[str, str, int],
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: flags)

    config, reason = resolve_precision(resolve(read_preset(preset)))

    training = config.training
    assert (training.precision, training.xla, training.steps_per_execution) == expected
    assert ("without bfloat16 products" in reason) == (not precision.bfloat16_flags())


@pytest.mark.parametrize(("batches", "expected"), [(2, 10), (4, 8), (16, 2), (1024, 1)])
def test_a_call_has_fewer_updates_of_many_batches(
    monkeypatch: pytest.MonkeyPatch, batches: int, expected: int
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", set)
    given = read_preset("shakespeare-baseline")
    given["training"] = {**given["training"], "grad_accum_steps": batches}

    config, reason = resolve_precision(resolve(given))

    assert config.training.steps_per_execution == expected
    assert "XLA compiles each batch of a step" in reason


def test_what_is_asked_for_stays() -> None:
    asked = {"precision": "float32", "xla": "off", "steps_per_execution": 3}
    given = read_preset("imdb")
    given["training"] = {**given["training"], **asked}

    config, _ = resolve_precision(resolve(given))

    assert {name: getattr(config.training, name) for name in asked} == asked


@pytest.mark.parametrize(
    ("steps", "per_epoch", "interval", "said"),
    [
        (949, 949, 949, "949 steps of 4,096 tokens: 1 epoch, which reads the data once; an "
         "evaluation at the end"),
        (1500, 949, 300, "1,500 steps of 4,096 tokens: 1.58 epochs; an epoch is 949 steps and "
         "reads the data once; an evaluation every 300 steps"),
        (1, 2, 1, "1 step of 4,096 tokens: 0.5 epochs; an epoch is 2 steps and reads the data "
         "once; an evaluation at the end"),
    ],
)  # fmt: skip
def test_the_steps_of_a_run_are_said_in_words(
    steps: int, per_epoch: int, interval: int, said: str
) -> None:
    training = TrainingConfig(max_steps=steps, eval_interval=interval, warmup_steps=0)
    assert steps_in_words(Config(training=training), per_epoch) == said


def test_a_warm_up_that_takes_most_of_a_run_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gpt_tf")
    for warm_up, is_most in ((30, False), (31, True)):
        caplog.clear()
        training = TrainingConfig(max_steps=60, warmup_steps=warm_up)
        resolve_config(Config(training=training), 100, 0)
        said = "the warm-up takes 31 of 60 steps. Begin with a shorter one: --set training.warm"
        said += "up_steps=6"
        assert (said in caplog.messages) == is_most
        line = f"cosine with a peak of 0.001, warm-up to step {warm_up}, falling to 0 from step "
        assert f"learning rate: {line}{warm_up} to 60" in caplog.messages
