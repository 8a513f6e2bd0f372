"""What the workers of `benchmarks/generation.py` share: sizes, prompts, the loop over requests.

A worker is a script `generation_<system>.py WEIGHTS.npz SIZE [--engine ENGINE]`. It loads the
weights, which have gpt-tf's names, and answers every line of stdin by one line on stdout, until
stdin ends:

    {"task": "greedy", "batch": 1}  ->  {"seconds": 0.52, "ids": [[318, 11, ...]]}

`ids` are the new ids of each prompt, `seconds` the time from an array of prompts to one of new ids.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from workers import Answer, answer_requests

# read by the libraries, which the workers import later
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}

PROMPT_TOKENS = 16
NEW_TOKENS = 100
TOP_K = 50
NUM_BEAMS = 4

Weights = Mapping[str, np.ndarray]
Generate = Callable[[str, np.ndarray], np.ndarray]  # a task, [B, PROMPT_TOKENS] -> [B, NEW_TOKENS]


class Size(NamedTuple):
    """The dimensions of a GPT-2."""

    embed_dim: int
    num_layers: int
    num_heads: int
    ffn_dim: int
    vocab_size: int
    context_length: int


SIZES = {"S": Size(256, 2, 4, 1024, 50257, 256), "M": Size(768, 12, 12, 3072, 50257, 1024)}


def prompts(size: Size, rows: int) -> np.ndarray:
    """The same different prompts for every system, [rows, PROMPT_TOKENS]."""
    ids = np.random.default_rng(2019).integers(size.vocab_size, size=(16, PROMPT_TOKENS))
    return ids[:rows].astype(np.int32)


def serve(engines: Mapping[str, Callable[[Weights, Size], Generate]]) -> None:
    """Answer requests with the engine that the command line names, by default the first."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--engine", choices=engines, default=next(iter(engines)))
    options = parser.parse_args()
    size = SIZES[options.size]

    def loaded() -> Answer:
        with np.load(options.weights, allow_pickle=False) as file:
            generate = engines[options.engine]({name: file[name] for name in file.files}, size)

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            rows = prompts(size, request["batch"])
            start = time.perf_counter()
            ids = generate(request["task"], rows)
            seconds = time.perf_counter() - start
            assert ids.shape == (len(rows), NEW_TOKENS), ids.shape
            return {"seconds": seconds, "ids": ids.tolist()}

        return answer

    answer_requests(loaded)
