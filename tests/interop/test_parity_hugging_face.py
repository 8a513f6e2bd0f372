"""Models that cross over to transformers and back, with PyTorch on the other side."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from commands import TINY_RUN, gpt_tf, in_process
from data import parity_package

import gpt_tf as package
from gpt_tf.storage.finding_runs import find_run

pytestmark = pytest.mark.parity

DRAWS = range(12)
TOLERANCE = 1e-4  # float32 on both sides, sums in another order


def draw(family: str, seed: int) -> dict[str, Any]:
    """A random configuration; every third is untied, every fourth OPT puts norms after the sums,
    the last two OPTs have narrower word vectors."""
    random = np.random.default_rng([seed, len(family)])
    heads = int(random.choice([1, 2, 3, 4]))
    width = heads * int(random.choice([2, 4, 6]))
    layers, vocab = int(random.integers(1, 5)), int(random.integers(10, 60))
    inner, context = int(random.integers(3, 40)), int(random.integers(8, 20))
    common = {"vocab_size": vocab, "tie_word_embeddings": seed % 3 != 0}
    activation = str(random.choice(["gelu_new", "gelu", "relu", "relu2", "gelu_pytorch_tanh"]))
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if family == "gpt2":
        return {
            **common,
            **ids,
            "n_layer": layers,
            "n_head": heads,
            "n_embd": width,
            "n_inner": inner if seed % 2 else None,
            "n_positions": context,
            "activation_function": activation,
            "layer_norm_epsilon": float(random.choice([1e-5, 1e-3])),
        }
    return {
        **common,
        **ids,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": width,
        "ffn_dim": inner,
        "max_position_embeddings": context,
        "activation_function": activation,
        "do_layer_norm_before": seed % 4 != 1,
        "_remove_final_layer_norm": seed % 4 == 2,
        "word_embed_proj_dim": width if seed < 10 else width + 2,
    }


def saved_by_transformers(family: str, seed: int, folder: Path) -> Any:
    """Their model with random weights, in a folder with a vocabulary of words."""
    torch, transformers = parity_package("torch"), parity_package("transformers")
    names = {"gpt2": ("GPT2Config", "GPT2LMHeadModel"), "opt": ("OPTConfig", "OPTForCausalLM")}
    config_class, model_class = (getattr(transformers, name) for name in names[family])
    model = model_class(config_class(**draw(family, seed))).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # norms near 1 and the rest near 0: all of them matter, and nothing overflows
            centre = 1.0 if "ln" in name or "layer_norm.weight" in name else 0.0
            parameter.copy_(centre + 0.3 * noise)
    model.save_pretrained(folder)
    words = [f"w{i}" for i in range(model.config.vocab_size)]
    (folder / "vocab.txt").write_text("\n".join(words))
    return model


def their_logits(model: Any, ids: np.ndarray) -> np.ndarray:
    torch = parity_package("torch")
    with torch.no_grad():
        return model(torch.tensor(ids, dtype=torch.long)).logits.numpy()


@pytest.mark.parametrize("seed", DRAWS)
@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_a_drawn_model_comes_in_right_and_goes_out_as_it_was(
    family: str, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = saved_by_transformers(family, seed, tmp_path / "theirs")
    drawn = draw(family, seed)
    if drawn.get("word_embed_proj_dim") != drawn.get("hidden_size"):
        assert in_process("import", str(tmp_path / "theirs"), cwd=tmp_path, check=False) == 2
        assert "word_embed_proj_dim must be" in capsys.readouterr().err
        return
    in_process("import", str(tmp_path / "theirs"), "--name", "one", cwd=tmp_path)
    ours = package.load(find_run(tmp_path, "one")).model
    ids = np.random.default_rng(seed).integers(0, ours.config.vocab_size, (2, 8)).astype(np.int32)
    expected = their_logits(theirs, ids)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours(ids).numpy(), expected, atol=TOLERANCE)
    in_process("export", "one", "--to", str(tmp_path / "ours"), cwd=tmp_path)
    first, again = (
        safetensors.numpy.load_file(tmp_path / folder / "model.safetensors")
        for folder in ("theirs", "ours")
    )
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name], err_msg=name)
    # these may say the same in other words: names of the tanh approximation, four widths, the
    # final norm that is not there anyway where norms come after the sums
    kept = drawn.keys() - {
        "activation_function",
        "n_inner",
        "word_embed_proj_dim",
        "_remove_final_layer_norm",
    }
    config = loaded(tmp_path / "ours")[0].config
    assert {key: getattr(config, key) for key in kept} == {
        key: getattr(theirs.config, key) for key in kept
    }


def loaded(folder: Path) -> tuple[Any, Any]:
    """An exported model and tokenizer, as a user of transformers loads them."""
    transformers = parity_package("transformers")
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(report.values()), report
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


# demo's own shape, in which it is written as GPT-2's and, with norms after the sums, as GPT's; and
# a small one for what else is written
DEMO = ["--max-steps", "100", "--set", "training.xla=off", "--set", "training.eval_interval=100",
        "--set", "training.eval_batches=2", "--set", "sampling.max_new_tokens=5"]  # fmt: skip
SMALL = ["--max-steps", "60", *TINY_RUN, "--set", "training.eval_interval=60"]
POST = ["--set", "model.norm_position=post", "--set", "model.final_norm=false"]
FORMS = {
    "pre": (DEMO, "GPT2LMHeadModel"),
    "post": ([*DEMO, *POST], "OpenAIGPTLMHeadModel"),
    "offset-relu": (
        [*SMALL, "--set", "model.positions=offset", "--set", "model.activation=relu"],
        "OPTForCausalLM",
    ),
    "no-bias": ([*SMALL, "--set", "model.bias=false"], "GPT2LMHeadModel"),
    "no-qkv-bias": ([*SMALL, "--set", "model.qkv_bias=false"], "GPT2LMHeadModel"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_model_trained_here_writes_the_same_in_transformers(form: str, workspace: Path) -> None:
    settings, class_name = FORMS[form]
    gpt_tf("train", "--data", "reviews", "--name", form, *settings, cwd=workspace)
    in_process("export", form, "--to", "exported", cwd=workspace)
    theirs, tokenizer = loaded(workspace / "exported")
    ours = package.load(find_run(workspace, form))
    assert type(theirs).__name__ == class_name
    vocab = ours.tokenizer.vocab_size
    ids = np.random.default_rng(0).integers(0, vocab, (3, 32)).astype(np.int32)
    np.testing.assert_allclose(ours.model(ids).numpy(), their_logits(theirs, ids), atol=TOLERANCE)
    for prompt in ("This movie is", "The director", "I"):
        for sampler, options in {"greedy": {}, "beam": {"num_beams": 4}}.items():
            text = ours.generate(prompt, sampler, max_new_tokens=20, **options)
            encoded = tokenizer(prompt, return_tensors="pt")
            assert encoded["input_ids"][0].tolist() == ours.prompt_ids(prompt)
            made = theirs.generate(**encoded, max_new_tokens=20, do_sample=False, **options)
            expected = tokenizer.decode(made[0], skip_special_tokens=True)
            assert prompt + text == expected


def test_the_settings_of_dropout_cross_over(workspace: Path) -> None:
    in_process("export", "tiny", "--to", "exported", cwd=workspace)
    config = loaded(workspace / "exported")[0].config
    ours = package.load(find_run(workspace, "tiny")).model.config
    rates = dataclasses.asdict(ours.dropout)
    assert config.embd_pdrop == rates["embedding"] == 0.1
    assert config.attn_pdrop == rates["attention_weights"] == 0.1
