"""What a cluster costs beside the plain command, and what very many files elsewhere cost the driver.

    python tests/perf/cluster.py pictures [--count 8] [--side 500] [--weights FILE]
    python tests/perf/cluster.py keys [--counts 10000 100000]

`pictures` restores the same pictures by the plain command and by one and two actors of one thread each, and takes the
time between the first result and the last, so that starting counts for none of them. `keys` fills a bucket on a
local S3 server with pictures of a few pixels, plans a run over all of them, and reads and writes some; memory is that
of a process of its own, at its highest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))
from bucket import ENVIRONMENT, Bucket, s3_server

CONSOLE = Console()
SOME = 200  # files read and written, one after the other


def pictures(folder: Path, count: int, side: int) -> None:
    """Write smooth pictures with a little noise, as PNG."""
    folder.mkdir()
    y, x = np.mgrid[0:side, 0:side]
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 4, (side, side, 3))
        waves = [127 + 100 * np.sin((x * (c + 1) + y * seed) / 40) for c in range(3)]
        Image.fromarray((np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{seed:03}.png")


def seconds_per_picture(folder: Path, out: str, more: list[str]) -> float:
    """Seconds between two results, from the first that was written to the last."""
    command = [sys.executable, "-m", "mair_cli", "upscale", str(folder), "-o", out, "--threads", "1", "--overwrite"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    written = sorted(path.stat().st_mtime for path in Path(out).iterdir())
    return (written[-1] - written[0]) / (len(written) - 1)


def compare(count: int, side: int, more: list[str]) -> None:
    """Plain, one actor, two actors."""
    with tempfile.TemporaryDirectory() as top:
        pictures(Path(top, "in"), count, side)
        plain = 0.0
        for name, words in (("plain", []), ("1 actor", ["1"]), ("2 actors", ["2"]), ("plain", [])):
            cluster = ["--cluster", "local", "--actors", *words] if words else []
            seconds = seconds_per_picture(Path(top, "in"), str(Path(top, "out")), [*cluster, *more])
            plain = plain or seconds
            CONSOLE.print(f"{name}: {seconds:.3f} s a picture, {1 / seconds:.3f} pictures/s, {seconds / plain:.3f}")


def planned(place: str) -> None:
    """Plan a run over a bucket, and tell what it took."""
    from mair_cli.jobs.naming import collect
    from mair_cli.jobs.plan import Request, is_image_name, plan, results_folder
    from mair_cli.store.remote import Address

    def peak() -> float:  # what `resource` tells begins with the memory of the process that started this one
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    started = time.perf_counter()
    Address(f"{place}/nothing").kind()
    before, connected = peak(), time.perf_counter() - started
    started = time.perf_counter()
    found = collect([f"{place}/in"], recursive=True, is_image=is_image_name, leave_out=results_folder(f"{place}/out"))
    listed = time.perf_counter() - started
    jobs = plan(found.sources, Request("", f"{place}/out/"))
    whole = time.perf_counter() - started
    started, size = time.perf_counter(), 0
    for job, _ in zip(jobs, range(SOME), strict=False):
        assert isinstance(job.source.path, Address)
        assert isinstance(job.destination, Address)
        data = job.source.path.read(1 << 20)
        size += len(data)
    reading = time.perf_counter() - started
    started = time.perf_counter()
    for index in range(SOME):
        Address(f"{place}/written/{index}.png").write(data)
    told = {"keys": len(jobs), "connect_s": connected, "list_s": listed, "plan_s": whole - listed}
    told |= {"read_per_s": SOME / reading, "write_per_s": SOME / (time.perf_counter() - started), "bytes": size / SOME}
    CONSOLE.print_json(json.dumps({**told, "peak_before_MiB": before, "peak_MiB": peak()}))


def keys(counts: list[int]) -> None:
    """Fill buckets, and plan in a process of its own for each."""
    with s3_server() as endpoint, tempfile.TemporaryDirectory() as folder:
        os.environ.update({**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint})
        pictures(Path(folder, "in"), 1, 8)
        picture = Path(folder, "in/000.png").read_bytes()
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for count in counts:
            name = f"keys{count}"
            Bucket(endpoint, name)
            for index in range(count):  # past its port, which would take an hour
                backend.put_object(name, f"in/{index // 1000:04}/IMG_{index:07}.png", picture)
            subprocess.run([sys.executable, __file__, "planned", "--place", f"s3://{name}"], check=True)


def main() -> None:
    """Parse and call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pictures", "keys", "planned"))
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--weights")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--place", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.what == "pictures":
        compare(asked.count, asked.side, ["--weights", asked.weights] if asked.weights else [])
    elif asked.what == "keys":
        keys(asked.counts)
    else:
        planned(asked.place)


if __name__ == "__main__":
    main()
