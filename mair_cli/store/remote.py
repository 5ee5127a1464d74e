"""Files elsewhere: what this package does with addresses such as `s3://bucket/folder/photo.png`, by fsspec.

Who may read and write there is told by the environment, as each file system's library has it; nothing of that is asked
for or shown. Libraries try again by themselves what may pass. Whatever they raise in the end leaves here as an OSError
with the address and a reason in words.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final, Literal

from mair_cli.errors import UsageError
from mair_cli.store.addresses import masked
from mair_cli.store.download import RetryPolicy
from mair_cli.store.paths import check_online

__all__ = ["Address", "Place", "check_writable", "existing", "is_address", "kind_of", "looked_at", "parse_place"]

_ADDRESS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)  # `c:/` is a drive
_LOCAL: Final = ("file", "local")
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "hf", "memory"})
"""Where what is put appears whole or not at all, and renaming would be a copy."""

_FEW: Final = 8  # files that are asked for one by one rather than by listing their folder
_LIBRARY_ERRORS: Final = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("azure.core.exceptions", "AzureError"),
    ("fsspec.exceptions", "FSTimeoutError"),
)
"""Errors of libraries that are neither an OSError nor one of Python's."""


@dataclass(frozen=True, order=True)
class Address:
    """A file or folder elsewhere; what `pathlib.Path` calls by these names means the same here.

    Attributes:
        url: scheme, host or bucket, and the way there, as the library wants it, secrets included.
    """

    url: str

    def __str__(self) -> str:
        """As it may be shown: without secrets."""
        return masked(self.url)

    def __repr__(self) -> str:
        """Without secrets."""
        return f"Address({str(self)!r})"

    def __truediv__(self, within: str | PurePath) -> Address:
        """What lies below."""
        return Address(f"{self.url}/{within if isinstance(within, str) else within.as_posix()}")

    @property
    def scheme(self) -> str:
        """How it is reached: `s3`."""
        return self.url.partition("://")[0]

    @property
    def root(self) -> Address:
        """The bucket or host."""
        scheme, _, rest = self.url.partition("://")
        return Address(f"{scheme}://{rest.partition('/')[0]}")

    @property
    def name(self) -> str:
        """The last part; empty for a bucket or host."""
        rest = self.url.removeprefix(self.root.url)
        if self.scheme in ("http", "https"):
            rest = re.split(r"[?#]", rest)[0]
        return rest.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The extension with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Address:
        """The folder in which it lies."""
        return Address(self.url.rpartition("/")[0]) if self != self.root else self

    def with_name(self, name: str) -> Address:
        """A neighbour. Raises ValueError for a bucket, which has none."""
        if not self.name:
            raise ValueError(f"{self} has no name")
        return self.parent / name

    def relative_to(self, folder: Address) -> PurePosixPath:
        """The way from a folder above."""
        return PurePosixPath(self.url.removeprefix(folder.url).lstrip("/"))

    def kind(self) -> Literal["file", "folder"] | None:
        """What is there; None for nothing. Raises OSError, also where the bucket itself does not exist."""
        try:
            with self._open() as (system, path):
                return "file" if system.info(path)["type"] == "file" else "folder"
        except FileNotFoundError:
            if self == self.root:
                raise
        if self.root.kind() is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket or host", str(self.root))
        return None

    def read(self, limit: int) -> bytes:
        """The whole file. Raises OSError, and for one of more than `limit` bytes before it is fetched."""
        with self._open() as (system, path):
            if self._size(system, path, limit) is not None:
                data: bytes = system.cat_file(path)
                return data
            with system.open(path, "rb") as stream:
                data = stream.read(limit + 1)
        self._check(len(data), limit)
        return data

    def fetch(self, file: Path, limit: int | None = None) -> None:
        """Copy it to a file here, without holding it in memory. Raises OSError, and for more bytes as `read` does."""
        with self._open() as (system, path):
            if limit is None or self._size(system, path, limit) is not None:
                system.get_file(path, str(file))
                return
        file.write_bytes(self.read(limit))  # of what tells no size no more than is allowed

    def _size(self, system: Any, path: str, limit: int) -> int | None:  # noqa: ANN401 - a file system
        """Bytes, no more than `limit`; None of a web server that does not tell. Raises OSError."""
        size: int | None = system.info(path).get("size")
        self._check(size or 0, limit)
        return size

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise OSError(errno.EFBIG, f"it is larger than the {limit / 2**30:.1f} GiB that are allowed", str(self))

    def write(self, data: bytes) -> None:
        """Make it hold this, whole or not at all. Raises OSError."""
        self._replace(lambda system, path: system.pipe_file(path, data))

    def write_file(self, file: Path) -> None:
        """Make it hold what a file here holds, whole or not at all, without holding it in memory. Raises OSError."""
        self._replace(lambda system, path: system.put_file(str(file), path))

    def _replace(self, put: Callable[[Any, str], None]) -> None:
        """One put for object stores; elsewhere a new file, then renamed."""
        with self._open() as (system, path):
            if self.scheme in _OBJECT_STORES:
                put(system, path)
                return
            folder = path.rpartition("/")[0]
            part = f"{folder}/.mair-{os.getpid()}-{secrets.token_hex(6)}.part"
            system.makedirs(folder, exist_ok=True)
            try:
                put(system, part)
                system.mv(part, path)
            finally:
                if system.exists(part):
                    system.rm_file(part)

    def find(self, *, recursive: bool) -> tuple[list[Address], list[Address]]:
        """Files, and folders that were not entered, both sorted, by one listing. Raises OSError."""
        folders: list[Address] = []
        files = sorted(self.files(recursive=recursive, folders=folders.append))
        return files, sorted(folders)

    def files(self, *, recursive: bool, folders: Callable[[Address], None] = lambda folder: None) -> Iterator[Address]:
        """Files as they are listed, folder `x` before folder `x_mair_x4`, a page of the listing held at a time.

        Args:
            recursive: whether to descend.
            folders: told of each folder that is not entered.

        Raises:
            OSError: while iterating.
        """
        with self._open() as (system, path):
            pages = _pages_of_s3 if self.scheme in ("s3", "s3a") else _pages
            for names, left in pages(system, path, recursive):
                for folder in self._below(left, path):
                    folders(folder)
                yield from self._below(names, path)

    def _below(self, names: Iterable[str], path: str) -> Iterator[Address]:
        """Names as the library gives them, some of which stand for the folder itself or end like one."""
        ways = (name.removeprefix(path).removeprefix("/") for name in names)
        return (self / way for way in ways if way and not way.endswith("/"))

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, str]]:
        """The library's file system, and what it calls this; what it raises in the block leaves as an OSError."""
        try:
            system, path = _file_system(self)
            yield system, path.rstrip("/")
        except OSError as error:
            if error.filename == str(self):
                raise
            kind = type(error) if type(error) in (FileNotFoundError, PermissionError, FileExistsError) else OSError
            raise kind(error.errno or errno.EIO, _reason(error), str(self)) from error
        except _foreign_errors() as error:
            if "credentials" in type(error).__name__.lower():
                raise PermissionError(errno.EACCES, _reason(error), str(self)) from error
            raise OSError(errno.EIO, _reason(error), str(self)) from error


