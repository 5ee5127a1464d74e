"""The one place that prints: data goes to stdout, everything meant for people to stderr.

Streams are looked up at each call, never kept, so that a test or a caller may replace `sys.stdout` and `sys.stderr`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mair_cli.errors import NOTICE, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

_WIDTH_OF_FILES = 120  # columns of a table that goes to a file or a pipe
_PIPE_PAUSE = 0.01  # seconds between two looks at a full pipe
_SETTING = re.compile(r"`([a-z]+(?:_[a-z]+)*)`")  # one word: commands in backquotes have several
_LOG_LEVELS = {0: NOTICE, 1: logging.INFO}


@dataclass
class _Loudness:
    """What the user asked to hear; one command runs per process, so one value is enough."""

    quiet: bool = False


_loudness = _Loudness()


class _LogHandler(logging.Handler):
    """Shows what libraries log, in the same form as our own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == NOTICE:
            _say("", "", record.getMessage())
            return
        _say(record.levelname.lower(), "yellow" if record.levelno >= logging.WARNING else "dim", record.getMessage())


def configure(*, verbose: int = 0, quiet: bool = False) -> None:
    """Set how much is shown on stderr: errors only (`quiet`), or libraries' log too (`verbose` 1: info, 2: all).

    Raises UsageError for both at once.
    """
    if verbose and quiet:
        raise UsageError("--verbose and --quiet exclude each other: give only one.")
    _loudness.quiet = quiet
    logger = logging.getLogger("mair_cli")
    logger.handlers = [_LogHandler()]
    logger.setLevel(logging.ERROR if quiet else _LOG_LEVELS.get(verbose, logging.DEBUG))
    logger.propagate = False
    if quiet:
        warnings.simplefilter("ignore")  # what libraries warn of is news to nobody who asked for quiet


def error(message: str) -> None:
    """Say what went wrong; shown even with `--quiet`."""
    _say("error", "bold red", message)


def warn(message: str) -> None:
    """Say what the user should know although work goes on."""
    if not _loudness.quiet:
        _say("warning", "bold yellow", message)


def note(message: str) -> None:
    """Say what is being done."""
    if not _loudness.quiet:
        _say("", "", message)


def out(text: str) -> None:
    """Write a line of plain data to stdout."""
    with _beside_bars():
        print(text, flush=True)


def record(values: Mapping[str, object]) -> None:
    """Write one JSON object as a line to stdout; infinite and undefined numbers become null, which JSON lacks."""
    out(json.dumps({key: _plain(value) for key, value in values.items()}))


def out_bytes(data: bytes) -> None:
    """Write binary data, an image, to stdout: all of it, also into a pipe that takes no more than it has room for."""
    sys.stdout.flush()
    stream = sys.stdout.buffer
    write = getattr(stream, "raw", stream).write  # a buffer would give up in the middle where a pipe does not wait
    rest = memoryview(data)
    while rest:
        written = write(rest)
        if not written:  # None: the pipe is full
            time.sleep(_PIPE_PAUSE)
        rest = rest[written or 0 :]
    stream.flush()


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    to_stdout: bool = True,
    names_first: bool = False,
) -> None:
    """Show a table; columns whose cells are all numbers stand to the right.

    Args:
        title: heading above the table; empty for none.
        columns: heading of each column; empty for no line of headings.
        rows: one text per column each.
        to_stdout: a table that the user asked for is data; one that accompanies other output goes to stderr, and
            nowhere with `--quiet`.
        names_first: the first column holds names to be copied: they stay in one piece however narrow the terminal.
    """
    if _loudness.quiet and not to_stdout:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(
        title=printable(title) or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if columns else None,
        show_header=bool(columns),
        pad_edge=False,
    )
    for index in range(len(columns) or len(rows[0] if rows else ())):
        numeric = all(_is_number(row[index]) for row in rows)
        heading = Text(printable(columns[index]) if columns else "")
        alignment: Literal["left", "right"] = "right" if numeric else "left"
        shown.add_column(heading, justify=alignment, overflow="fold", no_wrap=names_first and index == 0)
    for row in rows:
        shown.add_row(*(Text(printable(worded(cell))) for cell in row))
    with _beside_bars():
        _console(to_stdout=to_stdout).print(shown)


def _is_number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return cell in ("-", "–")
    return True


class Progress:
    """A progress bar on stderr, shown only where that is a terminal and the user did not ask for quiet."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            desc=printable(description),
            unit=unit,
            unit_scale=unit == "B",  # bytes: 3.4M of 78.1M, and the rate
            file=sys.stderr,
            disable=True if _loudness.quiet else None,
            leave=False,
            dynamic_ncols=True,
        )

    def advance(self, steps: int = 1) -> None:
        """Move on by `steps`."""
        self._bar.update(steps)

    def reach(self, done: int, total: int | None) -> None:
        """Stand at `done` of `total` (None: unknown): the form in which the restorer reports its tiles."""
        if self._bar.total != total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

    def describe(self, description: str) -> None:
        """Change the text before the bar."""
        self._bar.set_description(printable(description))

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.close()


@contextmanager
def progress(description: str, total: int | None = None, unit: str = "it") -> Iterator[Progress]:
    """A progress bar for the length of a `with` block; bars may be nested."""
    bar = Progress(description, total, unit)
    try:
        yield bar
    finally:
        bar.close()


def printable(text: str) -> str:
    r"""The text with control characters and undecodable bytes of file names as escapes (`\x1b`); newlines stay."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def worded(message: str) -> str:
    """The message with settings in backquotes, as the Python API words them, as options: `tile` becomes --tile."""
    return _SETTING.sub(lambda found: "--" + found[1].replace("_", "-"), message)


def _say(label: str, style: str, message: str) -> None:
    from rich.text import Text

    text = Text(f"{label}: " if label else "", style=style)
    text.append(printable(worded(message)), style="not bold default" if label else "")
    with _beside_bars():
        _console(to_stdout=False).print(text, soft_wrap=True, highlight=False)


def _console(*, to_stdout: bool) -> Console:
    from rich.console import Console

    file = sys.stdout if to_stdout else sys.stderr
    width = None if file.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
    return Console(file=file, width=width, highlight=False, emoji=False, markup=False)


def _beside_bars() -> AbstractContextManager[None]:
    """Clears running progress bars while something is written; tqdm is not imported where no bar can exist."""
    module = sys.modules.get("tqdm")
    if module is None:
        return nullcontext()
    cleared: AbstractContextManager[None] = module.tqdm.external_write_mode(file=sys.stderr)
    return cleared


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
