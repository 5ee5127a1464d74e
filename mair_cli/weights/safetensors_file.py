"""Headers of safetensors files: read strictly, written so that equal contents give equal bytes. Free of torch.

The format: eight bytes with the length of the header, the header (JSON: metadata, and for each tensor its type, shape
and place), the tensors' bytes. Files that we write carry a digest of all this in their metadata, so that damage after
writing is noticed wherever the file goes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mair_cli.errors import CheckpointError
from mair_cli.store.files import disk_errors_as

DIGEST_KEY: Final = "content_sha256"

# A header takes about 100 bytes per tensor; the format itself allows 100 MB.
_MAX_HEADER: Final = 4 << 20


@dataclass(frozen=True)
class Header:
    """What stands before the tensors' bytes.

    Attributes:
        metadata: free text by name.
        tensors: description of each tensor by name, as in the file.
        data_start: where the tensors' bytes begin.
    """

    metadata: dict[str, str]
    tensors: dict[str, object]
    data_start: int


def read_header(path: Path) -> Header:
    """Read and check the header of a file; no name may stand there twice.

    Raises:
        CheckpointError: the file cannot be read, or its header is none.
    """
    try:
        with disk_errors_as(CheckpointError, f"Cannot read the checkpoint {path}"), path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise ValueError(f"its header claims {length} bytes")
            content = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_without_repetition)
        if not isinstance(content, dict):
            raise ValueError("its header is no JSON object")
        metadata = content.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata is not text")
    except (ValueError, RecursionError, struct.error) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {str(error)[:160]}.") from error
    return Header(metadata, content, 8 + length)


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it names {name[:80]!r} twice")
        found[name] = value
    return found


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a file, from its header alone; errors as in `read_header`."""
    return read_header(path).metadata


def check_digest(path: Path, header: Header) -> None:
    """Compare a file that carries a digest with it; reads the whole file. Files without one pass.

    Raises:
        CheckpointError: the file is not what was written.
    """
    if DIGEST_KEY not in header.metadata:
        return
    digest = _digest_of_header(header.metadata, header.tensors)
    with disk_errors_as(CheckpointError, f"Cannot read the checkpoint {path}"), path.open("rb") as file:
        file.seek(header.data_start)
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != header.metadata[DIGEST_KEY]:
        raise CheckpointError(f"{path} is damaged: its content does not fit the checksum stored in it.")


def add_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with this metadata and a digest in place of what metadata it had.

    `safetensors` writes metadata in random order; here equal contents give equal bytes.
    """
    (length,) = struct.unpack("<Q", data[:8])
    tensors = json.loads(data[8 : 8 + length])
    tensors.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    digest = _digest_of_header(metadata, tensors)
    digest.update(body)
    header = _canonical({**metadata, DIGEST_KEY: digest.hexdigest()}, tensors)
    header += b" " * (-len(header) % 8)  # so that the tensors are aligned
    return b"".join((struct.pack("<Q", len(header)), header, body))


def _digest_of_header(metadata: Mapping[str, str], tensors: Mapping[str, object]) -> hashlib._Hash:
    return hashlib.sha256(_canonical({k: v for k, v in metadata.items() if k != DIGEST_KEY}, tensors))


def _canonical(metadata: Mapping[str, str], tensors: Mapping[str, object]) -> bytes:
    content = {"__metadata__": dict(sorted(metadata.items())), **tensors}
    return json.dumps(content, separators=(",", ":")).encode()
