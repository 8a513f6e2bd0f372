"""How generated text reaches a person: as it is made, coloured, in a file, line after line."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import psutil

from gpt_tf.cli.console import columns, meanwhile, note, print_table, progress_bar
from gpt_tf.cli.output import STDOUT, write_output
from gpt_tf.cli.prompts import typed_lines
from gpt_tf.cli.wrapping import Wrapped
from gpt_tf.inference.options import SAMPLERS
from gpt_tf.inference.text_writer import Text, TextWriter, TokenText
from gpt_tf.runs.stopping import handled
from gpt_tf.storage.names import counted, printable

BATCH = 16  # prompts decoded together
NEXT_BEST = 3
COLOURS = ((0.5, "green"), (0.1, "yellow"), (0.0, "red"))  # from this probability on


class Writer:
    """Writes the continuations of prompts to stdout, or to a file.

    Args:
      sampler, options: of `TextGenerator.texts`.
      raw: no control character is replaced.
      import_seconds: what TensorFlow's import took, for the note on the first token; 0 without it.
    """

    def __init__(
        self,
        generator: TextWriter,
        sampler: str,
        options: dict[str, Any],
        *,
        raw: bool,
        import_seconds: float,
    ) -> None:
        self._generator = generator
        self._sampler = sampler
        self._options = options
        self._is_raw = raw or not sys.stdout.isatty()
        self._import_seconds = import_seconds
        self._is_conversing = False
        self._wrapped = Wrapped(partial(click.echo, nl=False), columns)

    def print_texts(self, prompts: Sequence[str]) -> None:
        """One text while it is made; several, or a search's, when they are done."""
        streams = not SAMPLERS[self._sampler].searches and self._options["num_samples"] == 1
        if len(prompts) == 1 and streams:
            for _ in self._streamed(prompts[0]):
                pass
            return
        several = len(prompts) > 1 or self._options["num_samples"] > 1
        for number, (prompt, texts) in enumerate(self._texts(prompts), 1):
            for sample, one in enumerate(texts, 1):
                if several:
                    click.echo(f"--- prompt {number}, text {sample} ---")
                self._put(prompt + one.text)
                self._end()

    def write_file(self, prompts: Sequence[str], path: Path, *, overwrite: bool) -> None:
        """A JSON object a line: prompt, text, ids, log-probabilities; all of it or nothing."""
        lines = []
        for prompt, texts in self._texts(prompts, log_probabilities=True):
            for sample, one in enumerate(texts):
                made = one.continuation
                entry = {
                    "prompt": prompt,
                    "sample": sample,
                    "text": one.text,
                    "token_ids": made.token_ids,
                    "log_probabilities": made.log_probabilities,
                    "finish": made.finish,
                    "score": made.score,
                }
                lines.append(json.dumps(entry, ensure_ascii=False))
        text = "".join(f"{line}\n" for line in lines)
        if path == STDOUT:
            click.echo(text if self._is_raw else printable(text), nl=False)
            return
        write_output(path, text.encode(), overwrite=overwrite)
        note(f"{counted(len(lines), 'text')}: {path}")

    def show_probabilities(self, prompts: Sequence[str]) -> None:
        """Each token in the colour of its probability, then a table with the next best."""
        for prompt in prompts:
            tokens = list(self._streamed(prompt, alternatives=NEXT_BEST + 1))
            print_table("", ("token", "probability", "next best"), [_row(one) for one in tokens])

    def converse(self) -> None:
        """Continue what is typed, with the text so far before each line, until the input ends."""
        self._is_conversing = True
        self._options = {**self._options, "truncate": "left"}  # a conversation outgrows the context
        is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        stops = "" if is_ignored else "Ctrl-C stops a text, "
        note(
            f"Type a text to continue it; an empty line goes on. {stops}/reset forgets all of it, "
            "Ctrl-D ends."
        )
        said = ""
        for typed in typed_lines():
            line = typed if typed.strip() else ""
            if line == "/reset":
                said = ""
                continue
            said = f"{said}\n{line}" if said and line else said + line
            before = said
            try:
                for token in self._streamed(said):
                    said += token.text
            except KeyboardInterrupt:
                handled()
                self._end()
                note("stopped")
            else:
                if said == before:
                    note("The text ends here: type more, or /reset.")

    def _streamed(self, prompt: str, **more: Any) -> Iterator[TokenText]:
        """The tokens of one text, printed after the prompt; then a note on the time it took."""
        options = {**self._options, **more}
        meanwhile("waiting for the first word")
        count, first = 0, 0.0
        begun = time.perf_counter()
        for token in self._generator.stream(prompt, self._sampler, **options):
            if not count:
                begun, first = time.perf_counter(), since_start()
                self._begin(prompt)  # not before: an option may be refused until then
            count += 1
            self._put(token.text, _colour(token) if more else None)
            yield token
        if not count:
            self._begin(prompt)
        self._end()
        if self._is_conversing:  # the person's typing is in it
            return
        seconds = time.perf_counter() - begun
        speed = f"; {(count - 1) / seconds:,.0f} tokens/s after it" if count > 1 else ""
        importing = self._import_seconds
        of_import = f", {importing:.1f} s of them TensorFlow's import" if importing else ""
        note(f"first token {first:.1f} s after the start{of_import}{speed}")

    def _texts(self, prompts: Sequence[str], **more: Any) -> Iterator[tuple[str, list[Text]]]:
        """Each prompt with its texts, decoded in batches."""
        options = {**self._options, **more}
        for begin in range(0, len(prompts), BATCH):
            batch = prompts[begin : begin + BATCH]
            meanwhile("writing")
            with progress_bar("generating", "prompts", passing=True) as advance:
                found = self._generator.texts(batch, self._sampler, **options)
                meanwhile(None)
                advance(begin + len(batch), len(prompts))
            yield from zip(batch, found, strict=True)

    def _begin(self, prompt: str) -> None:
        if not self._is_conversing:  # the person has typed it
            self._put(prompt)

    def _put(self, text: str, colour: str | None = None) -> None:
        """Write a text; on a terminal with line ends between words, elsewhere as it is."""
        meanwhile(None)
        if self._is_raw:
            click.echo(text, nl=False)
        else:
            is_coloured = colour and "NO_COLOR" not in os.environ
            style = partial(click.style, fg=colour) if is_coloured else str
            self._wrapped.write(printable(text), style)
        sys.stdout.flush()

    def _end(self) -> None:
        """The text has ended."""
        if self._is_raw:
            click.echo()
        else:
            self._wrapped.end()


def since_start() -> float:
    """Seconds since the process began."""
    try:
        after_the_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:  # not Linux; elsewhere psutil's time of the start is exact
        return time.time() - psutil.Process().create_time()
    begun = int(after_the_name[19]) / os.sysconf("SC_CLK_TCK")  # since the machine's start
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun


def _colour(token: TokenText) -> str:
    probability = math.exp(token.log_probability or 0.0)
    return next(colour for least, colour in COLOURS if probability >= least)


def _row(token: TokenText) -> tuple[str, str, str]:
    """A line of the table of probabilities."""
    chosen = token.alternatives
    others = [(text, value) for token_id, text, value in chosen if token_id != token.token_id]
    shown = [f"{text!r} {math.exp(value):.3f}" for text, value in others[:NEXT_BEST]]
    return (repr(token.token), f"{math.exp(token.log_probability or 0.0):.3f}", "  ".join(shown))
