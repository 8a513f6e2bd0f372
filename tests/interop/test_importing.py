"""Import of Hugging Face folders: names, types, shards, tokenizers; real checkpoints and words."""

import dataclasses
import hashlib
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from commands import in_process
from data import data_file, unpacked
from hugging_face_folders import (
    SMALL,
    WORDS,
    their_tensors,
    write_folder,
    write_json,
    write_shards,
)

import gpt_tf
from gpt_tf.config import LoraConfig, ModelConfig
from gpt_tf.config_files import preset_names
from gpt_tf.errors import UsageError
from gpt_tf.interop.families import Family, parameter_shapes
from gpt_tf.interop.gpt2 import GPT2, OPENAI_GPT
from gpt_tf.interop.importing import read_folder
from gpt_tf.interop.model_config import model_config
from gpt_tf.interop.opt import OPT
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.tokenizer.foreign import read_foreign

CONFIGS = {
    "gpt2": (GPT2, SMALL),
    "gpt2-untied": (GPT2, dataclasses.replace(SMALL, tied_head=False)),
    "opt": (OPT, dataclasses.replace(SMALL, positions="offset", activation="relu")),
    "opt-post": (
        OPT,
        dataclasses.replace(
            SMALL, positions="offset", norm_position="post", final_norm=False, tied_head=False
        ),
    ),
    "openai-gpt": (OPENAI_GPT, dataclasses.replace(SMALL, norm_position="post", final_norm=False)),
}


def test_the_real_checkpoint_has_its_reference_logits(mgm: Path) -> None:
    reference = json.loads((mgm / "gpt2-mgm" / "reference_logits.json").read_text())
    model = gpt_tf.load(mgm / "runs" / "mgm").model
    assert model.count_params() == 8_924_928
    logits_TV = model(np.array([reference["input_ids"]], np.int32)).numpy()[0]
    last = reference["logits_last_position_first_16"]
    np.testing.assert_allclose(logits_TV[-1, :16], last, atol=1e-4)
    np.testing.assert_allclose(logits_TV.max(-1), reference["max_by_position"], atol=1e-4)
    assert logits_TV.argmax(-1).tolist() == reference["argmax_by_position"]
    # of 9,669 logits each, so a mean within 1e-4 too
    sums = np.array(reference["logits_sum_by_position"])
    np.testing.assert_allclose(logits_TV.mean(-1), sums / 9669, atol=1e-4)


def test_the_real_checkpoint_goes_on_greedily_as_the_reference(mgm: Path) -> None:
    reference = json.loads((mgm / "gpt2-mgm" / "reference_logits.json").read_text())
    generator = gpt_tf.load(mgm / "runs" / "mgm")
    begin, *expected = reference["greedy_24_from_bos_special_ids_0_1_2_masked"]
    assert generator.prompt_ids("") == [begin]
    text = generator.texts([""], "greedy", max_new_tokens=24)[0][0]
    assert text.continuation.token_ids == expected
    assert text.text.split()[0] == generator.tokenizer.tokens(expected)[0]


def test_an_imported_run_generates_and_evaluates_and_has_nothing_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(write_folder(tmp_path / "theirs", GPT2), tmp_path)
    (tmp_path / "words.txt").write_text("w0 w1 w5 w7\n" * 40)
    capsys.readouterr()
    in_process("generate", "--prompt", "w3", "--logit-bias", "2=-99", cwd=tmp_path)
    assert capsys.readouterr().out.startswith("w3 w")
    in_process("evaluate", "one", "words.txt", "--json", cwd=tmp_path)
    assert json.loads(capsys.readouterr().out)["tokens"] > 100
    for arguments, what in [
        (("evaluate", "one"), "no data in the run one: it was imported"),
        (("train", "--resume", "one"), "nothing to resume in"),
        (("generate", "--prompt", "w3 other"), "words in the text that the tokenizer has not seen"),
    ]:
        assert in_process(*arguments, cwd=tmp_path, check=False) == 2
        assert what in capsys.readouterr().err
    in_process("doctor", "one", cwd=tmp_path)
    assert "the run was imported" in capsys.readouterr().out


