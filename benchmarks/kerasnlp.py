"""The KerasNLP mini-GPT presets against KerasHub itself, and models 1 to 4 ranked.

On the novels: lines over 450 bytes, WordPiece of 5,000 entries trained on them. gpt-tf and KerasHub
train on the same id arrays, in the same order, for the same number of steps; the perplexity is that
of all validation rows. Runs already finished in the workspace are read, one cut off is resumed.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from report import finish, parser
from runs import Job, all_figures, gpt_tf, print_markdown

from gpt_tf.config import Config
from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.runs.run_data import data_of_run
from gpt_tf.runs.streams import open_stream
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.streaming.batches import Batch
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256

PRESETS = ("kerasnlp-mini", "kerasnlp-prenorm")
MODELS = {  # of the study, each here with 2 layers of 4 heads
    "model 1": "kerasnlp-final-norm",
    "model 2": "kerasnlp-prenorm",
    "model 3": "kerasnlp-dropout",
    "model 4": "kerasnlp-no-positions",
}
SMALL = ["--set", "model.num_layers=2", "--set", "model.num_heads=4"]


def job(name: str, preset: str, seed: int, steps: int, novels: Path, *more: str) -> Job:
    """A run on the novels."""
    arguments = ["--preset", preset, "--data", str(novels / "train.txt")]
    arguments += ["--validation-data", str(novels / "valid.txt"), "--max-steps", str(steps)]
    arguments += ["--set", f"training.seed={seed}"]
    arguments += ["--set", f"training.eval_interval={max(1, steps // 2)}", *more]
    return Job(name, arguments)


def write_arrays(workspace: Path, name: str) -> Path:
    """The id arrays that a run was trained and is validated on, in a file."""
    path = workspace / "arrays" / f"{name}.npz"
    if path.exists():
        return path
    run = find_run(workspace, name)
    config = resolve(read_config_file(run.config_file))
    choice = data_of_run(workspace, run, config.data)
    common = (config, choice)
    tokenizer = (Tokenizer.load(run.tokenizer), tokenizer_sha256(run.tokenizer))
    with open_stream(*common, "train", *tokenizer, windows=config.data.windows) as stream:
        train = stacked([next(stream) for _ in range(config.training.max_steps or 0)])
    once: dict[str, Any] = {"shuffle": False, "epochs": 1, "allow_partial": True}
    with open_stream(*common, "validation", *tokenizer, windows="padded", **once) as stream:
        valid = {key: np.concatenate(value) for key, value in stacked(list(stream)).items()}
    path.parent.mkdir(exist_ok=True)
    arrays = {f"train_{key}": value for key, value in train.items()}
    np.savez(path, **arrays, **{f"valid_{key}": value for key, value in valid.items()})
    return path


def stacked(batches: list[Batch]) -> dict[str, np.ndarray]:
    """Fields by name, [batches, rows, context]."""
    return {
        key: np.stack(value)
        for key, value in zip(Batch._fields, zip(*batches, strict=True), strict=True)
    }


def peer_figures(python: str, workspace: Path, name: str, seed: int) -> dict[str, Any]:
    """KerasHub's figures on the arrays of the run `name`; kept by the hash of the arrays."""
    arrays = write_arrays(workspace, name)
    config = resolve(read_config_file(find_run(workspace, name).config_file))
    digest = hashlib.sha256(arrays.read_bytes()).hexdigest()[:16]
    stored = workspace / "figures" / f"kerashub-{name}-{digest}.json"
    if not stored.exists():
        script = Path(__file__).with_name("kerashub_peer.py")
        command = [python, str(script), str(arrays), "--seed", str(seed), *sizes(config)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        stored.write_text(output.splitlines()[-1])
    return dict(json.loads(stored.read_text()))


def sizes(config: Config) -> list[str]:
    """The peer's options."""
    model = config.model
    names = (
        "vocab_size",
        "context_length",
        "embed_dim",
        "ffn_dim",
        "num_layers",
        "num_heads",
        "norm_position",
    )
    return [
        word
        for name in names
        for word in (f"--{name.replace('_', '-')}", str(getattr(model, name)))
    ]


def compare(options: Any, workspace: Path, novels: Path) -> tuple[dict[str, Any], dict[str, bool]]:
    """gpt-tf against KerasHub; figures and promises."""
    names = [
        (preset, seed, f"{preset}-seed-{seed}") for seed in options.seeds for preset in PRESETS
    ]
    jobs = [job(name, preset, seed, options.steps, novels) for preset, seed, name in names]
    ours = all_figures(workspace, jobs)
    figures: dict[str, Any] = {}
    rows = []
    for preset, seed, name in names:
        peer = peer_figures(options.peer_python, workspace, name, seed)
        pair = (round(ours[name]["perplexity"], 2), round(peer["validation_perplexity"], 2))
        rows.append((preset, seed, *pair))
        for who, value in zip(("gpt-tf", "KerasHub"), pair, strict=True):
            figures.setdefault(f"{preset}, {who}", []).append(value)
    print_markdown(("preset", "seed", "gpt-tf", "KerasHub"), rows)
    promises = {
        f"{preset}: mean perplexity at most KerasHub's": bool(
            np.mean(figures[f"{preset}, gpt-tf"]) <= np.mean(figures[f"{preset}, KerasHub"])
        )
        for preset in PRESETS
    }
    return figures, promises


def rank(options: Any, workspace: Path, novels: Path) -> dict[str, float]:
    """Models 1 to 4 after a short training, best first."""
    jobs = [
        job(f"small-{preset}", preset, 1, options.rank_steps, novels, *SMALL)
        for preset in MODELS.values()
    ]
    found = all_figures(workspace, jobs)
    ranked = sorted(MODELS.items(), key=lambda item: found[f"small-{item[1]}"]["loss"])
    rows = [
        (
            place,
            model,
            preset,
            *(
                round(found[f"small-{preset}"][key], 4)
                for key in ("perplexity", "accuracy", "bits_per_byte")
            ),
        )
        for place, (model, preset) in enumerate(ranked, 1)
    ]
    print_markdown(("rank", "model", "preset", "perplexity", "accuracy", "bits per byte"), rows)
    return {model: round(found[f"small-{preset}"]["perplexity"], 2) for model, preset in ranked}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("novels", type=Path, help="folder of train.txt and valid.txt")
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--steps", type=int, default=500)
    arguments.add_argument("--rank-steps", type=int, default=150)
    arguments.add_argument(
        "--peer-python", default=sys.executable, help="a Python that has keras-hub"
    )
    options = arguments.parse_args()
    workspace, novels = options.workspace.resolve(), options.novels.resolve()
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / "tokenizers").exists():
        whole = ["--set", "data.validation_share=0.0"]  # the validation file is given apart
        gpt_tf(
            workspace,
            "train-tokenizer",
            str(novels / "train.txt"),
            "--preset",
            "kerasnlp-mini",
            *whole,
        )
    ranking = rank(options, workspace, novels)
    figures, promises = compare(options, workspace, novels)
    finish({**figures, "ranking": ranking}, promises, options.check)


if __name__ == "__main__":
    main()
