"""`mair doctor`: what this machine has, what it lacks, and whether a restoration works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mair_cli.cli import console
from mair_cli.cli.options import Verbose

if TYPE_CHECKING:
    from pathlib import Path

    from mair_cli.cli.self_test import SelfTest

Section = Mapping[str, object]


def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else there.")] = False,
    self_test: Annotated[bool, typer.Option(help="Restore a small picture and check the result.")] = True,
    verbose: Verbose = 0,
) -> int:
    """Check this machine: versions, devices, back ends, caches, weights, and a self-test of a few seconds.

    For each back end that cannot be used it says why, and what to do. The exit code is 1 if the self-test fails.
    """
    console.configure(verbose=verbose)
    from mair_cli.benchmark.environment import describe_environment

    sections: dict[str, Section] = {
        "versions": describe_environment(),
        "devices": dict(_devices()),
        "back ends": dict(_backends()),
        "image formats": dict(_formats()),
        "many machines": dict(_many_machines()),
        "folders": dict(_folders()),
        "weights": dict(_weights()),
    }
    if not json:
        for index, (title, section) in enumerate(sections.items()):
            if index:
                console.out("")
            console.table(title, (), [(name, str(value)) for name, value in section.items()])
    test = _self_test() if self_test else None
    if json:
        console.record({**sections, **({} if test is None else {"self-test": test.as_record()})})
    elif test is not None:
        console.out("")
        console.table("self-test", (), [("passed" if test.passed else "FAILED", test.sentence)])
    return 0 if test is None or test.passed else 1


def _self_test() -> SelfTest:
    from mair_cli.cli.self_test import run_self_test

    with console.progress("self-test", unit="tile") as bar:
        return run_self_test(bar.reach)


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from mair_cli.runtime.device import choose_device, describe_device
    from mair_cli.runtime.memory import free_memory

    names = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    names += ["mps"] if torch.backends.mps.is_available() else []
    chosen = choose_device("auto")
    for name in names:
        device = torch.device(name)
        mark = ", chosen by auto" if device == chosen else ""
        yield name, f"{describe_device(device)}, {_size(free_memory(device))} free{mark}"


def _backends() -> Iterator[tuple[str, str]]:
    from mair_cli.runtime.device import choose_device
    from mair_cli.scan.dispatch import BACKENDS, backend_status, describe_backend, resolve_backend

    device = choose_device("auto")
    chosen = resolve_backend("auto", device)
    for name in BACKENDS:
        reason = backend_status(name)
        where = describe_backend(name, device).removeprefix(name)
        mark = ", chosen by auto" if name == chosen else ""
        yield name, f"not usable: {reason}" if reason else f"usable{where}{mark}"


def _formats() -> Iterator[tuple[str, str]]:
    from importlib.util import find_spec

    from mair_cli.errors import UsageError
    from mair_cli.images.formats import INSTALL_PLUGINS, WRITERS, plugin_missing, writable_format

    def lacking(name: str) -> str | None:
        try:
            writable_format(name)
        except UsageError as error:
            return str(error)
        return None

    problems = {name.lower(): lacking(name) for name in WRITERS}
    yield "written", ", ".join(name for name, problem in problems.items() if problem is None)
    yield from ((name, problem) for name, problem in problems.items() if problem is not None)
    yield "camera raw", f"refused: {INSTALL_PLUGINS} to read it" if plugin_missing("RAW") else "read"
    deep = find_spec("imagecodecs") is not None
    yield "16-bit colour", "read" if deep else "refused: pip install 'mair-cli[depth]' to read it"


def _many_machines() -> Iterator[tuple[str, str]]:
    from importlib import metadata
    from importlib.util import find_spec

    for package, does, extra in (("s3fs", "s3:// addresses", "remote"), ("ray", "`cluster`", "cluster")):
        here = find_spec(package) is not None
        lacking = f"not installed: pip install 'mair-cli[{extra}]' for {does}"
        yield package, f"{metadata.version(package)}, for {does}" if here else lacking
    yield "fsspec", f"{metadata.version('fsspec')}, for addresses of all kinds"


def _folders() -> Iterator[tuple[str, str]]:
    from mair_cli.store import paths
    from mair_cli.weights import cache

    yield "cache", _folder(paths.cache_dir())
    yield "published weights", _folder(cache.weights_dir())
    yield "bundled weights", _folder(cache.BUNDLED_DIR)
    yield "network", "forbidden by MAIR_OFFLINE" if paths.offline_requested() else "allowed for `mair download`"


def _folder(path: Path) -> str:
    if not path.is_dir():
        return f"{path} (not there yet)"
    total = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{path} ({_size(total)})"


def _weights() -> Iterator[tuple[str, str]]:
    from mair_cli.weights import cache, catalog

    for entry in catalog.MODELS.values():
        if cache.is_available(entry):
            size = _size(cache.weights_file(entry).stat().st_size)
            yield entry.name, f"{entry.purpose}, {entry.origin}, {size}"
    missing = sum(not cache.is_available(entry) for entry in catalog.MODELS.values())
    yield "others", f"{missing} more in the catalog: `mair download --list`"


def _size(count: float) -> str:
    """Bytes for people: 512 B, 3.4 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