def test_a_bare_model_without_prefix_and_head(tmp_path: Path) -> None:
    folder = unpacked("gpt2-tiny-random", tmp_path)
    in_process("import", str(folder), cwd=tmp_path)
    run = find_run(tmp_path, "gpt2-tiny-random-001")
    stored = run.checkpoints.last().model
    theirs = safetensors.numpy.load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(stored["embedding/tokens"], theirs["wte.weight"])
    generator = gpt_tf.load(run)
    tokenizer = generator.tokenizer
    assert tokenizer.tokens(tokenizer.encode(" lower")) == ["Ġlow", "er"]
    assert (tokenizer.eot_id, tokenizer.bos_id, tokenizer.pad_id) == (20, None, None)
    assert generator.generate("low", max_new_tokens=4) is not None


def quick_texts(folder: Path) -> dict[str, str]:
    """Listed texts of a few seconds in all, with the SHA-256 of their ids as uint16."""
    import gzip

    text = gzip.decompress(data_file("tinyshakespeare.txt.gz").read_bytes()).decode()
    with tarfile.open(data_file("wikitext-2.tar.xz")) as archive:
        archive.extractall(folder, filter="data")
    wiki = {
        part: (folder / "wikitext-2" / f"wiki.{part}.tokens").read_text("utf-8")
        for part in ("valid", "test", "train")
    }
    return {
        text[:1_003_854]: "502a2bdc8210d1ac5d5674867cb74467dd31db575d25cf6dbb08c8bdbea8680f",
        text[1_003_854:]: "68a53422394c26a655ebe641f5c6f49888e8f4e45fe5d6f02abda63ba3ebd65b",
        wiki["valid"]: "17bc83b54d943c68889ab3b9cb01f17b86fe0216e9738ee39806d2631aac2ef9",
        wiki["test"]: "33d3634d89dfb45a09164ac72a5e7939b90eeffce49f82cc738dc5dbc652cf3c",
        wiki["train"]: "72800bcbc07a134ad5a156451277329e941bf3c75a716dce9ddb9ea1b90907ad",
    }


def ids_sha256(tokenizer, text: str) -> str:
    return hashlib.sha256(np.array(tokenizer.encode(text), "<u2").tobytes()).hexdigest()


@pytest.fixture(scope="module")
def gpt2_bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked("gpt2-bpe", tmp_path_factory.mktemp("bpe"))


def test_openais_files_give_openais_ids(gpt2_bpe: Path, tmp_path: Path) -> None:
    in_process("import", str(gpt2_bpe), cwd=tmp_path)
    tokenizer = gpt_tf.BPETokenizer.load(tmp_path / "tokenizers" / "gpt2-bpe")
    assert (tokenizer.vocab_size, tokenizer.eot_id, tokenizer.pad_id) == (50257, 50256, None)
    for text, expected in list(quick_texts(tmp_path).items())[:4]:
        assert ids_sha256(tokenizer, text) == expected
    assert tokenizer.decode(tokenizer.encode("a<|endoftext|>b")) == "a<|endoftext|>b"


@pytest.mark.long
def test_openais_files_give_openais_ids_of_long_texts(gpt2_bpe: Path, tmp_path: Path) -> None:
    tokenizer = read_foreign(gpt2_bpe)
    text, expected = list(quick_texts(tmp_path).items())[4]
    assert ids_sha256(tokenizer, text) == expected
    with tarfile.open(data_file("novels.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    for part, expected in {
        "valid": "a248ff535d3844109863e1b0093d5d783788d33208fcc96dabb46f36eb6089eb",
        "test": "faadee0b8c819e1d03e8da68f2d605927ee4e8b27f70b7c8c27db7ca0375c52f",
    }.items():
        text = (tmp_path / "novels" / f"{part}.txt").read_text("utf-8")
        assert ids_sha256(tokenizer, text) == expected


def imported(folder: Path, tmp_path: Path) -> dict[str, np.ndarray]:
    in_process("import", str(folder), "--name", "one", cwd=tmp_path)
    return find_run(tmp_path, "one").checkpoints.last().model


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name]) for name in found
    )


@pytest.mark.parametrize("case", CONFIGS)
def test_exported_again_the_file_is_the_first(case: str, tmp_path: Path) -> None:
    family, config = CONFIGS[case]
    tensors = their_tensors(family, config)
    folder = write_folder(tmp_path / "theirs", family, tensors, config)
    assert read_folder(folder).config.model == dataclasses.replace(
        config, initial_weights="gpt2", dropout=read_folder(folder).config.model.dropout
    )
    imported(folder, tmp_path)
    in_process("export", "one", "--to", str(tmp_path / "ours"), cwd=tmp_path)
    ours = safetensors.numpy.load_file(tmp_path / "ours" / "model.safetensors")
    assert same(ours, tensors)
    theirs = json.loads((folder / "config.json").read_text())
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert written == theirs


