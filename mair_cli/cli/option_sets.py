"""Options that several commands take together, as parameters for Typer to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, get_type_hints

from mair_cli.cli import options
from mair_cli.restore.settings import RunSettings, parse_setting


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """What every restoring command takes beside networks' options; one field per option, under the option's name."""

    inputs: options.Inputs
    output: options.Output = None
    recursive: options.Recursive = False
    format: options.Format = None
    quality: options.Quality = None
    alpha: options.Alpha = "model"
    overwrite: options.Overwrite = False
    skip_existing: options.SkipExisting = False
    compare: options.Compare = False
    max_pixels: options.MaxPixels = None
    allow_truncated: options.AllowTruncated = False
    offline: options.Offline = False
    cluster: options.Cluster = None
    actors: options.Actors = None
    manifest: options.Manifest = None
    gt: options.GroundTruth = None
    dry_run: options.DryRun = False
    json: options.Json = False
    verbose: options.Verbose = 0
    quiet: options.Quiet = False


RESTORING: Mapping[str, Any] = {"precision": "auto"}
"""Defaults of the commands that restore, where they are others than those of `RunSettings`: measuring is exact."""


def parameters(
    owner: type, wanted: Mapping[str, Any], others: Mapping[str, Any] = MappingProxyType({})
) -> list[inspect.Parameter]:
    """A keyword parameter for each option, its default in `others`, or that of `owner`'s field of that name."""
    defaults: dict[str, Any] = {**{field.name: field.default for field in fields(owner)}, **others}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if defaults[name] is MISSING else defaults[name],
            annotation=annotation,
        )
        for name, annotation in wanted.items()
    ]


def parsed(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings as typed, with text read as each of them has it. Raises UsageError."""
    return {name: parse_setting(name, value) if isinstance(value, str) else value for name, value in settings.items()}


def with_run_options(
    *, without: Collection[str] = (), defaults: Mapping[str, Any] = MappingProxyType({})
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replaces the parameter `settings: dict` of a command by one parameter per run option, for Typer to read.

    The command gets them together, as fields of a `RunSettings`. Its own parameters come first in its help page.

    Args:
        without: run options that the command takes in a form of its own, or not at all.
        defaults: other defaults than those of `RunSettings`.
    """
    wanted = {name: kind for name, kind in options.RUN_OPTIONS.items() if name not in without}
    shared = parameters(RunSettings, wanted, defaults)

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            for name, parameter in inspect.signature(function).parameters.items()
            if name != "settings"
        ]

        def command(**values: object) -> int:
            settings = parsed({parameter.name: values.pop(parameter.name) for parameter in shared})
            return function(settings=settings, **values)

        return with_signature(command, function.__name__, function.__doc__ or "", [*own, *shared])

    return decorate


def with_signature(
    command: Callable[..., int], name: str, text: str, taken: list[inspect.Parameter]
) -> Callable[..., int]:
    """The command with a name, the text of its help page, and parameters, as Typer wants to find them."""
    command.__name__, command.__doc__ = name, text
    command.__signature__ = inspect.Signature(taken, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return command
