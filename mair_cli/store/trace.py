"""More about an error than its one line, for those who ask."""

from __future__ import annotations

import logging
import traceback

from mair_cli.store.addresses import masked

__all__ = ["log_traceback"]

log = logging.getLogger(__name__)


def log_traceback(error: BaseException) -> None:
    """Log at debug level where an error came from, what caused it included; secrets in addresses are masked.

    To be called wherever an error is told in one line and goes no further, so that `-vv` shows the rest.
    """
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s", masked("".join(traceback.format_exception(error))).rstrip())
