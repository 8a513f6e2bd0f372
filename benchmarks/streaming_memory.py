"""Memory of streaming one text far larger than it: tokenized once, then batches of its windows.

    python benchmarks/streaming_memory.py TEXT FOLDER [--gigabytes 2] [--no-newlines] [--check]

FOLDER takes a file that repeats TEXT, and its token store. Peak memory is that of the whole
process.
"""

from __future__ import annotations

import itertools
import resource
import time
from pathlib import Path

from report import finish, parser

from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.bpe import BPETokenizer

MOST_GIGABYTES = 1.0
VOCAB_SIZE = 8000
BATCHES = 2000


def write_large(text: bytes, path: Path, size: int) -> None:
    """Repeat `text` until the file has `size` bytes."""
    with path.open("wb") as target:
        for _ in range(-(-size // len(text))):
            target.write(text)
        target.truncate(size)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("text", type=Path)
    arguments.add_argument("folder", type=Path, help="where the large file is written")
    arguments.add_argument("--gigabytes", type=float, default=2.0)
    arguments.add_argument("--no-newlines", action="store_true", help="one line of it all")
    arguments.add_argument("--windows", default="random", help="random or packed")
    options = arguments.parse_args()
    text = options.text.read_bytes()
    if options.no_newlines:
        text = text.replace(b"\n", b" ")
    options.folder.mkdir(parents=True, exist_ok=True)
    large = options.folder / "large.txt"
    size = int(options.gigabytes * 1e9)
    if not large.exists() or large.stat().st_size != size:
        write_large(text, large, size)
    lines = itertools.islice(options.text.open(encoding="utf-8"), 20_000)
    tokenizer = BPETokenizer.train(lines, vocab_size=VOCAB_SIZE)
    started = time.perf_counter()
    stream = TokenStream.from_documents(
        [large],
        tokenizer,
        windows=options.windows,
        store_directory=options.folder / f"token_store_{time.time_ns()}",
        tokenizer_sha256="measured",
    )
    tokenized = time.perf_counter() - started
    with stream:
        tokens = sum(int(batch.weights.sum()) for batch in itertools.islice(stream, BATCHES))
    streamed = time.perf_counter() - started - tokenized
    figures = {
        "gigabytes": options.gigabytes,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "megabytes_tokenized_per_second": round(size / 1e6 / tokenized, 2),
        "tokens_streamed_per_second": round(tokens / streamed),
    }
    peak = figures["peak_gigabytes"]
    promise = f"{options.gigabytes} GB streamed in {peak:.2f} GB, less than {MOST_GIGABYTES}"
    finish(figures, {promise: peak < MOST_GIGABYTES}, options.check)


if __name__ == "__main__":
    main()
