"""Importing holds no copy of the weights in memory: a made-up GPT-2 of 498 MB.

    python benchmarks/importing.py [--check]

The model is written in three shards with random weights and a vocabulary of 50,257 words into a
temporary folder. The peak of the resident memory is the process's own, as the kernel counts it;
beside it stand that of a tiny model (Python and the libraries) and the seconds that reading,
hashing and writing the same bytes take.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from report import finish, parser
from runs import measured

from gpt_tf.config import ModelConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.interop.families import parameter_shapes
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.interop.model_config import their_config
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.tensors import Shape, Streamed

SHARDS = 3


def write_folder(folder: Path, config: ModelConfig) -> int:
    """A folder of transformers; returns the bytes of its weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(their_config(GPT2, config)))
    (folder / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(config.vocab_size)))
    random = np.random.default_rng(0)
    own = parameter_shapes(config)
    shapes: dict[str, Shape] = {
        GPT2.with_prefix(name): theirs.shape_of_each(own[ours])
        for ours, theirs in GPT2.names(config).items()
        for name in theirs.names
    }
    places = {}
    for shard in range(SHARDS):
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        held = dict(list(shapes.items())[shard::SHARDS])
        places |= dict.fromkeys(held, file)
        weights = Streamed(held, lambda name: random.standard_normal(shapes[name], "f4"))
        weights.write(folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def measure_import(folder: Path, workspace: Path) -> tuple[float, float]:
    """Seconds and the peak of resident MB of `gpt-tf import`."""
    begun = time.perf_counter()
    _, peak = measured(workspace, "import", str(folder))
    return time.perf_counter() - begun, peak


def measure_copy(folder: Path, destination: Path) -> float:
    """Seconds to read, write and sync the weights, and to read and hash what was written."""
    begun = time.perf_counter()
    with destination.open("wb") as out:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    sha256_file(destination)
    return time.perf_counter() - begun


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = arguments.parse_args()
    large = resolve(read_preset("gpt2")).model
    tiny = dataclasses.replace(large, num_layers=1, embed_dim=12, ffn_dim=12, context_length=8)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        workspace = Path(name)
        write_folder(workspace / "tiny", tiny)
        size = write_folder(workspace / "large", large) / 1e6
        _, least = measure_import(workspace / "tiny", workspace)
        copy_seconds = measure_copy(workspace / "large", workspace / "copy")
        seconds, peak = measure_import(workspace / "large", workspace)
    figures = {
        "weights_mb": round(size, 1),
        "peak_mb": round(peak, 1),
        "peak_of_tiny_mb": round(least, 1),
        "above_tiny_share": round((peak - least) / size, 3),
        "seconds": round(seconds, 2),
        "copy_seconds": round(copy_seconds, 2),
    }
    promises = {
        "importing takes less memory than half the weights, libraries apart": peak - least
        < size / 2,
        "and at most 4 times as long as copying and hashing them, and 5 s": seconds
        < 4 * copy_seconds + 5,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
