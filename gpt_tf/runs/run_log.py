"""`run.log`: what the library logged while a run was trained."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gpt_tf.runs.claiming import Claim
from gpt_tf.storage.log_file import FORM, OPENED
from gpt_tf.storage.names import printable

log = logging.getLogger(__name__)


class PrintableFormatter(logging.Formatter):
    """Lines of a log, in which no file name steers a terminal or stops the writing."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return printable(super().format(record))


class RunLog(logging.FileHandler):
    """The run's own log, written from the run's begin on, with what was logged before.

    That it cannot be written is said once, and training goes on.
    """

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim.run.log_file, encoding="utf-8", delay=True)
        self._claim = claim
        self._waiting: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or keep it until the run has begun."""
        self._waiting.append(record)
        while self._claim.has_begun and self._waiting:
            try:
                super().emit(self._waiting.pop(0))
            except OSError:  # the base opens the file outside its own error handling
                self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the base's name)
        """Write no more."""
        self._waiting.clear()
        logging.getLogger("gpt_tf").removeHandler(self)
        log.warning("%s is written no more: %s", self.baseFilename, sys.exc_info()[1])


@contextmanager
def logged_to(handler: logging.Handler) -> Iterator[None]:
    """Hand the handler what the library logs, information too, while the block runs."""
    logger = logging.getLogger("gpt_tf")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


@contextmanager
def logging_to(claim: Claim) -> Iterator[None]:
    """Append what the library logs to the run's own file."""
    handler = RunLog(claim)
    handler.setFormatter(PrintableFormatter(FORM))
    handler.emit(logging.makeLogRecord({"levelname": "INFO", "msg": OPENED}))
    try:
        with logged_to(handler):
            yield
    finally:
        with suppress(OSError):
            handler.close()
