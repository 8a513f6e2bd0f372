"""The tokenizer that a run gets: the one that was chosen, with the cleaning that is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

from gpt_tf.cli.console import note
from gpt_tf.config import Config
from gpt_tf.tokenizer.base import Tokenizer, copy_tokenizer, tokenizer_sha256
from gpt_tf.tokenizer.cleaned import cleaned, settings_of

CLEANING = ("lower_case", "remove_punctuation")


@dataclasses.dataclass(frozen=True)
class RunTokenizer:
    """A run's tokenizer before the run has its copy.

    Attributes:
      sha256: of the copy's vocabulary file.
      source: the folder that is copied; None if the copy does more than its original.
    """

    tokenizer: Tokenizer
    sha256: str
    source: Path | None

    def write(self, directory: Path) -> None:
        """Write the run's copy."""
        if self.source is not None:
            copy_tokenizer(self.source, directory)
        else:
            self.tokenizer.save(directory, overwrite=True)


def tokenizer_of_run(config: Config, directory: Path) -> RunTokenizer:
    """The tokenizer in a folder; one that does not clean text as asked for is changed in a copy.

    Raises:
      UsageError: if there is no tokenizer, or one that is refused.
      RunError: if it is damaged.
    """
    loaded = Tokenizer.load(directory)
    asked, does = dataclasses.asdict(config.tokenizer), settings_of(loaded)
    lacking = {key: asked[key] and not does[key] for key in CLEANING}
    if not any(lacking.values()):
        return RunTokenizer(loaded, tokenizer_sha256(directory), directory)
    named = " and ".join(f"tokenizer.{key}" for key in CLEANING if lacking[key])
    verb = "ask" if all(lacking.values()) else "asks"
    note(f"the run's copy of the tokenizer cleans text first, as {named} {verb} for")
    changed = cleaned(loaded, **lacking)
    with TemporaryDirectory() as folder:
        changed.save(Path(folder) / "copy")
        return RunTokenizer(changed, tokenizer_sha256(Path(folder) / "copy"), None)


def as_followed(config: Config, tokenizer: Tokenizer) -> Config:
    """The settings with what the tokenizer does; says what is not as it was asked for."""
    asked = dataclasses.asdict(config.tokenizer)
    for key, value in settings_of(tokenizer).items():
        if asked[key] != value:
            shown = str(value).lower() if isinstance(value, bool) else value
            note(f"tokenizer.{key} is {shown} in this run: the tokenizer was made so")
            asked[key] = value
    return dataclasses.replace(config, tokenizer=dataclasses.replace(config.tokenizer, **asked))
