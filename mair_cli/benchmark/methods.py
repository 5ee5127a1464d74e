"""What is measured: networks, and classical baselines beside them, behind one small interface."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from mair_cli.datasets.resize import matlab_bicubic
from mair_cli.errors import UsageError
from mair_cli.measure.protocol import MeasureProtocol, to_bytes
from mair_cli.networks import Network
from mair_cli.restore.restorer import Restorer
from mair_cli.restore.settings import RunSettings
from mair_cli.tasks import TASKS

__all__ = ["BASELINES", "Method", "MethodInfo", "build_method", "weights_digest"]


@dataclass(frozen=True)
class MethodInfo:
    """What a report says of a method.

    Attributes:
        name: unique within a run.
        kind: "model" or "baseline".
        description: one line.
        parameters: trained values; None for baselines.
        weights: SHA-256 of the network's parameters, or "".
        model: name in the catalog, "" for baselines and checkpoint files.
        settings: how a network is run, as data; empty for baselines.
        multiply_adds: for the size that papers use (`Network.multiply_adds`); None for baselines.
    """

    name: str
    kind: Literal["model", "baseline"]
    description: str
    parameters: int | None = None
    weights: str = ""
    model: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    multiply_adds: int | None = None


class Method:
    """Something that restores images of one task."""

    info: MethodInfo
    device: torch.device

    def __init__(self, task: MeasureProtocol) -> None:
        self._task = task

    def warm_up(self) -> None:
        """Do once what would otherwise be counted as time of the first image: imports, kernels, caches."""
        shape = (32, 32, 3)
        self.restore(np.zeros(shape, np.uint8) if self._task.sigma is None else np.zeros(shape, np.float32))

    def restore(self, image: np.ndarray) -> np.ndarray:
        """Restore an input of `Pair.degraded`'s kind to (H, W, 3) RGB uint8."""
        raise NotImplementedError


# ------------------------------------------------------------------------------------------ baselines


def _bicubic(image: np.ndarray, task: MeasureProtocol) -> np.ndarray:
    return matlab_bicubic(image, task.scale)


def _nearest(image: np.ndarray, task: MeasureProtocol) -> np.ndarray:
    return image.repeat(task.scale, axis=0).repeat(task.scale, axis=1)


def _unchanged(image: np.ndarray, task: MeasureProtocol) -> np.ndarray:
    return to_bytes(image)


def _non_local_means(image: np.ndarray, task: MeasureProtocol) -> np.ndarray:
    """Non-local means (Buades et al., 2005) as scikit-image has it, strength as its documentation advises."""
    from skimage.restoration import denoise_nl_means

    assert task.sigma is not None
    sigma = task.sigma / 255.0
    cleaned: np.ndarray = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.6 * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return to_bytes(cleaned)


@dataclass(frozen=True)
class Baseline:
    """A classical method: what it does, for which tasks, and the package that it needs ("" for none)."""

    description: str
    tasks: Collection[str]
    run: Callable[[np.ndarray, MeasureProtocol], np.ndarray]
    package: str = ""


_ENLARGING = frozenset(task.name for task in TASKS.values() if task.enlarges)
_SAME_SIZE = TASKS.keys() - _ENLARGING
BASELINES: Mapping[str, Baseline] = {
    "bicubic": Baseline("MATLAB's bicubic interpolation", _ENLARGING, _bicubic),
    "nearest": Baseline("pixel repetition", _ENLARGING, _nearest),
    "none": Baseline("the input as it is", _SAME_SIZE, _unchanged),
    "nl-means": Baseline("non-local means (scikit-image)", frozenset({"denoise"}), _non_local_means, "skimage"),
}


class BaselineMethod(Method):
    """A classical method, on the CPU."""

    device = torch.device("cpu")

    def __init__(self, name: str, task: MeasureProtocol) -> None:
        """Raises UsageError where the baseline is for another task, or its package is missing."""
        super().__init__(task)
        baseline = BASELINES[name]
        if task.task not in baseline.tasks:
            fitting = ", ".join(other for other, entry in BASELINES.items() if task.task in entry.tasks)
            raise UsageError(
                f"`model` {name} is no method for `task` {task.task}; there are {fitting} and the networks"
            )
        if baseline.package and importlib.util.find_spec(baseline.package) is None:
            raise UsageError(f'`model` {name} needs scikit-image: pip install "mair-cli[baselines]"')
        self.info = MethodInfo(name, "baseline", baseline.description)
        self._baseline = baseline

    def restore(self, image: np.ndarray) -> np.ndarray:
        """See `Method`."""
        return self._baseline.run(image, self._task)


# ------------------------------------------------------------------------------------------ networks


def weights_digest(network: Network) -> str:
    """SHA-256 over names and values of all parameters: the same weights give the same digest in any file format."""
    hashed = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


class ModelMethod(Method):
    """A network, run by the restorer that users run."""

    def __init__(self, name: str, restorer: Restorer, task: MeasureProtocol) -> None:
        super().__init__(task)
        network = restorer.network
        self.device = restorer.device
        self.info = MethodInfo(
            name=name,
            kind="model",
            description=restorer.description,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            multiply_adds=round(network.multiply_adds()[0]),
            weights=weights_digest(network),
            model="" if restorer.settings.weights is not None else restorer.model_name,
            settings=restorer.run_settings,
        )
        self._restorer = restorer

    def restore(self, image: np.ndarray) -> np.ndarray:
        """See `Method`."""
        return to_bytes(self._restorer(image, sigma=self._task.sigma, jpeg=self._task.quality or "off"))


def build_method(name: str, task: MeasureProtocol, settings: RunSettings) -> Method:
    """Make a method ready to run.

    Args:
        name: of a baseline, of a model in the catalog, or "auto" for the best weights at hand; a label where `settings`
            name a weights file.
        task: what it will be measured on.
        settings: how networks are run; classical baselines look at none of it.

    Raises:
        UsageError: an unknown name, or a model or baseline for another task.
        MairError: the weights cannot be loaded.
    """
    from_file = settings.weights is not None
    if not from_file and name in BASELINES:
        return BaselineMethod(name, task)
    model = "auto" if from_file else name
    restorer = Restorer(settings.with_(task=task.task, scale=task.scale, sigma=task.sigma, model=model))
    return ModelMethod(name if from_file else restorer.model_name, restorer, task)