Place = Path | Address
"""A file or folder, here or elsewhere."""


def kind_of(place: Place) -> Literal["file", "folder"] | None:
    """What is there, here or elsewhere; None for nothing. Raises OSError."""
    if isinstance(place, Address):
        return place.kind()
    return "folder" if place.is_dir() else "file" if place.exists() else None


def is_address(text: str) -> bool:
    """Whether a text as typed means something elsewhere."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and found["scheme"].lower() not in _LOCAL


def parse_place(text: str) -> Place:
    """A path or an address as typed; `file://` is a path.

    Raises:
        UsageError: it is no sound address, of a scheme that nobody knows, or its library is not installed.
        OfflineError: it is an address, and going online is forbidden.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return Path(text)
    scheme, rest = found["scheme"].lower(), found["rest"].rstrip("/")
    if scheme in _LOCAL:
        return Path(found["rest"])
    address = Address(f"{scheme}://{rest}")
    if "::" in rest or not rest.isprintable():
        raise UsageError(f"{address}: not an address that can be taken: it has :: or control characters in it.")
    if not rest.partition("/")[0]:
        raise UsageError(f"{scheme}://{rest}: this address names no bucket or host.")
    if scheme != "memory":
        check_online(f"{address} lies elsewhere")
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise UsageError(f"{address}: {error}: `pip install 'mair-cli[remote]'` brings what S3 needs.") from error
    except ValueError as error:
        raise UsageError(f"{address}: no file system is known by {scheme}://.") from error
    return address


