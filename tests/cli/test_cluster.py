"""Restoring on a real Ray cluster of two nodes on this machine, from and to a real S3 server; nodes and workers die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket import ENVIRONMENT, Bucket, troubled_server, use
from calling import TINY_X4, mair, photo, settle, start

from mair_cli.errors import UsageError
from mair_cli.jobs.cluster import ClusterSettings, Share, share_out

cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and Ray's test cluster is for Linux")

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
REAL = [str(word) for word in TINY_X4]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        # Nodes keep the environment that they are started with, and learn from this file where a test has its bucket.
        patch.setenv("AWS_CONFIG_FILE", str(tmp_path_factory.mktemp("aws") / "config"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_prestart_worker_first_driver", "0")  # workers that no test needs
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        made = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        made.add_node(**NODE)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, monkeypatch)
    monkeypatch.delenv("MAIR_OFFLINE")


def lines(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def owner(port: int, server: int) -> int | None:
    """The process that has the connection from a local port to a server's.

    A local port alone does not tell: another process may have a connection from the same one to somewhere else.
    """
    for table in ("tcp", "tcp6"):
        for row in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = row.split()
            if [int(address.rpartition(":")[2], 16) for address in fields[1:3]] == [port, server]:
                for link in Path("/proc").glob("[0-9]*/fd/*"):
                    try:
                        if str(link.readlink()) == f"socket:[{fields[9]}]":
                            return int(link.parts[2])
                    except OSError:
                        continue
    return None


def actors() -> list[int]:
    """Processes that restore."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"RestoringActor" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_workers_and_a_node_die_and_every_picture_is_done_once(
    cluster: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, endpoint)
    bucket = Bucket(endpoint, "deaths")
    for index in range(6):
        bucket.put(f"in/{index}.png", photo(f"in/{index}.png", 9 + index, 8))
    bucket.put("in/broken.png", b"no picture")
    bucket.put("in/deadly.png", photo("deadly.png", 5, 4))
    bucket.put("in/refused.png", photo("refused.png", 5, 4))
    half_more = ("--size", "150%", "--threads", "1")
    assert mair("upscale", "in", "-o", "here", *half_more, *TINY_X4).code == 0
    victims = {"in/2.png": "worker", "in/4.png": "node"}
    deaths: list[str] = []
    killed: set[int] = set()

    def told(path: str, port: int) -> None:
        key = path.removeprefix("/deaths/")
        how = victims.pop(key, "worker" if key == "in/deadly.png" else None)
        if how == "worker" and (pid := owner(port, server)) is not None and pid in actors() and pid not in killed:
            killed.add(pid)  # a process that is being killed may have asked twice
            deaths.append(key)
            os.kill(pid, signal.SIGKILL)
        elif how == "node":
            deaths.append(key)
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

    with troubled_server(503, "SlowDown", only="in/refused.png", behind=endpoint, told=told) as (url, _):
        server = int(url.rpartition(":")[2])
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[default]\nendpoint_url = {url}\n")
        process = start(
            *("upscale", "s3://deaths/in", "-o", "s3://deaths/out", "--manifest", "m.jsonl", *REAL),
            *("--cluster", cluster.address, *half_more),
        )
        _, err = process.communicate(timeout=200)
    assert process.returncode == 1, err
    assert deaths.count("in/deadly.png") == 3, err
    assert {"in/2.png", "in/4.png"} < set(deaths)
    rows = lines(Path("m.jsonl"))
    assert sorted(row["input"].rpartition("/")[2] for row in rows) == sorted(
        [*(f"{index}.png" for index in range(6)), "broken.png", "deadly.png", "refused.png"]
    )
    failed = {row["input"].rpartition("/")[2]: row["error"] for row in rows if row["status"] == "failed"}
    assert set(failed) == {"broken.png", "deadly.png", "refused.png"}
    assert "given up: 3 workers" in failed["deadly.png"]
    assert "Service Unavailable" in failed["refused.png"]
    assert all(row["node"] for row in rows)
    for index in range(6):
        assert bucket.get(f"out/{index}.png") == Path(f"here/{index}.png").read_bytes()
    assert {key for key in bucket.objects() if not key.startswith("in/")} == {f"out/{index}.png" for index in range(6)}
    cluster.add_node(**NODE)


