"""`mair serve`: the page for people who would rather look, and its HTTP interface."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from mair_cli.cli import console
from mair_cli.cli.option_sets import RESTORING, with_run_options
from mair_cli.cli.options import MaxPixels, Offline, Quiet, Verbose
from mair_cli.cli.values import go_offline
from mair_cli.errors import UsageError
from mair_cli.restore.settings import RunSettings

LISTENING = "Listening"


@with_run_options(without=("model", "weights", "stripe", "ensemble"), defaults=RESTORING)
def serve(
    settings: dict[str, object],
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", rich_help_panel=LISTENING, help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", "-p", metavar="N", min=0, max=65535, rich_help_panel=LISTENING, help="0 takes a free one."
        ),
    ] = 8080,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            rich_help_panel=LISTENING,
            help="A name by which other machines call this one; repeatable. Plain addresses need none.",
        ),
    ] = None,
    max_upload: Annotated[
        int, typer.Option("--max-upload", metavar="MB", min=1, rich_help_panel=LISTENING, help="Largest picture taken.")
    ] = 200,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser", rich_help_panel=LISTENING, help="Open the page, where there is a screen."
        ),
    ] = True,
    max_pixels: MaxPixels = None,
    offline: Offline = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> int:
    """Open a page in the browser: drop pictures, compare by a slider, save.

    Only this machine can reach it unless `--host` says otherwise. Nothing is sent anywhere, and nothing is kept when it
    ends (Ctrl-C). Other programs can post pictures to `/api/restore`.
    """
    console.configure(verbose=verbose, quiet=quiet)
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("starlette") is None:
        raise UsageError('The page needs more packages: pip install "mair-cli[serve]"')
    go_offline(offline)
    from mair_cli.runtime.device import choose_device
    from mair_cli.scan.dispatch import resolve_backend
    from mair_cli.serve.server import PageServer, ServerSettings, address_of, listen

    machine = RunSettings.of(settings)
    resolve_backend(machine.backend, choose_device(machine.device))  # now, not with the first picture
    where = ServerSettings(
        host=host, port=port, names=name or (), most_bytes=max_upload * 1_000_000, max_pixels=max_pixels
    )
    listener = listen(where)
    address = address_of(listener)
    if not where.is_local:
        console.warn("Whoever can reach this machine can use the page: there is no password.")

    def ready() -> None:
        console.note(f"{address}  (Ctrl-C ends it)")
        if browser and _has_screen():
            import webbrowser

            webbrowser.open(address)

    PageServer(where, machine, ready).serve_on(listener)
    return 0


def _has_screen() -> bool:
    """Whether a browser that opens would be seen by whoever called."""
    if not sys.stderr.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
