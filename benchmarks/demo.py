"""Judge the text that `make demo` ends with: sentences of the grammar, not copied from a review.

Run it after `make demo`, from the repository.
"""

import subprocess
import sys
from pathlib import Path

from report import finish, parser

from gpt_tf.streaming.corpora.corpus import newest_corpus
from gpt_tf.streaming.corpora.sample_grammar import complete_sentences, parses


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--workspace", type=Path, default=Path("demo"))
    options = arguments.parse_args()
    command = [sys.executable, "-m", "gpt_tf", "generate", "--sampler", "beam"]
    text = subprocess.run(
        command, cwd=options.workspace, capture_output=True, text=True, check=True
    ).stdout.strip()
    corpus = newest_corpus(options.workspace)
    assert corpus is not None
    reviews = [path.read_text("utf-8").replace("<br />", " ") for path in corpus.documents("train")]
    words = " ".join(text.split())
    copied = sum(words in " ".join(review.split()) for review in reviews)
    sentences = complete_sentences(text)
    good = [sentence for sentence in sentences if parses(sentence)]
    print(text)
    for sentence in sentences:
        if sentence not in good:
            print(f"does not parse: {sentence}")
    figures = {"sentences": len(sentences), "parsed": len(good), "reviews_copied": copied}
    promises = {
        "at least 9 of 10 complete sentences parse": 10 * len(good) >= 9 * len(sentences) > 0,
        "no verbatim training review": copied == 0,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
