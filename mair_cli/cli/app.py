"""The command `mair`: a table of commands, and the one place where exceptions become messages and exit codes.

A command's module is imported only when its name is on the command line, so that `mair --help` answers at once.
Hardly more than the standard library is imported at the top: Ctrl-C during the imports below is then handled by `main`.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from mair_cli.cli import interrupts
from mair_cli.host_process import keep_freed_memory
from mair_cli.tasks import TASKS

if TYPE_CHECKING:
    import typer

P = ParamSpec("P")

DESCRIPTION = "Restore photographs with MaIR, a Mamba network, on any machine."
DEBUG_VARIABLE = "MAIR_DEBUG"
NO_MEMORY = "Memory ran out: close other programs, or use a smaller model or image"

RESTORE = "Restore photographs"
MEASURE = "Measure"
TRAIN = "Train"
MANAGE = "Models and machine"


@dataclass(frozen=True)
class Command:
    """One line of the table.

    Attributes:
        name: what users type after `mair`.
        target: `module:function`, imported on use; the function returns its exit code.
        help: one line for `mair --help`; the function's docstring is shown by `mair NAME --help`.
        panel: heading under which `mair --help` lists it.
        made: whether the target makes the function from the command's name.
    """

    name: str
    target: str
    help: str
    panel: str
    made: bool = False

    def load(self) -> Callable[..., int]:
        """Import, or make, the function behind the command."""
        module, _, name = self.target.partition(":")
        target: Any = getattr(import_module(module), name)
        function: Callable[..., int] = target(self.name) if self.made else target
        return function


COMMANDS = (
    *(
        Command(task.typed, "mair_cli.cli.restore_commands:restore_command", task.summary or task.label, RESTORE, True)
        for task in TASKS.values()
        if not task.option
    ),
    Command("serve", "mair_cli.cli.serve:serve", "A page in the browser: drop, compare, save.", RESTORE),
    Command("train", "mair_cli.cli.train:train", "Train a network from a recipe.", TRAIN),
    Command("ablate", "mair_cli.cli.ablate:ablate", "Train variants of a recipe and compare them.", TRAIN),
    Command(
        "benchmark",
        "mair_cli.cli.benchmark:benchmark",
        "PSNR and SSIM as published, models and baselines side by side.",
        MEASURE,
    ),
    Command("compare", "mair_cli.cli.compare:compare", "Two or three images beside one another.", MEASURE),
    Command("download", "mair_cli.cli.download:download", "Fetch published weights, or list all models.", MANAGE),
    Command("info", "mair_cli.cli.info:info", "What a model or a checkpoint file is, and what it costs.", MANAGE),
    Command("export", "mair_cli.cli.export:export", "Write a network as a file for other programs.", MANAGE),
    Command("doctor", "mair_cli.cli.doctor:doctor", "Check this machine: versions, devices, back ends.", MANAGE),
    Command("help", "mair_cli.cli.help:show_help", "What a command does, and its options.", MANAGE),
)


def build_app(names: Collection[str] | None = None) -> typer.Typer:
    """The Typer application.

    Args:
        names: commands to load in full; the others are listed with their one line only. None loads all.
    """
    import typer

    from mair_cli.cli.options import group_options
    from mair_cli.cli.usage import CommandGroup

    app = typer.Typer(
        name="mair",
        cls=CommandGroup,
        help=DESCRIPTION,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(group_options)
    for command in COMMANDS:
        function = guarded(command.load()) if names is None or command.name in names else _placeholder
        app.command(command.name, short_help=command.help, rich_help_panel=command.panel)(function)
    return app


def main() -> int:
    """Run the command line on `sys.argv`; returns the exit code."""
    try:
        interrupts.install()
        _prepare_streams()
        keep_freed_memory()
        code = _outcome(_run)
    except KeyboardInterrupt:  # before or after `_outcome` was listening
        code = interrupts.exit_code()
    except Exception as error:  # even telling of an error takes memory
        if os.environ.get(DEBUG_VARIABLE):
            raise
        os.write(2, f"error: {NO_MEMORY} ({type(error).__name__})\n".encode())
        code = 1
    code = _flush(code)
    interrupts.end()
    return code


def _run() -> int:
    # Shell completion gets its words from the environment, and needs the options of all commands.
    completing = any(name.startswith("_MAIR_COMPLETE") for name in os.environ)
    try:
        build_app(None if completing else sys.argv[1:])(prog_name="mair")
    except SystemExit as done:
        if interrupts.received():  # which Typer takes for Ctrl-C, whatever signal it was
            return interrupts.exit_code()
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def guarded(function: Callable[P, int]) -> Callable[P, None]:
    """The function with its result as exit code, and every exception told in one or two lines."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        import typer

        raise typer.Exit(_outcome(functools.partial(function, *args, **kwargs)))

    return command


def _outcome(call: Callable[[], int]) -> int:
    from mair_cli.cli import console
    from mair_cli.errors import MairError
    from mair_cli.store.trace import log_traceback

    try:
        return call()
    except KeyboardInterrupt:
        console.note("interrupted")
        return interrupts.exit_code()
    except BrokenPipeError:
        interrupts.drop(sys.stdout)  # whoever read our output has had enough, which is no news
        return 1
    except (MairError, OSError) as error:  # an OSError comes from standard output alone: its disk is full
        console.error(str(error))
        log_traceback(error)
        return error.exit_code if isinstance(error, MairError) else 1
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE) and not interrupts.received():
            raise
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    """Tell of an exception that no code of ours expected; the exit code."""
    from mair_cli.cli import console
    from mair_cli.store.trace import log_traceback

    if interrupts.received():  # a library turned the interruption into an error of its own
        return interrupts.exit_code()
    if _is_out_of_memory(error):
        console.error(f"{NO_MEMORY}.")
    else:
        console.error(f"unexpected {type(error).__name__}: {error}\nThis is a defect; {DEBUG_VARIABLE}=1 shows where.")
    log_traceback(error)
    return 1


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # which need not be loaded to tell
        return isinstance(error, MemoryError)
    from mair_cli.runtime.memory import is_out_of_memory

    return is_out_of_memory(error)


def _placeholder() -> None:
    """Stands for a command whose name is not on the command line."""


def _prepare_streams() -> None:
    """Make standard streams safe to write to.

    A stream that the caller closed becomes an empty one: else the next file we open, perhaps a result, would get its
    number, and with it what libraries in C write there. Characters that a stream lacks are written as escapes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open to the end
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush(code: int) -> int:
    """Write out what standard streams still hold, while a closed pipe can still be dealt with."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a closed pipe, a full disk: told already where data was lost
            interrupts.drop(stream)
            code = code or 1
    return code