@pytest.mark.parametrize("form", ["float16", "shards", "bare", "tied-head", "masks", "float64"])
def test_the_same_weights_in_another_form(form: str, tmp_path: Path) -> None:
    tensors = their_tensors(GPT2)
    halves = {name: values.astype(np.float16) for name, values in tensors.items()}
    if form == "float16":
        tensors = {name: values.astype(np.float32) for name, values in halves.items()}
    forms = {
        "float16": halves,
        "float64": {name: values.astype(np.float64) for name, values in tensors.items()},
        "bare": {name.removeprefix("transformer."): each for name, each in tensors.items()},
        "tied-head": {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]},
        "masks": {
            **tensors,
            "transformer.h.0.attn.bias": np.ones((1, 1, 8, 8), bool),
            "transformer.h.0.attn.masked_bias": np.array(-1e4, np.float32),
        },
    }
    folder = write_folder(tmp_path / "form", GPT2, forms.get(form, tensors))
    if form == "shards":
        write_shards(folder, tensors)
    expected = imported(write_folder(tmp_path / "plain", GPT2, tensors), tmp_path / "a")
    assert same(imported(folder, tmp_path / "b"), expected)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    import ml_dtypes

    tensors = their_tensors(GPT2)
    halves = {name: values.astype(ml_dtypes.bfloat16) for name, values in tensors.items()}
    wide = {name: values.astype(np.float32) for name, values in halves.items()}
    expected = imported(write_folder(tmp_path / "wide", GPT2, wide), tmp_path / "a")
    assert same(imported(write_folder(tmp_path / "half", GPT2, halves), tmp_path / "b"), expected)


def test_heads_of_the_fused_projection_stay_apart(tmp_path: Path) -> None:
    """OPT's three projections, [out, in], side by side in ours, [in, out]."""
    _, config = CONFIGS["opt"]
    tensors = their_tensors(OPT, config)
    stored = imported(write_folder(tmp_path / "opt", OPT, tensors, config), tmp_path)
    kernel = stored["block_1/attention/qkv/kernel"]
    for part, name in enumerate("qkv"):
        theirs = tensors[f"model.decoder.layers.1.self_attn.{name}_proj.weight"]
        np.testing.assert_array_equal(kernel[:, 4 * part : 4 * part + 4], theirs.T)
    assert stored["embedding/positions"].shape == (8 + 2, 4)


@pytest.mark.parametrize("preset", [name for name in preset_names() if name != "bigram"])
def test_shapes_are_those_of_the_model(preset: str) -> None:
    from tiny_models import small_config

    from gpt_tf.model.architectures import make_model
    from gpt_tf.model.variables import weight_variables

    config = small_config(preset, lora=LoraConfig())  # adapters are merged before
    found = {name: tuple(v.shape) for name, v in weight_variables(make_model(config)).items()}
    assert found == parameter_shapes(config)


def test_tokens_beside_the_vocabulary_keep_their_ids(tmp_path: Path) -> None:
    write_json(tmp_path / "vocab.json", {"a": 0, "b": 1, "ab": 2})
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    write_json(tmp_path / "added_tokens.json", {"<pad>": 4, "<eos>": 3})
    write_json(tmp_path / "special_tokens_map.json", {"pad_token": "<pad>", "bos_token": "<eos>"})
    write_json(tmp_path / "tokenizer_config.json", {"eos_token": {"content": "<eos>"}})
    tokenizer = read_foreign(tmp_path)
    assert tokenizer.encode("aba<eos>"[:3]) == [2, 0]
    assert (tokenizer.eot_id, tokenizer.pad_id, tokenizer.bos_id) == (3, 4, None)
    tokenizer.save(tmp_path / "saved")
    again = gpt_tf.BPETokenizer.load(tmp_path / "saved")
    assert (again.eot_id, again.pad_id, again.encode("ab")) == (3, 4, [2])
    write_json(tmp_path / "added_tokens.json", {"<pad>": 3, "<eos>": 7})
    with pytest.raises(UsageError, match="'<eos>' has the id 7"):
        read_foreign(tmp_path)


