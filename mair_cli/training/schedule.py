"""What changes over a run, as pure functions of the step: learning rate, patch side and batch size."""

from __future__ import annotations

import math

from mair_cli.training.recipe import DataSettings, TrainingSettings


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Learning rate of step `step` (0 is the first): warm-up, then cosine, halvings (network.md, 8) or a constant."""
    peak = settings.learning_rate
    if step < settings.warmup:
        return peak * (step + 1) / settings.warmup
    if settings.schedule == "multistep":
        passed = sum(step >= round(share * settings.steps) for share in settings.milestones)
        return float(peak * 0.5**passed)
    if settings.schedule == "cosine":
        begin = settings.warmup + settings.hold
        done = max(0, step - begin) / max(1, settings.steps - begin)
        low = min(settings.final_learning_rate, peak)
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return peak


def patch_and_batch(data: DataSettings, training: TrainingSettings, step: int) -> tuple[int, int]:
    """Patch side (input pixels) and global batch size of step `step`: the last stage that has begun."""
    patch, batch = data.patch, data.batch
    for share, stage_patch, stage_batch in sorted(training.stages):
        if step >= round(share * training.steps):
            patch, batch = stage_patch, stage_batch
    return patch, batch


def target_share(data: DataSettings, training: TrainingSettings, step: int) -> float:
    """Share of the patches of step `step` that learn from `data.targets`: constant, or linear over the run."""
    first, last = data.target_share[0], data.target_share[-1]
    return first + (last - first) * step / max(1, training.steps - 1)
