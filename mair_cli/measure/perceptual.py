"""Perceptual and no-reference measures by `pyiqa` (Chen et al.), an extra: LPIPS, DISTS, NIQE, MUSIQ and many more.

`pyiqa` fetches the weights of its measures itself, on first use, into PyTorch's own cache (TORCH_HOME) or that of
Hugging Face (HF_HOME); we neither check nor keep them.
"""

from __future__ import annotations

import difflib
import importlib
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mair_cli.errors import DownloadError, UsageError
from mair_cli.store.paths import check_online

__all__ = ["PerceptualMeasure", "open_measures"]


@dataclass(frozen=True)
class PerceptualMeasure:
    """One measure, ready to use.

    Attributes:
        name: as `pyiqa` spells it.
        compares: whether it looks at the ground truth; else it judges the result alone.
        lower_is_better: as it says.
        device: where it computes.
        score: maps results and ground truths, (1, 3, H, W) RGB in [0, 1], to a tensor of one number.
    """

    name: str
    compares: bool
    lower_is_better: bool
    device: torch.device
    score: Callable[..., Tensor]

    def __call__(self, output: np.ndarray, truth: np.ndarray) -> float:
        """Measure a result: (H, W, 3) RGB uint8 both.

        Raises:
            RuntimeError: the measure cannot take images of this size.
        """
        images = [self._tensor(output), *([self._tensor(truth)] if self.compares else [])]
        with torch.inference_mode():
            try:
                return float(self.score(*images))
            except (AssertionError, ValueError, IndexError) as error:
                raise RuntimeError(f"{self.name} cannot be taken of this image ({error})") from error

    def _tensor(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(image)).to(self.device).permute(2, 0, 1)[None].float() / 255


def open_measures(names: Sequence[str], device: torch.device) -> list[PerceptualMeasure]:
    """Make measures ready, fetching what they need.

    Args:
        names: as `pyiqa` spells them, such as "lpips"; none is no reason to load it.
        device: where they compute.

    Raises:
        UsageError: `pyiqa` is missing, a name is unknown or given twice, or a measure compares sets instead of images.
        OfflineError: nothing may be fetched.
        DownloadError: fetching failed.
    """
    if not names:
        return []
    if len(set(names)) < len(names):
        raise UsageError("`metric`: name each measure once")
    pyiqa = _package()
    known = pyiqa.list_models()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            raise UsageError(
                f"`metric` {name}: pyiqa has no such measure" + (f"; near: {', '.join(near)}" * bool(near))
            )
    check_online("pyiqa may have to fetch the weights of its measures", way_out=" Leave `metric` out.")
    return [_open(pyiqa, name, device) for name in names]


def _package() -> ModuleType:
    try:
        return importlib.import_module("pyiqa")
    except ImportError as error:
        missing = error.name or "pyiqa"
        raise UsageError(f"`metric` needs pyiqa ({missing} is missing): pip install 'mair-cli[perceptual]'") from error


def _open(pyiqa: ModuleType, name: str, device: torch.device) -> PerceptualMeasure:
    try:
        with redirect_stdout(io.StringIO()):  # on which it tells of downloads; stdout is for data
            metric = pyiqa.create_metric(name, device=device)
    except OSError as error:  # of which all errors of urllib and requests are
        raise DownloadError(f"`metric` {name}: pyiqa cannot fetch its weights ({error})") from error
    if metric.metric_mode not in ("FR", "NR") or "fid" in name or name == "inception_score":
        raise UsageError(f"`metric` {name} compares sets of images, not images")
    return PerceptualMeasure(name, metric.metric_mode == "FR", metric.lower_better, device, metric)
