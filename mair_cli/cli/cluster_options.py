"""Options about many machines, as `Annotated` aliases."""

from __future__ import annotations

from typing import Annotated

import typer

CLUSTER = "Many machines"

Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|ADDRESS",
        rich_help_panel=CLUSTER,
        help="Restore on many machines, by Ray: local starts it here; auto, HOST:PORT or ray://HOST:PORT finds one.",
    ),
]
Actors = Annotated[
    str | None,
    typer.Option(
        "--actors",
        metavar="auto|N",
        rich_help_panel=CLUSTER,
        help="Networks at work at once on a --cluster, each with --threads CPUs, or a GPU. Default: as many as fit.",
    ),
]
Manifest = Annotated[
    str | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        rich_help_panel=CLUSTER,
        help="Append a JSON line per picture: input, output, seconds, node, what was told, error. "
        "Default with --cluster: beside the output.",
    ),
]
