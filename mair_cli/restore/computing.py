"""What computes for a restorer, the network or its inference form, and in which precision."""

from __future__ import annotations

import torch

from mair_cli.networks.network import Network


def choose_precision(asked: str, network: Network, device: torch.device, backend: str, *, may_round: bool) -> str:
    """What `precision` "auto" stands for; any other stands for itself.

    "bf16" where the inference form computes in it faster and it `may_round`, since what is lost was measured on these
    weights to be below 0.01 dB, see docs/performance.md; else "fp32", as on GPUs, where nothing has been measured yet.
    """
    if asked != "auto":
        return asked
    return "bf16" if may_round and form_computes(network, device, backend, "bf16") else "fp32"


def form_computes(network: Network, device: torch.device, backend: str, precision: str) -> bool:
    """Whether the network's inference form can take its place."""
    if device.type != "cpu" or backend != "numba":
        return False
    from mair_cli.inference.kinds import computes_in_pairs, has_form  # needs numba, which "numba" says is here

    return has_form(network) and (precision == "fp32" or (precision == "bf16" and computes_in_pairs()))
