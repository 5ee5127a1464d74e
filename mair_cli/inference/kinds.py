"""Which networks have an inference form, and what the processor lets it compute in; free of its kernels."""

from __future__ import annotations

from mair_cli.networks.mair import MaIR
from mair_cli.networks.mair_unet import MaIRUNet
from mair_cli.networks.network import Network


def has_form(network: Network) -> bool:
    """Whether there are steps for a network of this kind, see `mair_cli.inference.networks`."""
    if isinstance(network, MaIR):
        return network.config.aggregation == "shuffle" and network.config.in_chans == 3
    return isinstance(network, MaIRUNet)


def computes_in_pairs() -> bool:
    """Whether compiled kernels can use instructions for products of bfloat16: AVX-512's, so far."""
    import llvmlite.binding as llvm
    import numba

    told_otherwise = numba.config.CPU_NAME is not None or numba.config.CPU_FEATURES is not None
    return not told_otherwise and bool(llvm.get_host_cpu_features().get("avx512bf16", False))
