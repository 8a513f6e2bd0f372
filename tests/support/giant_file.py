"""Run as a script: learn a tokenizer from a file without a blank or a line end, and store its ids.

Arguments: the workspace, the size in megabytes. Prints the tokens, and the peak of the memory.
"""

import json
import resource
import sys
from pathlib import Path

from workspaces import choose_data

from gpt_tf.config_files import resolve
from gpt_tf.runs.streams import open_stream
from gpt_tf.runs.tokenizer_training import make_tokenizer
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256

workspace, megabytes = Path(sys.argv[1]), int(sys.argv[2])
with (workspace / "giant.txt").open("wb") as file:
    for _ in range(megabytes):
        file.write(b"abcde" * 200_000)
config = resolve({"tokenizer": {"vocab_size": 262}, "data": {"windows": "packed"}})
choice = choose_data(workspace, workspace / "giant.txt", config.data)
directory = workspace / "tokenizer"
make_tokenizer(choice, config, directory)
tokenizer, sha256 = Tokenizer.load(directory), tokenizer_sha256(directory)
counts = {}
for split in ("train", "validation"):
    with open_stream(config, choice, split, tokenizer, sha256, windows="packed") as stream:
        next(stream)
        counts[split] = stream.contents().tokens
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak_bytes": peak, **counts}))
