"""`mair download`: published weights onto this machine, or off it, and the list of all models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mair_cli.cli import completion, console
from mair_cli.cli.options import Offline, Quiet, Verbose
from mair_cli.cli.values import check_choice, check_exclusive, go_offline
from mair_cli.errors import MairError, UsageError
from mair_cli.store.trace import log_traceback
from mair_cli.tasks import TASKS

if TYPE_CHECKING:
    from mair_cli.weights.catalog import ModelEntry
    from mair_cli.weights.fetch import Fetched

CHOICE = "Which"
ACTION = "What to do instead of fetching"
SOURCE = "Where from"


def download(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Models; `mair download --list` shows them.", autocompletion=completion.models
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="|".join(TASKS),
            rich_help_panel=CHOICE,
            help="All published models for this.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", rich_help_panel=CHOICE, help="All published models.")] = False,
    show_list: Annotated[
        bool, typer.Option("--list", "-l", rich_help_panel=ACTION, help="Show all models, and which are here.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", rich_help_panel=ACTION, help="Check the weights that are here, completely.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", rich_help_panel=ACTION, help="Delete fetched weights.")] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            rich_help_panel=SOURCE,
            help="A file, a folder, a web address, or a Hugging Face repository (owner/name), looked at before the "
            "mirrors in MAIR_MIRROR and the authors' Google Drive.",
        ),
    ] = None,
    accept_changed: Annotated[
        bool,
        typer.Option(
            "--accept-changed",
            rich_help_panel=SOURCE,
            help="Take a file that differs from the one first seen, and go by it from now on.",
        ),
    ] = False,
    offline: Offline = False,
    json: Annotated[bool, typer.Option("--json", help="With --list: one JSON object per model on stdout.")] = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Fetch published weights, check them, and keep them for use by every other command.

    `mair download mair-t-x4` fetches one model, `mair download mair-t-x4 --from MaIR_T_lightSR_x4.pth` imports a file
    that was fetched by hand.
    """
    console.configure(verbose=verbose, quiet=quiet)
    go_offline(offline)
    check_exclusive(list=show_list, verify=verify, remove=remove)
    for action, wanted in (("--list", show_list), ("--verify", verify), ("--remove", remove)):
        if wanted and (source is not None or accept_changed):
            raise UsageError(
                f"{'--from' if source is not None else '--accept-changed'} goes with fetching: {action}"
                " fetches nothing."
            )
    if json and not show_list:
        raise UsageError("--json goes with --list.")
    chosen = _choose(names or [], task, everything, source)
    if show_list:
        return _show_list(chosen, json)
    if verify:
        return _verify(chosen)
    if not chosen:
        raise UsageError("Nothing to do: name models, or give --task, --all or --list.")
    return _remove(chosen) if remove else _fetch(chosen, source, accept_changed)


def _choose(names: Sequence[str], task: str | None, everything: bool, source: str | None) -> list[ModelEntry]:
    """The models that names and options stand for; none if there are neither."""
    from mair_cli.weights.catalog import MODELS, find

    is_file = source is not None and os.path.isfile(source)  # noqa: PTH113  (Path's own raises for long addresses)
    if not names and task is None and not everything and source is not None and is_file:
        names = [Path(source).name]  # a file fetched by hand tells by its name what it is
    if task is not None:
        check_choice("--task", task, tuple(TASKS))
    chosen = {entry.name: entry for entry in map(find, names)}
    for entry in MODELS.values():
        if entry.origin == "published" and (everything or task in entry.tasks):
            chosen[entry.name] = entry
    if is_file and len(chosen) > 1:
        raise UsageError(f"--from {source} is one file: name the one model that it belongs to.")
    return list(chosen.values())


def _fetch(chosen: Sequence[ModelEntry], source: str | None, accept_changed: bool) -> int:
    from mair_cli.weights.cache import is_available
    from mair_cli.weights.catalog import LICENCE_NOTE

    if any(entry.origin == "published" and (source or not is_available(entry)) for entry in chosen):
        console.warn(LICENCE_NOTE)
    if len(chosen) == 1:
        _fetch_one(chosen[0], source, accept_changed)
        return 0
    failed = sum(not _fetch_or_say_why(entry, source, accept_changed) for entry in chosen)
    if failed:
        console.note(f"{len(chosen) - failed} of {len(chosen)} models are here.")
    return 1 if failed else 0


