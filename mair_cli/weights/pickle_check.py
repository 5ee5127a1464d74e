"""Opening pickled tensors safely: no code of the file runs, and it takes little more memory than its size.

`torch.load(weights_only=True)` runs no foreign code and checks that tensors lie within their storages, but it can be
kept busy or made to eat memory: 466 bytes fill 2 GiB (it calls `bytearray`), 738 bytes keep it hashing one key for
ever. So the pickle's instructions are looked through first: only those that `torch.save` writes for a state dict, only
names of tensors' parts, and no tuple that is huge when written out. Nothing is built, imported or called.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO, Final

import torch

from mair_cli.errors import CheckpointError, first_line

_MAX_PICKLE: Final = 8 << 20
_MAX_INSTRUCTIONS: Final = 1_000_000
_MAX_MEMBERS: Final = 50_000
_MAX_TUPLE: Final = 1000
_LEGACY_PICKLES: Final = 5
"""A constant, a version, the machine, the content, the storages' names; raw numbers follow."""

_NAMES: Final = frozenset(
    {
        *(f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char")),
        *("torch ByteStorage", "torch BoolStorage", "torch Size", "torch device", "collections OrderedDict"),
        *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"),
    }
)
_PUT: Final = frozenset({"BINPUT", "LONG_BINPUT"})
_GET: Final = frozenset({"BINGET", "LONG_BINGET"})
_TUPLES: Final = frozenset({"EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_INSTRUCTIONS: Final = (
    _PUT
    | _GET
    | _TUPLES
    | {"PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"}
    | {"EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"}
    | {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
)


class _Unsafe(Exception):  # noqa: N818  (never leaves this module)
    """What is wrong, as the end of a sentence."""


def load_pickle(file: BinaryIO, path: Path) -> object:
    """What `torch.save` wrote, in today's format (zip) or the one before, tensors on the CPU.

    Args:
        file: open at its beginning.
        path: named in errors.

    Raises:
        CheckpointError: it is anything else than tensors and plain values that can be opened without harm; says what.
        OSError: it cannot be read.
    """
    _check_pickle(file, path)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: object = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # PyTorch has no type for a damaged file: anything may come
        raise CheckpointError(
            f"{path} cannot be loaded safely as a checkpoint; it is damaged, or holds more than tensors "
            f"({first_line(error)})."
        ) from error
    return content


def _check_pickle(file: BinaryIO, path: Path) -> None:
    try:
        if file.read(4) == b"PK\x03\x04":
            _check_instructions(io.BytesIO(_description(file)))
        else:
            file.seek(0)
            _check_legacy(io.BytesIO(file.read(_MAX_PICKLE)))
    except _Unsafe as reason:
        raise CheckpointError(f"{path} is not loaded: {reason}.") from reason
    except (ValueError, RuntimeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged ({first_line(error)}).") from error


def _description(file: BinaryIO) -> bytes:
    """The pickle in the archive; refuses every trick that `torch.save` has no use for."""
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        names = {info.filename.lower() for info in infos}  # PyTorch's reader does not tell capitals
        if not infos or len(infos) > _MAX_MEMBERS or len(names) < len(infos) or archive.comment:
            raise _Unsafe("it is no archive that PyTorch wrote")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
            raise _Unsafe("its archive is compressed or encrypted, which PyTorch never does")
        if sum(info.file_size for info in infos) > file.seek(0, io.SEEK_END):
            raise _Unsafe("the parts of its archive overlap")
        tops = {name.partition("/")[0] for name in names}
        top = infos[0].filename.partition("/")[0]
        described = [info for info in infos if info.filename.lower() == f"{top.lower()}/data.pkl"]
        if len(tops) != 1 or not described:
            raise _Unsafe("it is an archive of something else than a checkpoint")
        if f"{top.lower()}/constants.pkl" in names:
            raise _Unsafe("it is a TorchScript program, not a checkpoint")
        with archive.open(described[0]) as member:
            description = member.read(_MAX_PICKLE + 1)
    if len(description) > _MAX_PICKLE:
        raise _Unsafe("the description of its contents is far too long")
    return description


def _check_legacy(file: BinaryIO) -> None:
    if file.read(1) != b"\x80":
        raise _Unsafe("it is neither a PyTorch checkpoint nor a safetensors file")
    file.seek(0)
    for _ in range(_LEGACY_PICKLES):
        _check_instructions(file)


def _check_instructions(file: BinaryIO) -> None:
    """Follow one pickle on a stack that holds, for each value, how many values it is when written out.

    Only tuples count what is in them: they alone are hashed, compared or copied by their contents.
    """
    stack: list[int | None] = []  # None is a mark
    memo: dict[object, int | None] = {}
    for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        name = instruction.name
        if count > _MAX_INSTRUCTIONS:
            raise _Unsafe("the description of its contents is far too long")
        if name not in _INSTRUCTIONS:
            raise _Unsafe(f"its pickle holds the instruction {name}, which no state dict needs")
        if name == "GLOBAL" and argument not in _NAMES:
            wanted = str(argument).replace(" ", ".")[:80]
            raise _Unsafe(f"it wants to import {wanted!r}, and only tensors are taken")
        values = _pop(stack, instruction)
        if name in _PUT:
            memo[argument] = stack[-1] if stack else None
        size = memo.get(argument) or 1 if name in _GET else 1 + sum(values) if name in _TUPLES else 1
        if size > _MAX_TUPLE:
            raise _Unsafe("it describes values that would be huge when written out")
        stack += [None if kind is pickletools.markobject else size for kind in instruction.stack_after]


def _pop(stack: list[int | None], instruction: pickletools.OpcodeInfo) -> list[int]:
    """Take what the instruction takes."""
    taken = instruction.stack_before
    values: list[int] = []
    try:
        if pickletools.markobject in taken:
            while (value := stack.pop()) is not None:
                values.append(value)
            taken = taken[: taken.index(pickletools.markobject)]
        values += [stack.pop() or 1 for _ in taken]
    except IndexError:
        raise _Unsafe("its pickle is garbled") from None
    return values
