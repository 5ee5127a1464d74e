"""A look at a pickled checkpoint before PyTorch opens it: does it hold tensors and plain values, and nothing else?

`torch.load(weights_only=True)` runs no foreign code, but it believes what a file says of sizes, and may be kept busy or
made to eat memory. Here the archive's list of contents is checked, and the pickle's instructions are followed on a
stack of stand-ins: only those that `torch.save` writes for a state dict are known, every tensor must lie within its
storage, and every storage must be as large as the file says. Nothing is built, imported or called.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Final

from mair_cli.errors import CheckpointError

_MAX_PICKLE: Final = 8 << 20
_MAX_INSTRUCTIONS: Final = 2_000_000
_MAX_MEMBERS: Final = 50_000
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

_STORAGES: Final = {
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch BFloat16Storage": 2,
    "torch DoubleStorage": 8,
    "torch LongStorage": 8,
    "torch IntStorage": 4,
    "torch ShortStorage": 2,
    "torch CharStorage": 1,
    "torch ByteStorage": 1,
    "torch BoolStorage": 1,
}
_REBUILD: Final = "torch._utils _rebuild_tensor_v2"
_ORDERED: Final = "collections OrderedDict"
_CALLABLE: Final = frozenset({_ORDERED, "torch Size", "torch device", _REBUILD, "torch._utils _rebuild_parameter"})


class _Unsafe(Exception):  # noqa: N818  (never leaves this module)
    """What is wrong, as the end of a sentence."""


@dataclass(frozen=True)
class _Name:
    """A function or class that the pickle names."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """The numbers behind one or several tensors."""

    key: str
    count: int
    item_bytes: int


@dataclass(frozen=True)
class _Something:
    """A list, tensor or the like: what is in it does not matter."""


@dataclass
class _Mapping:
    """A dictionary: its keys so far."""

    seen: set[str | int] = field(default_factory=set)


_MARK: Final = object()
_SOMETHING: Final = _Something()


def check_pickle(path: Path) -> None:
    """Check a file that `torch.save` should have written, in today's format (zip) or the one before.

    Raises:
        CheckpointError: it is anything else than a checkpoint that can be opened without harm; says what.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                _check_archive(path)
            else:
                file.seek(0)
                _check_legacy(file, path.stat().st_size)
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror or error}.") from error
    except _Unsafe as reason:
        raise CheckpointError(f"{path} is not loaded: {reason}.") from reason
    except (ValueError, IndexError, KeyError, RuntimeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a checkpoint, or it is damaged ({_brief(error)}).") from error


def _brief(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = _members(archive, path.stat().st_size)
        top = next(iter(members)).partition("/")[0]
        if f"{top}/constants.pkl" in members or any(name.startswith(f"{top}/code/") for name in members):
            raise _Unsafe("it is a TorchScript program, not a checkpoint")
        if f"{top}/data.pkl" not in members:
            raise _Unsafe("it is an archive of something else than a checkpoint")
        if members[f"{top}/data.pkl"] > _MAX_PICKLE:
            raise _Unsafe("the description of its contents is far too long")
        with archive.open(f"{top}/data.pkl") as file:
            machine = _Machine()
            machine.run(file)
            if file.read(1):
                raise _Unsafe("its pickle goes on after its end")
    for storage in machine.storages:
        if members.get(f"{top}/data/{storage.key}") != storage.count * storage.item_bytes:
            raise _Unsafe(f"the numbers called {storage.key[:40]!r} are missing, or of another size than it says")


def _members(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, int]:
    """Names and sizes; refuses every trick that `torch.save` has no use for."""
    infos = archive.infolist()
    if not infos or len(infos) > _MAX_MEMBERS or archive.comment:
        raise _Unsafe("it is no archive that PyTorch wrote")
    members: dict[str, int] = {}
    for info in infos:
        parts = info.filename.split("/")
        if ".." in parts or "" in parts or "\\" in info.filename or ":" in info.filename:
            raise _Unsafe(f"its archive names a place outside of itself, {info.filename[:60]!r}")
        if info.filename in members:
            raise _Unsafe(f"its archive holds {info.filename[:60]!r} twice")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise _Unsafe("its archive is compressed or encrypted, which PyTorch never does")
        members[info.filename] = info.file_size
    places = sorted((info.header_offset, info.header_offset + info.file_size) for info in infos)
    overlap = any(end > start for (_, end), (start, _) in pairwise([*places, (file_bytes, file_bytes)]))
    if len({name.partition("/")[0] for name in members}) != 1 or overlap:
        raise _Unsafe("it is no archive that PyTorch wrote")
    return members


def _check_legacy(file: IO[bytes], file_bytes: int) -> None:
    """Five pickles in a row (a constant, a version, the machine, the content, the storages' keys), then raw numbers."""
    if file_bytes == 0:
        raise _Unsafe("it is empty")
    if file.read(1) != b"\x80":
        raise _Unsafe("it is neither a PyTorch checkpoint nor a safetensors file")
    file.seek(0)
    machine = _Machine()
    if machine.run(file) != _LEGACY_MAGIC or machine.run(file) != _LEGACY_PROTOCOL:
        raise _Unsafe("it is a pickle of something else than a checkpoint")
    for _ in range(3):
        machine.run(file)
    claimed = sum(storage.count * storage.item_bytes for storage in set(machine.storages))
    if claimed > file_bytes - file.tell():
        raise _Unsafe("it is shorter than the numbers that it says it holds")


@dataclass
class _Machine:
    """Follows a pickle's instructions on stand-ins."""

    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    storages: list[_Storage] = field(default_factory=list)
    instructions: int = 0

    def run(self, file: IO[bytes]) -> object:
        """Follow one pickle to its end; returns what it leaves."""
        self.stack, self.memo = [], {}
        for instruction, argument, position in pickletools.genops(file):
            self.instructions += 1
            if self.instructions > _MAX_INSTRUCTIONS or (position or 0) > _MAX_PICKLE:
                raise _Unsafe("the description of its contents is far too long")
            step = _STEPS.get(instruction.name)
            if step is None:
                raise _Unsafe(f"its pickle holds the instruction {instruction.name}, which no state dict needs")
            step(self, argument)
        return self.stack.pop()

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def since_mark(self) -> list[object]:
        """Take everything above the last mark, and the mark."""
        values: list[object] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def put(self, place: int) -> None:
        """Remember the top value."""
        self.memo[place] = self.stack[-1]

    def take_items(self, values: list[object]) -> None:
        """Put keys and values into the container below them."""
        mapping = self.stack[-1]
        if not isinstance(mapping, _Mapping):
            raise _Unsafe("its pickle is garbled")
        for key in values[::2]:
            # A key of nested tuples would take ages to hash.
            if not isinstance(key, (str, int)):
                raise _Unsafe("it holds a mapping whose keys are no names")
            if key in mapping.seen:
                raise _Unsafe(f"it holds {str(key)[:60]!r} twice")
            mapping.seen.add(key)

    def name(self, module_and_name: str) -> None:
        """A function or class is named: must be known."""
        if module_and_name not in _CALLABLE and module_and_name not in _STORAGES:
            raise _Unsafe(f"it wants to import {module_and_name.replace(' ', '.')[:80]!r}, and only tensors are taken")
        self.push(_Name(module_and_name))

    def call(self) -> None:
        """A function is called: must be one of those that build tensors, with fitting arguments."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.name not in _CALLABLE or not isinstance(arguments, tuple):
            raise _Unsafe("it wants to call a function, and only tensors are taken")
        if function.name == _REBUILD:
            _check_extent(arguments)
        self.push(_Mapping() if function.name == _ORDERED else _SOMETHING)

    def storage(self) -> None:
        """A storage is referred to: (word, type, key, device, number of elements[, view])."""
        match self.stack.pop():
            case ("storage", _Name(kind), str(key), str(), int(count), *view) if kind in _STORAGES and count >= 0:
                if view not in ([], [None]):
                    raise _Unsafe("it describes views of storages, as no checkpoint does today")
                self.storages.append(_Storage(key, count, _STORAGES[kind]))
                self.push(self.storages[-1])
            case _:
                raise _Unsafe("it refers to something else than numbers in the same file")


def _check_extent(arguments: tuple[object, ...]) -> None:
    """A tensor (storage, offset, shape, strides, …) must lie within its storage."""
    match arguments:
        case (_Storage(count=count), int(offset), tuple(shape), tuple(strides), *_) if len(shape) == len(strides):
            numbers = [number for number in (*shape, *strides) if isinstance(number, int)]
            if len(numbers) != 2 * len(shape) or min((offset, *numbers)) < 0:
                raise _Unsafe("it describes a tensor of negative shape or stride")
            pairs = list(zip(numbers[: len(shape)], numbers[len(shape) :], strict=True))
            last = offset + sum((length - 1) * stride for length, stride in pairs)
            if all(length for length, _ in pairs) and last >= count:
                raise _Unsafe("it describes a tensor that is larger than its numbers")
        case _:
            raise _Unsafe("it describes something else than a plain tensor")


def _pick(machine: _Machine, count: int) -> list[object]:
    values = [machine.stack.pop() for _ in range(count)][::-1]
    if any(value is _MARK for value in values):
        raise _Unsafe("its pickle is garbled")
    return values


def _tuple_of(count: int) -> Callable[[_Machine, object], None]:
    return lambda machine, _: machine.push(tuple(_pick(machine, count)))


def _value(machine: _Machine, argument: object) -> None:
    machine.push(argument)


def _constant(value: object) -> Callable[[_Machine, object], None]:
    return lambda machine, _: machine.push(value)


def _steps() -> Iterator[tuple[str, Callable[[_Machine, object], None]]]:
    """The instructions that `torch.save` writes for state dicts, under pickle protocols 2 to 5."""
    for name in ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"):
        yield name, _value
    yield from (("NONE", _constant(None)), ("NEWTRUE", _constant(True)), ("NEWFALSE", _constant(False)))
    yield from (
        ("MARK", _constant(_MARK)),
        ("EMPTY_DICT", lambda machine, _: machine.push(_Mapping())),
        ("EMPTY_LIST", _constant(_SOMETHING)),
    )
    yield from (
        ("EMPTY_TUPLE", _tuple_of(0)),
        ("TUPLE1", _tuple_of(1)),
        ("TUPLE2", _tuple_of(2)),
        ("TUPLE3", _tuple_of(3)),
    )
    yield "TUPLE", lambda machine, _: machine.push(tuple(machine.since_mark()))
    for name in ("PROTO", "FRAME", "STOP"):
        yield name, lambda machine, _: None
    for name in ("BINPUT", "LONG_BINPUT"):
        yield name, lambda machine, place: machine.put(_integer(place))
    yield "MEMOIZE", lambda machine, _: machine.put(len(machine.memo))
    for name in ("BINGET", "LONG_BINGET"):
        yield name, lambda machine, place: machine.push(machine.memo[_integer(place)])
    yield "APPEND", lambda machine, _: _drop(_pick(machine, 1))
    yield "APPENDS", lambda machine, _: _drop(machine.since_mark())
    yield "BUILD", lambda machine, _: _drop(_pick(machine, 1))
    yield "SETITEM", lambda machine, _: machine.take_items(_pick(machine, 2))
    yield "SETITEMS", lambda machine, _: machine.take_items(machine.since_mark())
    yield "GLOBAL", lambda machine, name: machine.name(str(name))
    yield "STACK_GLOBAL", lambda machine, _: machine.name(" ".join(map(str, _pick(machine, 2))))
    yield "REDUCE", lambda machine, _: machine.call()
    yield "BINPERSID", lambda machine, _: machine.storage()


def _integer(value: object) -> int:
    if not isinstance(value, int):
        raise _Unsafe("its pickle is garbled")
    return value


def _drop(_values: list[object]) -> None:
    """What goes into a container no longer matters."""


_STEPS: Final = dict(_steps())
