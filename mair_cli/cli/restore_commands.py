"""The commands that restore, made from the table of tasks: a new row there is a new command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from mair_cli.cli import console, options
from mair_cli.cli.option_sets import RESTORING, RestoreOptions, parameters, parsed, with_signature
from mair_cli.cli.values import check_exclusive, parse_scale
from mair_cli.restore.settings import RunSettings
from mair_cli.tasks import TASKS, Task


def restore_command(name: str) -> Callable[..., int]:
    """The command of that name: for the task that is called by it, and those that are options of it."""
    task = next(task for task in TASKS.values() if task.typed == name)
    variants = {task.option: task for task in TASKS.values() if task.option and task.command == name}
    settings = {key: option for key, option in options.TASK_OPTIONS.items() if key in task.settings}
    if "sigma" in settings and "scale" not in settings:
        settings["sigma"] = options.ShortSigmaLevel
    own = [*parameters(RunSettings, settings), *(_switch(flag, task.summary) for flag, task in variants.items())]
    shared = parameters(RestoreOptions, inspect.get_annotations(RestoreOptions, eval_str=True))
    run = parameters(RunSettings, options.RUN_OPTIONS, RESTORING)

    def command(**values: Any) -> int:  # noqa: ANN401 - whatever Typer read
        from mair_cli.cli.restore import restore

        chosen = {flag: values.pop(flag) for flag in variants}
        given = {key: values.pop(key) for key in settings}
        flag = next((flag for flag in variants if chosen[flag]), None)
        if flag is not None:
            for parameter in own[: len(settings)]:
                check_exclusive(**{parameter.name: given[parameter.name] != parameter.default, flag: True})
            given = {}
        elif task.inputs == "noisy" and given["sigma"] is None:
            given["sigma"] = "auto"
        if "scale" in given:
            given |= {"size": None, **parse_scale(given.pop("scale"), given["size"])}
        told = RestoreOptions(**{parameter.name: values.pop(parameter.name) for parameter in shared})
        return restore(told, parsed({"task": (variants[flag] if flag else task).name, **given, **values}))

    return with_signature(command, name, _help(task), [shared[0], *own, *shared[1:], *run])


def _switch(flag: str, text: str) -> inspect.Parameter:
    option = Annotated[bool, typer.Option(f"--{flag}", help=text)]
    return inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)


def _help(task: Task) -> str:
    """The text of a command's help page."""
    suffix, photo = task.result_suffix(scale=4), "photo.jpg" if task.inputs == "compressed" else "photo.png"
    result = photo.replace(".", f"{suffix}.")
    example = f"`mair {task.typed} {photo}` writes {result} beside it; a folder becomes folder{suffix}/."
    if "jpeg" in task.settings:
        example += " The network is told how strongly a JPEG is compressed, which its file says."
    return "\n\n".join(filter(None, (task.summary, example, console.worded(task.notes))))