def _fetch_or_say_why(entry: ModelEntry, source: str | None, accept_changed: bool) -> bool:
    """Whether the model is here now; the others shall be fetched in any case."""
    try:
        _fetch_one(entry, source, accept_changed)
    except MairError as error:
        console.error(str(error))
        log_traceback(error)
        return False
    return True


def _fetch_one(entry: ModelEntry, source: str | None, accept_changed: bool) -> None:
    from mair_cli.weights.fetch import fetch

    with console.progress(entry.name, unit="B") as bar:
        fetched = fetch(entry, source=source, accept_changed=accept_changed, progress=bar.reach)
    _report(entry, fetched)


def _report(entry: ModelEntry, fetched: Fetched) -> None:
    if fetched.original is None:
        console.note(f"{entry.name}: here already, {fetched.path}")
        return
    known = "first seen, recorded and compared from now on" if fetched.first_seen else "as known"
    console.note(f"{entry.name}: {_megabytes(fetched.original.size)} from {fetched.source}, {fetched.path}")
    console.note(f"  SHA-256 {fetched.original.sha256} ({known}; the authors publish none)")


def _remove(chosen: Sequence[ModelEntry]) -> int:
    from mair_cli.weights.fetch import remove

    for entry in chosen:
        console.note(f"{entry.name}: {'removed' if remove(entry) else 'was not here'}")
    return 0


def _verify(chosen: Sequence[ModelEntry]) -> int:
    from mair_cli.weights.cache import is_available
    from mair_cli.weights.catalog import MODELS
    from mair_cli.weights.fetch import verify

    wrong = 0
    for entry in chosen or [entry for entry in MODELS.values() if is_available(entry)]:
        if not is_available(entry):
            console.note(f"{entry.name}: not here")
            continue
        try:
            verify(entry)
        except MairError as error:
            console.error(f"{entry.name}: {error}")
            log_traceback(error)
            wrong += 1
        else:
            console.note(f"{entry.name}: whole and unchanged")
    return 1 if wrong else 0


def _show_list(chosen: Sequence[ModelEntry], json: bool) -> int:
    from mair_cli.weights.catalog import LICENCE_NOTE, MODELS

    entries = chosen or list(MODELS.values())
    if json:
        for entry in entries:
            console.record(_record(entry))
        return 0
    columns = ("name", "restores", "parameters", "quality", "licence", "here")
    rows = [
        (
            entry.name,
            entry.purpose,
            f"{entry.parameters / 1e6:.2f} M" if entry.parameters else "",
            entry.figure or "",
            "CC BY-SA 4.0" if entry.origin == "bundled" else "none stated",
            _place(entry),
        )
        for entry in entries
    ]
    console.table("", columns, rows, names_first=True)
    if any(entry.origin == "published" for entry in entries):
        console.note(LICENCE_NOTE)
    return 0


def _place(entry: ModelEntry) -> str:
    from mair_cli.weights.cache import is_available, weights_file

    if entry.origin == "bundled":
        return "bundled"
    return f"yes, {_megabytes(weights_file(entry).stat().st_size)}" if is_available(entry) else "no"


def _record(entry: ModelEntry) -> dict[str, object]:
    from mair_cli.weights.cache import is_available, weights_file
    from mair_cli.weights.hashes import known

    original = known(entry)
    return {
        "name": entry.name,
        "task": entry.task,
        "scale": entry.scale,
        "sigma": entry.sigma,
        "scene": entry.scene,
        "origin": entry.origin,
        "file": entry.file,
        "parameters": entry.parameters,
        "figure": entry.figure,
        "licence": entry.licence,
        "here": is_available(entry),
        "path": str(weights_file(entry)),
        "sha256": None if original is None else original.sha256,
        "size": None if original is None else original.size,
    }


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
