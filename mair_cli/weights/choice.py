"""Which of the models in the catalog does a job, given what is on this machine. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mair_cli.errors import UsageError, WeightsNotFoundError
from mair_cli.tasks import SCENES, TASKS, find_task
from mair_cli.weights.cache import is_available
from mair_cli.weights.catalog import MODELS, ModelEntry

__all__ = ["candidates", "nearest_denoiser", "select"]


def candidates(
    task: str, *, scale: int | None = None, sigma: float | None = None, scene: str | None = None
) -> list[ModelEntry]:
    """Models made for a job, published ones first, best first; a denoiser of any level fits every sigma.

    Args:
        task: a name in `mair_cli.tasks.TASKS`.
        scale: wanted enlargement; looked at for super-resolution only.
        sigma: noise level of 255, looked at for Gaussian denoising only; None (unknown) fits denoisers of any level.
        scene: "indoor", "outdoor" or "mixed", looked at for dehazing only; None stands for "mixed".

    Raises:
        UsageError: no model of that task, scale or scene is known.
    """
    entries = [entry for entry in MODELS.values() if task in entry.tasks]
    settings = find_task(task).settings
    if "scale" in settings:
        wanted = 4 if scale is None else scale
        entries = [entry for entry in entries if entry.scale == wanted]
        if not entries:
            raise UsageError(f"There is no model for `scale` {wanted}: choose 2, 3 or 4.")
    elif "sigma" in settings:
        entries = [entry for entry in entries if entry.sigma is None or entry.sigma == sigma]
    elif "scene" in settings:
        wanted_scene = "mixed" if scene is None else scene
        if wanted_scene not in SCENES:
            raise UsageError(f"There is no model for `scene` {wanted_scene}: choose indoor, outdoor or mixed.")
        entries = [entry for entry in entries if entry.scene in (None, wanted_scene)]
    return entries


def select(
    task: str,
    *,
    scale: int | None = None,
    sigma: float | None = None,
    scene: str | None = None,
    cached: Callable[[ModelEntry], bool] = is_available,
) -> ModelEntry:
    """The automatic choice: published weights for the job if they are in the cache, else the bundled ones.

    Args:
        task: a name in `mair_cli.tasks.TASKS`.
        scale: as in `candidates`.
        sigma: as in `candidates`.
        scene: as in `candidates`.
        cached: tells whether an entry's weights are on this machine.

    Raises:
        UsageError: as `candidates`.
        WeightsNotFoundError: neither is at hand; says what to type.
    """
    fitting = candidates(task, scale=scale, sigma=sigma, scene=scene)
    for entry in fitting:
        if cached(entry):
            return entry
    raise WeightsNotFoundError(_nothing_at_hand(task, fitting, sigma))


def nearest_denoiser(entries: Iterable[ModelEntry], sigma: float | None) -> ModelEntry | None:
    """Of the denoisers for one noise level the nearest one, an unknown level counting as 25; None where none is."""
    wanted = 25.0 if sigma is None else sigma
    trained = [(abs(entry.sigma - wanted), entry) for entry in entries if entry.sigma is not None]
    return min(trained, key=lambda found: found[0])[1] if trained else None


def _nothing_at_hand(task: str, fitting: list[ModelEntry], sigma: float | None) -> str:
    published = [entry for entry in fitting if entry.origin == "published"]
    if published:
        job = published[-1].purpose
        # The last is the smallest: the quickest to fetch and to run.
        others = f" (or {', '.join(entry.name for entry in published[:-1])})" if len(published) > 1 else ""
        advice = f"fetch published ones with `mair download {published[-1].name}`{others}"
    else:
        nearest = nearest_denoiser([entry for entry in MODELS.values() if entry.task == task], sigma)
        if nearest is None:
            return f"No weights for {TASKS[task].label} are at hand: name a checkpoint file with `weights` FILE."
        job = f"{TASKS['denoise'].label} σ {'auto' if sigma is None else format(sigma, 'g')}"
        advice = f"fetch the nearest with `mair download {nearest.name}` and add `model` {nearest.name}"
    return f"No weights for {job} are at hand: {advice}, or name a checkpoint file with `weights` FILE."
