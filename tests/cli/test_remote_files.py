"""Restoring commands on addresses, against a real S3 server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bucket import Bucket, troubled_server, use
from calling import TINY_X4, files, mair, photo, settle

from mair_cli.jobs import naming, plan


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    settle(tmp_path, monkeypatch)
    use(monkeypatch, endpoint)
    return Bucket(endpoint, f"b{abs(hash(request.node.name)):x}")


def test_a_folder_elsewhere_is_restored_as_one_here(bucket: Bucket) -> None:
    for name in ("in/a.png", "in/sub/b.jpg", "in/sub/c.png"):
        bucket.put(name, photo(name, 5, 4))
    bucket.put("in/notes.txt", b"none")
    bucket.put("in/.hidden.png", Path("in/a.png"))
    assert mair("upscale", "-r", "in", "-o", "here", *TINY_X4).code == 0
    ran = mair("upscale", "-r", f"s3://{bucket.name}/in/", "-o", f"s3://{bucket.name}/out", *TINY_X4)
    assert ran.code == 0, ran.err
    assert "notes.txt" in ran.err
    made = {key.removeprefix("out/") for key in bucket.objects() if not key.startswith("in/")}
    assert made == files("here") == {"a.png", "sub/b.jpg", "sub/c.png"}
    for name in made:
        assert bucket.get(f"out/{name}") == Path("here", name).read_bytes()


def test_results_lie_beside_their_inputs_and_are_known_again(bucket: Bucket) -> None:
    place = f"s3://{bucket.name}"
    bucket.put("in/a.png", photo("a.png", 5, 4))
    bucket.put("one.png", Path("a.png"))
    assert mair("upscale", f"{place}/in", f"{place}/one.png", *TINY_X4).code == 0
    assert bucket.objects() == {"in/a.png", "one.png", "in_mair_x4/a.png", "one_mair_x4.png"}
    bucket.put("in/renamed.png", bucket.get("one_mair_x4.png"))  # only its own words tell
    ran = mair("upscale", f"{place}/in", "--skip-existing", "--json", *TINY_X4)
    assert ran.code == 0
    assert {record["status"] for record in ran.records} == {"skipped"}
    assert "result of an earlier run" in ran.err
    ran = mair("upscale", "-r", place, "-o", f"{place}/again", "--json", *TINY_X4)
    assert {record["input"].removeprefix(place) for record in ran.records} == {
        "/in/a.png",
        "/in/renamed.png",
        "/one.png",
    }


def test_what_exists_is_refused_before_any_work(bucket: Bucket) -> None:
    bucket.put("a.png", photo("a.png", 5, 4))
    bucket.put("a_mair_x4.png", b"precious")
    ran = mair("upscale", f"s3://{bucket.name}/a.png", *TINY_X4)
    assert (ran.code, bucket.get("a_mair_x4.png")) == (2, b"precious")
    assert "--overwrite" in ran.err
    assert mair("upscale", f"s3://{bucket.name}/a.png", "--overwrite", *TINY_X4).code == 0
    assert bucket.get("a_mair_x4.png").startswith(b"\x89PNG")


def test_here_and_elsewhere_mix_with_truth_weights_and_manifest(bucket: Bucket) -> None:
    place = f"s3://{bucket.name}"
    photo("a.png", 12, 10)
    bucket.put("b.png", photo("b.png", 13, 10))
    bucket.put("broken.png", b"no picture")
    for name, width in (("a", 48), ("b", 52), ("broken", 4)):
        bucket.put(f"gt/{name}.png", photo(f"{name}-gt.png", width, 40))
    bucket.put("w/light_d1_x4.pth", Path(str(TINY_X4[1])))
    words = ["a.png", f"{place}/b.png", f"{place}/broken.png", "-o", "out", "--gt", f"{place}/gt"]
    words += ["--manifest", f"{place}/m.jsonl", "--weights", f"{place}/w/light_d1_x4.pth", "--stripe", "8"]
    ran = mair("upscale", *words)
    assert (ran.code, "broken.png" in ran.err) == (1, True)
    assert files("out") == {"a_mair_x4.png", "b_mair_x4.png"}
    assert mair("upscale", *words, "--overwrite").code == 1
    lines = [json.loads(line) for line in bucket.get("m.jsonl").splitlines()]
    assert [line["status"] for line in lines] == ["done", "done", "failed"] * 2
    assert all(line["psnr"] > 0 and line["node"] for line in lines if line["status"] == "done")
    assert lines[0]["model"] == "light_d1_x4.pth"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["s3://no-such-bucket/a.png"], "s3://no-such-bucket"),
        (["a.png", "-o", "s3://no-such-bucket/out/"], "s3://no-such-bucket"),
        (["s3://"], "no bucket"),
        (["nosuch://x/y.png"], "nosuch://"),
        (["a.png", "--manifest", "s3://no-such-bucket/m.jsonl"], "s3://no-such-bucket"),
        (["a.png", "--weights", "s3://no-such-bucket/w.pth"], "s3://no-such-bucket"),
        (["a.png", "--gt", "s3://no-such-bucket/"], "s3://no-such-bucket"),
        (["a.png", "--actors", "2"], "--actors"),
    ],
)
def test_a_wrong_address_ends_the_run_before_any_work(bucket: Bucket, words: list[str], named: str) -> None:
    photo("a.png", 5, 4)
    ran = mair("upscale", *words, *(() if "--weights" in words else TINY_X4))
    assert (ran.code, named in ran.err, "hush" in ran.err) == (2, True, False), ran.err
    assert files() == {"a.png"}


@pytest.mark.parametrize(("status", "code", "words"), [(403, "AccessDenied", "no permission"), (503, "SlowDown", "")])
def test_a_bucket_that_refuses_ends_the_run_before_any_work(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    photo("a.png", 5, 4)
    with troubled_server(status, code) as (url, requests):
        use(monkeypatch, url)
        for inputs in (["s3://theirs/a.png"], ["a.png", "-o", "s3://theirs/out/"]):
            ran = mair("upscale", *inputs, *TINY_X4)
            assert (ran.code, "s3://theirs" in ran.err, words in ran.err) == (2, True, True), ran.err
    assert len(requests) > 2 or status == 403
    assert files() == {"a.png"}


def test_a_picture_that_cannot_be_fetched_fails_and_the_others_are_done(
    bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library tries again, with pauses, what may pass; 503 to one object for ever."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    for name in ("in/a.png", "in/b.png", "in/c.png"):
        bucket.put(name, photo(name, 5, 4))
    with troubled_server(503, "SlowDown", only="/b.png", behind=endpoint) as (url, requests):
        use(monkeypatch, url)
        ran = mair("upscale", f"s3://{bucket.name}/in", "-o", "out", *TINY_X4)
    assert (ran.code, "b.png" in ran.err, files("out")) == (1, True, {"a.png", "c.png"})
    assert sum(path.endswith("/b.png") for path in requests) > 1


def test_a_bucket_that_does_not_answer_is_given_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    use(monkeypatch, "http://127.0.0.1:9")
    ran = mair("upscale", "s3://gone/a.png", *TINY_X4)
    assert (ran.code, "s3://gone" in ran.err) == (2, True)


def test_a_picture_that_comes_too_slowly_fails_and_the_others_are_done(
    bucket: Bucket, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MAIR_TIMEOUT", "0.2")
    for name in ("in/a.png", "in/b.png"):
        bucket.put(name, photo(name, 5, 4))
    with troubled_server(503, "SlowDown", only="/b.png", behind=endpoint, delay=1) as (url, _):
        use(monkeypatch, url)
        ran = mair("upscale", f"s3://{bucket.name}/in", "-o", "out", *TINY_X4)
    assert (ran.code, "b.png" in ran.err, files("out")) == (1, True, {"a.png"})


def test_names_that_lead_out_of_the_folder_are_not_followed(bucket: Bucket) -> None:
    picture = photo("a.png", 5, 4)
    for key in ("in/a.png", "in/../../escaped.png", "in//absolute.png"):
        bucket.put(key, picture)
    ran = mair("upscale", "-r", f"s3://{bucket.name}/in", "-o", "deep/er/out", *TINY_X4)
    assert ran.code == 1
    assert files() == {"a.png", "deep/er/out/a.png"}


def test_many_files_are_planned_in_parts_on_disk_as_few_are_in_memory(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever belongs together by its name is in one part: results with their originals, results of one name."""
    place = f"s3://{bucket.name}"
    for name in ("a.png", "a.bmp", "b_2.png", "b_2_compare.png", "c.png", "d.jpg", "sub/a.png", "sub/e.png"):
        bucket.put(f"in/{name}", photo(Path(name).name, 5, 4))
    for name in ("in/a_mair_x4.png", "in/d_jpg_mair_x4.png", "in/sub_mair_x4/f.png", "out/c.png"):
        bucket.put(name, photo("a.png", 5, 4))
    bucket.put("in/z.txt", b"none")
    words = ["upscale", "-r", f"{place}/in", "-o", f"{place}/out", "--skip-existing", "--json", "--dry-run", *TINY_X4]
    few = mair(*words)
    monkeypatch.setattr(naming, "MANY", 2)
    monkeypatch.setattr(plan, "MANY", 2)
    many = mair(*words)
    assert (few.code, many.code) == (0, 0), many.err
    by_input = [sorted(ran.records, key=lambda record: record["input"]) for ran in (few, many)]
    assert by_input[0] == by_input[1]
    assert {record["output"].removeprefix(f"{place}/out/") for record in many.records} == {
        *("a_png.png", "a_bmp.png", "b_2.png", "b_2_compare.png", "c.png", "d.jpg", "sub/a.png", "sub/e.png"),
    }
    left_out = [line for line in few.err.splitlines() if "left out, being results" in line]
    assert [line for line in many.err.splitlines() if "left out, being results" in line] == left_out
    refused = mair(*words[:5], *TINY_X4)
    assert (refused.code, "c.png exists already" in refused.err) == (2, True)
    assert mair(*[word for word in words if word != "--dry-run"]).code == 0
    made = {key.removeprefix("out/") for key in bucket.objects() if key.startswith("out/")}
    assert made == {record["output"].removeprefix(f"{place}/out/") for record in many.records}


def test_results_that_a_stopped_run_did_not_tell_are_told_by_the_next(bucket: Bucket) -> None:
    place = f"s3://{bucket.name}"
    for name in ("a.png", "b.png", "c.png"):
        bucket.put(f"in/{name}", photo(name, 5, 4))
    bucket.put("out/c.png", Path("c.png"))  # somebody else's
    words = ["upscale", f"{place}/in", "-o", f"{place}/out", "--skip-existing", *TINY_X4]
    words += ["--manifest", f"{place}/m.jsonl"]
    assert mair(*words).code == 0
    first, second = bucket.get("m.jsonl").splitlines(keepends=True)
    bucket.put("m.jsonl", first + second[:20])  # stopped while it wrote the second
    for _ in range(2):  # once told it is told
        assert mair(*words).code == 0
        lines = bucket.get("m.jsonl").splitlines(keepends=True)
        assert lines[:2] == [first, second[:20] + b"\n"]
        (told,) = map(json.loads, lines[2:])
        assert told == {
            **{"input": f"{place}/in/b.png", "output": f"{place}/out/b.png", "status": "done", "found": True},
            **{"output_width": 20, "output_height": 16},
        }
