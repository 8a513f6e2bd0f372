"""Prompts from files, standard input and a person; only a line feed ends a line in them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gpt_tf.cli.console import note
from gpt_tf.errors import UsageError
from gpt_tf.runs.stopping import handled
from gpt_tf.streaming.cleaning import MARK
from gpt_tf.streaming.records import wide_encoding

if TYPE_CHECKING:
    from gpt_tf.inference.text_writer import TextWriter

STDIN = "-"


def standard_input() -> TextIO:
    """Standard input without Python's own idea of a line's end, for which a lone CR is one."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        with suppress(io.UnsupportedOperation):  # it was read before, and is set already
            sys.stdin.reconfigure(newline="\n")
    return sys.stdin


def without_mark_and_crlf(text: str) -> str:
    r"""The text without a byte-order mark and with line feeds for CRLF.

    >>> without_mark_and_crlf("\ufeffone\r\ntwo\r")
    'one\ntwo\r'
    """
    return text.removeprefix(MARK).replace("\r\n", "\n")


def prompt_of_standard_input() -> str:
    """All of it as one prompt, without its last line feed, which `echo` adds."""
    return without_mark_and_crlf(standard_input().read()).removesuffix("\n")


def typed_lines() -> Iterator[str]:
    """The lines of standard input, without their ends.

    On a terminal a line can be edited, earlier ones come back with the arrow keys, Ctrl-C drops the
    line that is being typed, and Ctrl-D ends.
    """
    source = standard_input()
    if not (source.isatty() and sys.stdout.isatty()):
        while line := source.readline():
            yield without_mark_and_crlf(line).removesuffix("\n")
        return
    with suppress(ImportError):  # not every Python has it
        import readline  # noqa: F401  (`input` uses it from here on)
    while True:
        try:
            line = input("> ")
        except EOFError:
            note("")
            return
        except KeyboardInterrupt:
            handled()
            note("")
            continue
        yield line


def read_prompts(source: str) -> list[str]:
    """The prompts in a file, or in standard input for `-`: one a line; an empty line is one.

    Raises:
      UsageError: if there are none, they are in another encoding, or the file cannot be read.
    """
    # what is no UTF-8 is named with its place later, as that of standard input
    if source == STDIN:
        text = standard_input().read()
        data = text.encode("utf-8", errors="surrogateescape")
    else:
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read --prompts-file: {source}: {error.strerror}. Give a file with one "
                "prompt per line."
            ) from error
        text = data.decode("utf-8", errors="surrogateescape")
    if found := wide_encoding(data):
        raise UsageError(
            f"text is not utf-8 in --prompts-file: {source} looks like {found}. Save it as UTF-8: "
            f"`iconv -f {found} -t utf-8`."
        )
    prompts = without_mark_and_crlf(text).split("\n")
    if not prompts[-1]:
        prompts.pop()
    if not prompts:
        raise UsageError(f"no prompts in --prompts-file: {source}. Give one per line.")
    return prompts


def prompts_of(prompt: str | None, prompts_file: str | None, own: str) -> list[str]:
    """The prompts asked for; at least one."""
    if prompts_file is not None:
        return read_prompts(prompts_file)
    if prompt == STDIN:
        prompt = prompt_of_standard_input()
    if prompt is not None and not prompt.strip():
        note("prompt: none, so that a new text begins")
    return [own if prompt is None else prompt]


def refuse_too_long(
    generator: TextWriter, prompts: list[str], truncate: str | None, prompts_file: str | None
) -> None:
    """Raise for a prompt longer than the context, unless it is to be shortened."""
    context = generator.engine.context_length
    for number, prompt in enumerate(prompts, 1):
        length = len(generator.prompt_ids(prompt))
        if length > context and truncate is None:
            place = f"line {number} of --prompts-file" if prompts_file else "--prompt"
            raise UsageError(
                f"prompt too long in {place}: {length} tokens, the context has {context}. Shorten "
                "it, or use --truncate left to keep its end."
            )
