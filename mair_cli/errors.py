"""Errors meant for the person at the keyboard: each says in one or two lines what is wrong and the way out.

`exit_code` is what the command line returns: 1 when an input failed, 2 when the call itself was wrong.
"""

from __future__ import annotations

from typing import Final

NOTICE: Final = 25
"""Level of log messages that users of the command line see without asking, and that warn of nothing."""


class MairError(Exception):
    """Base of every error that is shown to users without a traceback."""

    exit_code = 1


class UsageError(MairError):
    """The call cannot be carried out as it stands: a wrong flag, name, setting or combination of them."""

    exit_code = 2


class BackendError(UsageError):
    """The requested device or scan back end is not usable on this machine."""


class WeightsNotFoundError(UsageError):
    """No weights are at hand for the requested task."""


class ImageError(MairError):
    """An image file cannot be read or written."""


class CheckpointError(MairError):
    """A checkpoint file is not what it should be: unsafe, damaged, or made for another network."""


class DownloadError(MairError):
    """A file could not be fetched, or what came is not the right file."""


class OfflineError(DownloadError):
    """A file would have to be fetched, but going online has been forbidden."""


class TrainingError(MairError):
    """Training cannot start or go on."""


def first_line(error: BaseException) -> str:
    """What an error of some library says in its first line, cut to a length for messages, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(". ")