def test_a_run_that_was_killed_and_one_that_was_interrupted_go_on(cluster: Any) -> None:
    for index in range(10):
        photo(f"in/{index:02}.png", 280, 280)

    def restored() -> int:
        return sum("found" not in row for row in lines(Path("m.jsonl")))

    words = ["upscale", str(Path("in").resolve()), "-o", str(Path("out").resolve()), "--skip-existing", *REAL]
    words += ["--cluster", cluster.address, "--threads", "1", "--manifest", "m.jsonl", "--tile", "32", "--actors", "1"]
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        before = restored()
        process = start(*words)
        while process.poll() is None and restored() < before + 1:
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode == code, err
        assert "Traceback" not in err
        for row in lines(Path("m.jsonl")):
            assert row["status"] == "done"
            assert Path(row["output"]).is_file()
        deadline = time.monotonic() + 20
        while actors() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert actors() == []
    process = start(*words)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    # Who is killed while writing leaves a hidden file, which later writers delete (see `store.atomic`).
    made = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert made == {f"{index:02}.png" for index in range(10)}
    told = lines(Path("m.jsonl"))
    assert sorted(Path(row["output"]).name for row in told) == sorted(made)
    assert {row["status"] for row in told} == {"done"}


def test_this_machine_alone_gives_what_the_plain_command_gives() -> None:
    for name in ("in/a.png", "in/sub/b.jpg", "in/c.png"):
        photo(name, 64, 48)
    Path("in/broken.png").write_bytes(b"no picture")
    words = ("denoise", "in", "-r", "--sigma", "auto", "--threads", "1", "--json", "-o")
    plain = mair(*words, "plain")
    process = start(*words, "many", "--cluster", "local", "--actors", "1")
    out, err = process.communicate(timeout=200)
    assert (plain.code, process.returncode) == (1, 1), err

    def about(records: list[dict[str, Any]], where: str) -> dict[str, dict[str, Any]]:
        for row in records:
            row.pop("seconds", None)
            row["output"] = Path(row["output"]).relative_to(where).as_posix()
        return {row.pop("input"): row for row in records}

    assert about([*map(json.loads, out.splitlines())], "many") == about(plain.records, "plain")
    for name in ("a.png", "sub/b.jpg", "c.png"):
        assert Path("many", name).read_bytes() == Path("plain", name).read_bytes()
    rows = lines(Path("many_mair_manifest.jsonl"))
    assert {row["status"] for row in rows} == {"done", "failed"}
    assert all(row["sigma_origin"] == "estimated" for row in rows if row["status"] == "done")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--cluster", "127.0.0.1:1"], "nothing answers"),
        (["--cluster", "nonsense"], "HOST:PORT"),
        (["--cluster", "local", "--actors", "0"], "--actors 0"),
        (["--cluster", "local", "-o", "-"], "standard streams"),
    ],
)
def test_a_wrong_cluster_ends_the_run_before_any_work(words: list[str], named: str) -> None:
    photo("a.png", 5, 4)
    ran = mair("upscale", "a.png", *words, *TINY_X4)
    assert (ran.code, named in ran.err, Path("a_mair_x4.png").exists()) == (2, True, False), ran.err


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [("ray", ["a.png", "--cluster", "local"], "cluster"), ("s3fs", ["s3://bucket/a.png"], "remote")],
)
def test_without_the_extra_one_line_says_what_to_install(module: str, words: list[str], extra: str) -> None:
    photo("a.png", 5, 4)
    code = f"import sys; sys.modules[{module!r}] = None; from mair_cli.cli.app import main; sys.exit(main())"
    process = subprocess.run(
        [sys.executable, "-c", code, "upscale", *words, *REAL], capture_output=True, text=True, check=False
    )
    assert process.returncode == 2, process.stderr
    (line,) = (line for line in process.stderr.splitlines() if line.startswith("error"))
    assert f"pip install 'mair-cli[{extra}]'" in line


def test_cores_and_gpus_are_shared_out() -> None:
    small, large = {"CPU": 2.0}, {"CPU": 16.0}
    gpu = {"CPU": 8.0, "GPU": 2.0}
    auto = ClusterSettings("auto")
    assert share_out(auto, [small, large], gpus=True) == Share(actors=9, threads=2, gpus=0)
    assert share_out(auto, [large, large], gpus=True) == Share(actors=8, threads=4, gpus=0)
    assert share_out(ClusterSettings("auto", threads=8), [small, large], gpus=True) == Share(2, 8, 0)
    assert share_out(ClusterSettings("auto", actors=3), [large], gpus=True) == Share(3, 4, 0)
    assert share_out(auto, [gpu, large], gpus=True) == Share(actors=2, threads=4, gpus=1)
    assert share_out(auto, [gpu, large], gpus=False) == Share(actors=6, threads=4, gpus=0)
    with pytest.raises(UsageError, match="`threads` 32"):
        share_out(ClusterSettings("auto", threads=32), [large], gpus=False)
    with pytest.raises(UsageError, match="no node"):
        share_out(auto, [{"memory": 1.0}], gpus=False)
