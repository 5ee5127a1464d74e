"""Checkpoints: read safely, recognise the network's settings, fit exactly; and write our own.

Two formats are read. The published one is a pickle: a dict whose `params_ema` or `params` entry is the state dict, or
the bare state dict, keys perhaps prefixed by `module.`; only tensors are taken from it, no code is ever run. Ours is
safetensors, with the settings as JSON in the metadata under `config`.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mair_cli.errors import CheckpointError, MairError, first_line
from mair_cli.networks import NETWORKS, MaIR, Network, NetworkConfig, build_network, config_from_mapping
from mair_cli.store.atomic import atomic_write
from mair_cli.store.files import disk_errors_as, file_sha256
from mair_cli.weights.pickle_check import load_pickle
from mair_cli.weights.safetensors_file import add_metadata, check_digest, read_header

StateDict = dict[str, Tensor]

MAX_FILE_BYTES: Final = 4 << 30
MAX_TENSORS: Final = 8192


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        config: settings of the network.
        state_dict: its parameters, float32, exactly the names and shapes that the network has.
        metadata: free text that came along (safetensors only), `config` left out.
        sha256: of the file.
    """

    config: NetworkConfig
    state_dict: StateDict
    metadata: dict[str, str]
    sha256: str


def load_checkpoint(
    path: Path | str, config: Mapping[str, object] | NetworkConfig | None = None, stripe: int | None = None
) -> Checkpoint:
    """Read a checkpoint and check it against the network that it is for.

    Args:
        path: a file in the published format or our own.
        config: settings under the published constructors' names; None takes them from the file: from its metadata, or
            from the names and shapes of its parameters.
        stripe: stripe width, the one setting that shapes do not tell; overrides that of `config` and metadata.

    Raises:
        CheckpointError: the file is missing, unsafe, damaged or does not fit; says what does not fit.
        UsageError: a setting in `config` is unknown or out of range.
    """
    path = Path(path)
    state, metadata = _read(path)
    if config is None and "config" in metadata:
        config = _stored_config(path, metadata["config"])
    if config is None:
        settings = infer_settings(path, state, stripe)
    else:
        settings = dict(config) if isinstance(config, Mapping) else config.to_mapping()
        if stripe is not None:
            settings["scan_len"] = stripe
    checked = config_from_mapping(settings)
    _check_fit(path, state, checked)
    state = {name: tensor.float().contiguous() for name, tensor in state.items()}
    rest = {key: value for key, value in metadata.items() if key != "config"}
    return Checkpoint(checked, state, rest, file_sha256(path))


def load_network(
    path: Path | str,
    config: Mapping[str, object] | NetworkConfig | None = None,
    device: str | torch.device = "cpu",
    stripe: int | None = None,
) -> Network:
    """A network with the weights of a checkpoint file, in eval mode, on `device`.

    Arguments and errors as in `load_checkpoint`. The network maps (B, 3, H, W) float32 RGB in [0, 1] to
    (B, 3, H · scale, W · scale).
    """
    checkpoint = load_checkpoint(path, config, stripe)
    network = build_network(checkpoint.config)
    network.load_state_dict(checkpoint.state_dict)
    return network.to(device)


def save_checkpoint(
    path: Path | str, state_dict: Mapping[str, Tensor], config: NetworkConfig, metadata: Mapping[str, str]
) -> None:
    """Write our own format: safetensors with the settings in its metadata, complete or not at all.

    Args:
        path: target; replaced if it exists.
        state_dict: parameters; their types are kept (float16 halves the file).
        config: settings of the network.
        metadata: free text to store besides, such as licence or training data.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    header = {**metadata, "config": json.dumps(config.to_mapping())}
    data = add_metadata(save({name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}), header)
    with disk_errors_as(CheckpointError, f"Cannot write {path}"), atomic_write(path) as file:
        file.write(data)


def check_size(path: Path) -> int:
    """Bytes of a file that may be a checkpoint.

    Raises:
        CheckpointError: it is no plain file (opening a pipe would wait for ever, a device may never end), or too large.
        OSError: it is not there, or cannot be reached.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} is no file.")
    if status.st_size > MAX_FILE_BYTES:
        gibibytes = status.st_size / 2**30
        raise CheckpointError(f"{path} is too large for a checkpoint of these networks ({gibibytes:.1f} GiB).")
    return status.st_size