@contextmanager
def looked_at() -> Iterator[None]:
    """Turn any OSError of an address in the block into a UsageError that names it: planning asks before any work."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}.") from error


def existing(places: Iterable[Address]) -> set[Address]:
    """Which of these files exist: a listing for each bucket, of the folder that holds them all. Raises OSError."""
    wanted: dict[Address, list[Address]] = {}
    for place in places:
        wanted.setdefault(place.root, []).append(place)
    found: set[Address] = set()
    for root, files in wanted.items():
        if len(files) <= _FEW:
            found.update(file for file in files if file.kind() == "file")
            continue
        parents = {file.parent.url for file in files}
        folder = os.path.commonpath([parent.partition("://")[2] for parent in parents]) if len(parents) > 1 else ""
        top = Address(f"{root.scheme}://{folder.replace(os.sep, '/')}") if folder else files[0].parent
        with suppress(FileNotFoundError):  # nothing there yet
            found.update(set(files).intersection(top.find(recursive=len(parents) > 1)[0]))
    return found


def check_writable(folder: Address) -> None:
    """Write a file of our own into a folder and delete it. Raises UsageError where the first is not possible."""
    trial = folder / f".mair-{os.getpid()}-{secrets.token_hex(6)}.part"
    try:
        trial.write(b"")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}.") from error
    with suppress(OSError), trial._open() as (system, path):
        system.rm_file(path)


def _file_system(address: Address) -> tuple[Any, str]:
    import fsspec

    # Remembered listings would show what was there once, and hold all of a large bucket in memory.
    options: dict[str, Any] = {"use_listings_cache": False}
    if address.scheme in ("s3", "s3a"):
        seconds = RetryPolicy.from_environment().seconds
        options["max_concurrency"] = 1  # else each file is asked for its size twice
        options["config_kwargs"] = {"connect_timeout": seconds, "read_timeout": seconds}
    found: tuple[Any, str] = fsspec.url_to_fs(address.url, **options)
    return found


_Page = tuple[list[str], list[str]]
"""Names of files, and of folders that are not entered."""


def _pages(system: Any, path: str, recursive: bool) -> Iterator[_Page]:  # noqa: ANN401 - a file system
    """A page a folder."""
    for top, folders, files in system.walk(path, maxdepth=None if recursive else 1, on_error="raise"):
        folders.sort()  # the order in which they are entered
        yield sorted(f"{top}/{name}" for name in files), [] if recursive else [f"{top}/{name}" for name in folders]


def _pages_of_s3(system: Any, path: str, recursive: bool) -> Iterator[_Page]:  # noqa: ANN401 - a file system
    """A page a request; the library itself would hold all that it found. S3 lists in the order of keys."""
    bucket, _, folder = path.partition("/")
    asked = {"Bucket": bucket, "Prefix": f"{folder}/" if folder else "", **({} if recursive else {"Delimiter": "/"})}
    while True:
        page = system.call_s3("list_objects_v2", **asked)
        folders = [f"{bucket}/{entry['Prefix'].rstrip('/')}" for entry in page.get("CommonPrefixes", ())]
        yield [f"{bucket}/{entry['Key']}" for entry in page.get("Contents", ())], folders
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def _foreign_errors() -> tuple[type[Exception], ...]:
    """What libraries raise beside OSError; of those that are not loaded, nothing comes."""
    loaded = ((sys.modules.get(module), name) for module, name in _LIBRARY_ERRORS)
    special = (getattr(module, name) for module, name in loaded if hasattr(module, name))
    return (ValueError, TypeError, RuntimeError, ImportError, asyncio.TimeoutError, *special)


def _reason(error: BaseException) -> str:
    """One short line, without secrets."""
    plain = isinstance(error, OSError) and error.errno is not None
    known = {FileNotFoundError: "there is nothing of this name", PermissionError: "no permission"}
    if type(error) in known:
        return known[type(error)]  # type: ignore[index]
    text = (error.strerror if plain else None) or str(error) or type(error).__name__  # type: ignore[attr-defined]
    return masked(" ".join(str(text).split())[:200])
