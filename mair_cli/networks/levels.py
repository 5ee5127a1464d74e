"""Levels: constant input channels after RGB that tell a network how strong a degradation is.

    noise_level_map   sigma / 255          0: no noise; sigma is the standard deviation of Gaussian noise
    jpeg_level_map    (100 - Q) / 100      0: not a JPEG; Q is the quality on libjpeg's scale

Each is a switch in the settings; published checkpoints have neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mair_cli.networks.settings import NetworkConfig

Level = Tensor | float


def noise_level(sigma: float) -> float:
    """What a network is told of noise with standard deviation `sigma` of 255; 0 is no noise."""
    return sigma / 255


def jpeg_level(quality: int | None) -> float:
    """What a network is told of JPEG compression with `quality` 1 to 100; None is no JPEG, level 0 as quality 100."""
    return 0.0 if quality is None else (100 - quality) / 100


def levels_for(config: NetworkConfig, sigma: float, quality: int | None) -> dict[str, Level]:
    """What a network is told of noise, `sigma` of 255, and JPEG compression: arguments as `known_levels` gives them."""
    return known_levels(config, noise_level(sigma), jpeg_level(quality))


def known_levels(config: NetworkConfig, noise: Level, jpeg: Level) -> dict[str, Level]:
    """Of two levels (numbers or (B,)) those that a network takes, as the keyword arguments of its `forward`."""
    levels = {"noise_level": noise, "jpeg_level": jpeg}
    return {name: levels[name] for name in config.levels}


def append_level_maps(
    image: Tensor, config: NetworkConfig, noise_level: Level | None, jpeg_level: Level | None
) -> Tensor:
    """Append the levels that a network takes to its input.

    Args:
        image: (B, 3, H, W).
        config: says which levels the network takes.
        noise_level: number or (B,), sigma / 255; None is 0.
        jpeg_level: number or (B,), (100 - Q) / 100; None is 0.

    Returns:
        (B, 3 + levels, H, W); `image` itself where the network takes none.

    Raises:
        ValueError: a level is given to a network that does not take it.
    """
    maps = [image]
    for name, level in (("noise_level", noise_level), ("jpeg_level", jpeg_level)):
        if name in config.levels:
            value = torch.as_tensor(0.0 if level is None else level, dtype=image.dtype, device=image.device)
            maps.append(value.reshape(-1, 1, 1, 1).expand(image.shape[0], 1, *image.shape[2:]))
        elif level is not None:
            raise ValueError(f"{name} is given to a network without {name}_map")
    return torch.cat(maps, dim=1) if len(maps) > 1 else image