def _read(path: Path) -> tuple[StateDict, dict[str, str]]:
    with disk_errors_as(CheckpointError, f"Cannot read the checkpoint {path}"):
        size = check_size(path)
        with path.open("rb") as file:
            head = file.read(16)
    # A safetensors file starts with the length of its JSON header, eight bytes, and the header with a brace.
    state, metadata = _read_safetensors(path) if head[8:9] == b"{" else (_read_pickle(path), {})
    constants = frozenset().union(*(network.constants for network in NETWORKS))
    state = {name: tensor for name, tensor in state.items() if name not in constants}
    if not state:
        raise CheckpointError(f"{path} holds no parameters.")
    if len(state) > MAX_TENSORS:
        raise CheckpointError(f"{path} holds {len(state)} parameters, far more than any of these networks.")
    # Views of one and the same storage could make thousands of large tensors out of a small file.
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise CheckpointError(f"{path} holds tensors that are larger together than the file.")
    for name, tensor in state.items():
        check_tensor(f"{path}: the parameter {name[:80]!r}", tensor)
    return state, metadata


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    header = read_header(path)
    check_digest(path, header)
    if len(header.tensors) > MAX_TENSORS:
        raise CheckpointError(f"{path} holds {len(header.tensors)} parameters, far more than any of these networks.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, header.metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {first_line(error)}.") from error


def _read_pickle(path: Path) -> StateDict:
    with disk_errors_as(CheckpointError, f"Cannot read the checkpoint {path}"), path.open("rb") as file:
        return _state_dict(path, load_pickle(file, path))


def _state_dict(path: Path, content: object) -> StateDict:
    for entry in ("params_ema", "params", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(entry), dict):
            content = content[entry]
            break
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no state dict, but a {type(content).__name__}.")
    state: StateDict = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} is no state dict: {str(key)[:60]!r} is not the name of a tensor.")
        name = key.removeprefix("module.")
        if name in state:
            raise CheckpointError(f"{path} holds {name!r} twice.")
        state[name] = value
    return state


def check_tensor(where: str, tensor: Tensor) -> None:
    """Raise CheckpointError, beginning with `where`, unless a tensor is plain, half or single precision, and finite."""
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise CheckpointError(f"{where} is not a plain tensor.")
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{where} has type {kind}, not float32, float16 or bfloat16.")
    if _overlaps_itself(tensor):
        raise CheckpointError(f"{where} overlaps itself.")
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"{where} holds NaN or infinite values.")


def _overlaps_itself(tensor: Tensor) -> bool:
    """Whether strides visit the same number twice: a tiny file could describe a huge tensor that way."""
    reach = 0
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length > 1:
            if stride <= reach:
                return True
            reach += (length - 1) * stride
    return False


def _stored_config(path: Path, text: str) -> NetworkConfig:
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("no mapping")
        return config_from_mapping(settings)
    except (ValueError, RecursionError, MairError) as error:
        raise CheckpointError(f"{path}: the settings in its metadata are not valid: {first_line(error)}.") from error


def _check_fit(path: Path, state: StateDict, config: NetworkConfig) -> None:
    # Settings may ask for millions of blocks, and building those takes ages even without their numbers.
    if config.block_count > len(state):
        raise CheckpointError(f"{path} does not fit these settings: they name more blocks than it has parameters.")
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in build_network(config).state_dict().items()}
    missing = [name for name in expected if name not in state]
    surplus = [name for name in state if name not in expected]
    wrong = [name for name in expected if name in state and state[name].shape != expected[name]]
    if missing:
        raise CheckpointError(f"{path} does not fit these settings: {_some(missing)} missing.")
    if surplus:
        raise CheckpointError(f"{path} does not fit these settings: {_some(surplus)} not part of the network.")
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{path} does not fit these settings: {name} is {tuple(state[name].shape)}, "
            f"not {tuple(expected[name])}{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}."
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(name[:80] for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"


def infer_settings(path: Path, state: Mapping[str, Tensor], stripe: int | None) -> dict[str, object]:
    """Settings that give a network with exactly these parameter names and shapes, under the constructors' names.

    Args:
        path: named in errors.
        state: parameters by name.
        stripe: stripe width, which the shapes do not tell; None where only one published network fits.

    Raises:
        CheckpointError: the names are not those of a known network, or the stripe width is needed and not given.
    """
    kind = next((network for network in NETWORKS if network.recognises(state)), MaIR)
    try:
        settings = kind.infer_settings(state)
    except (LookupError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of a known network: {first_line(error)} is missing."
        ) from error
    if not kind.scans_stripes:
        return settings
    stripe = stripe or kind.published_stripe(settings)
    if stripe is None:
        raise CheckpointError(f"The stripe width of {path} cannot be read from it: say `stripe` 4 or `stripe` 8.")
    return settings | {"scan_len": stripe}
