"""How wrong usage is told: in one line, in the words of all other errors, with the way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from mair_cli.cli import console
from mair_cli.errors import MairError, UsageError

# Typer exports only this child of its family of usage errors, and click must not be imported for the others.
_ParserError = cast("type[Exception]", typer.BadParameter.__mro__[1])


class CommandGroup(TyperGroup):
    """The command `mair` itself: an error of its parser reads like one of ours, and ends with exit code 2."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - as Typer has it, which alone calls it
        """Run a command line; ends by SystemExit with its exit code."""
        extra["standalone_mode"] = False  # else the parser prints its errors itself, in a frame
        try:
            code = super().main(*args, **extra)
        except MairError as error:
            console.error(str(error))
            code = error.exit_code
        except _ParserError as error:
            if str(error):  # else it is the help page, shown for want of a command
                console.error(_in_our_words(error))
            code = UsageError.exit_code
        except typer.Abort:
            code = 1
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Typer does not export the types
        """The command that is meant; raises UsageError, with what might have been meant, where there is none."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UsageError(unknown_command(args[0], list(self.commands)))
        return super().resolve_command(ctx, args)


def unknown_command(name: str, commands: Sequence[str]) -> str:
    """What to say of a command that does not exist."""
    near, is_there = get_close_matches(name.lower(), commands, n=1), os.path.exists(name)  # noqa: PTH110 - any text
    if is_there or (Path(name).suffix and not near):
        return f"There is no command {name!r}: did you mean `mair upscale {name}`?"
    if near:
        return f"There is no command {name!r}: did you mean `mair {near[0]}`?"
    return f"There is no command {name!r}: there are {', '.join(commands)}."


def _in_our_words(error: Any) -> str:  # noqa: ANN401 - Typer does not export the types
    """One line of what the parser found wrong."""
    parameter, message = getattr(error, "param", None), (error.message or "").strip().rstrip(".")
    if parameter is not None and message:
        flag = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.metavar
        return f"{flag}: give {parameter.metavar or 'another value'} ({message[0].lower()}{message[1:]})."
    said = " ".join(str(error.format_message()).split())
    said = f"{said}." if said[-1:] not in ".?" else said
    return said if error.ctx is None else f"{said} `{error.ctx.command_path} --help` shows what there is."