def test_a_pad_that_is_the_end_token_is_none(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = read_foreign(tmp_path, {"eos": [2, 1], "pad": 2, "bos": 1})
    assert (tokenizer.eot_id, tokenizer.pad_id, tokenizer.bos_id) == (2, None, 1)
    assert "pad" not in tokenizer.special_tokens
    assert tokenizer.encode("w1  w0\nw7") == [4, 3, 10]
    assert tokenizer.decode([4, 3, 10]) == "w1 w0 w7"


@pytest.mark.parametrize(
    ("family", "changes", "named"),
    [
        (OPT, {"word_embed_proj_dim": 2}, "word_embed_proj_dim must be 4, not 2"),
        (OPT, {"enable_bias": False}, "enable_bias must be true, not false"),
        (GPT2, {"activation_function": "swish"}, "activation_function must be one of gelu_new"),
        (GPT2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        (GPT2, {"n_head": 3}, "heads as wide as embed_dim"),
        (GPT2, {"n_layer": "two"}, "num_layers must be of type int"),
        (GPT2, {"quantization_config": {"bits": 4}}, "quantized weights"),
        (GPT2, {"model_type": "llama"}, "unknown model_type"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(
    family: Family, changes: dict, named: str, tmp_path: Path
) -> None:
    config: ModelConfig = CONFIGS["opt" if family is OPT else "gpt2"][1]
    folder = write_folder(tmp_path / "theirs", family, None, config, **changes)
    with pytest.raises(UsageError, match=r"config\.json") as caught:
        read_folder(folder)
    assert named in str(caught.value)


def test_a_name_of_the_hub_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(UsageError, match=r"not a folder: .*model.bin. Give its folder"):
        read_folder(tmp_path / "model.bin")
    with pytest.raises(UsageError, match=r"no such folder: gpt2\. .*hf download NAME --local-dir"):
        read_folder(Path("gpt2"))


SIZES = {  # as the models of these names have them; the config files say no more than this
    "gpt2-medium": (GPT2, {"n_embd": 1024, "n_layer": 24, "n_head": 16}, 354_823_168),
    "gpt2-large": (GPT2, {"n_embd": 1280, "n_layer": 36, "n_head": 20}, 774_030_080),
    "gpt2-xl": (GPT2, {"n_embd": 1600, "n_layer": 48, "n_head": 25}, 1_557_611_200),
    "openai-gpt": (OPENAI_GPT, {}, 116_534_784),
    "opt-1.3b": (
        OPT,
        {"hidden_size": 2048, "ffn_dim": 8192, "num_hidden_layers": 24, "num_attention_heads": 32},
        1_315_758_080,
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_larger_sizes_come_from_the_config_alone(name: str) -> None:
    family, config, parameters = SIZES[name]
    shapes = parameter_shapes(model_config(family, config, Path("config.json")))
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters


def test_another_architecture_than_the_type_of_the_model_is_refused_or_said(caplog) -> None:
    for name in ("OPTForCausalLM", "OpenAIGPTLMHeadModel"):
        with pytest.raises(UsageError, match=f"must be GPT2LMHeadModel, not {name}"):
            model_config(GPT2, {"architectures": [name]}, Path("config.json"))
    for name in ("GPT2LMHeadModel", "GPT2Model", "GPT2DoubleHeadsModel"):
        model_config(GPT2, {"architectures": [name]}, Path("config.json"))
    model_config(GPT2, {"architectures": None}, Path("config.json"))
    assert not caplog.messages
    model_config(GPT2, {"architectures": ["GPT2ForSequenceClassification"]}, Path("config.json"))
    assert "GPT2ForSequenceClassification is not a language model" in caplog.text


def test_a_begin_token_that_is_the_end_token_stands_before_texts_where_they_say_so(
    tmp_path: Path,
) -> None:
    """OPT's `</s>`; GPT-2 has one end token too, and nothing before texts."""
    write_json(tmp_path / "vocab.json", {"a": 0, "b": 1, "</s>": 2})
    (tmp_path / "merges.txt").write_text("")
    settings = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>"}
    for begins in (True, False):
        write_json(tmp_path / "tokenizer_config.json", {**settings, "add_bos_token": begins})
        read_foreign(tmp_path).save(tmp_path / "saved", overwrite=True)
        tokenizer = gpt_tf.BPETokenizer.load(tmp_path / "saved")
        assert tokenizer.bos_id == (2 if begins else None)
        assert (tokenizer.eot_id, tokenizer.control_ids) == (2, frozenset())
        assert tokenizer.encode("ab") == [0, 1]  # who needs it puts it there
        assert tokenizer.backend.encode("ab").ids == ([2, 0, 1] if begins else [0, 1])
