"""The training loop.

Everything random is a pure function of (seed, step) and of a patch's place in the batch: patches, noise, flips and
stochastic depth. A resumed run therefore follows the very curve of an uninterrupted one, and several processes follow
that of a single one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from mair_cli.datasets.degradations import Degradation
from mair_cli.errors import TrainingError
from mair_cli.networks import build_network, set_backend
from mair_cli.networks.levels import known_levels
from mair_cli.runtime.precision import arithmetic, check_precision
from mair_cli.tasks import TASKS
from mair_cli.training.average import WeightAverage
from mair_cli.training.board import Board, check_package
from mair_cli.training.distributed import StopVote, World, joined, spread
from mair_cli.training.export import export_weights
from mair_cli.training.files import BOARD_FOLDER, IMAGES_FILE, STATE_FILE, STEPS_FILE, VALIDATION_FILE
from mair_cli.training.logbook import IMAGES_COLUMNS, STEP_COLUMNS, VALIDATION_COLUMNS, Logbook
from mair_cli.training.losses import make_loss
from mair_cli.training.optimizers import make_optimizers
from mair_cli.training.patches import Batch, PatchSource, loaded, prefetched
from mair_cli.training.recipe import Settings
from mair_cli.training.reports import Observer, Observers, Rehearsal, RunEnd, StepReport
from mair_cli.training.resuming import check_same_run, refuse_to_overwrite, restore, sole_user
from mair_cli.training.schedule import learning_rate, patch_and_batch, target_share
from mair_cli.training.sets import ImageSets, load_sets
from mair_cli.training.starting import draw_start_values, refuse_missing_start, start_from
from mair_cli.training.state import TrainingState, load_state, save_state
from mair_cli.training.stopping import StopRequest
from mair_cli.training.validation import ValidationScore, measure

logger = logging.getLogger(__name__)


class Trainer:
    """One run on one device; `train` is the way to use it.

    Args:
        settings: the run.
        sets: decoded images.
        device: where to train.
        world: this process among several.
        backend: of the scan, see `mair_cli.scan.dispatch.BACKENDS`.
        observer: is told how it goes on.
        state: what to go on from; None starts.

    Raises:
        UsageError: the device cannot do what the settings ask for, or weights to start from are missing.
        TrainingError: the images are too small, the batch cannot be shared, or `state` is of another network.
    """

    def __init__(
        self,
        settings: Settings,
        sets: ImageSets,
        device: torch.device,
        world: World,
        backend: str,
        observer: Observer,
        state: TrainingState | None = None,
    ) -> None:
        self.settings, self.device, self.world, self.observer = settings, device, world, observer
        self.validation_pairs = sets.validation
        training, data = settings.training, settings.data
        _prepare_torch(training.threads)
        check_precision(training.precision, device)
        self.network = build_network(settings.network)
        draw_start_values(self.network, training.seed)
        if training.start_from and state is None:
            start_from(self.network, training.start_from)
        set_backend(self.network, backend)
        self.network.to(device).train()
        self.average = WeightAverage(self.network, training.ema)
        self.model = spread(self.network, world, device)
        self._vote = StopVote(world, device)
        self.optimizer = make_optimizers(training, self.network)
        self.loss = make_loss(training.loss, training.charbonnier_eps, training.tv)
        self.source = PatchSource(
            sets.training,
            settings.scale,
            training.seed,
            settings.degradation,
            data.candidates,
            partial(target_share, data, training),
            equally=data.draw == "image",
            mixup=data.mixup,
            mixup_share=data.mixup_share,
        )
        self._check_stages()
        self.step = 0
        self.seconds = 0.0
        self.best: float | None = None
        self.best_step = 0
        self._measured: list[ValidationScore] = []
        self._norm = torch.zeros((), device=device)
        self._meter = _Meter(torch.zeros((), device=device))
        if state is not None:
            self._restore(state)

    def _check_stages(self) -> None:
        """Raise TrainingError where an image is smaller than a patch, or a batch cannot be shared evenly."""
        training = self.settings.training
        for step in (0, *(round(share * training.steps) for share, _, _ in training.stages)):
            patch, batch = patch_and_batch(self.settings.data, training, step)
            self.source.check(patch)
            if batch % self.world.size:
                raise TrainingError(f"a batch of {batch} cannot be shared by {self.world.size} processes evenly")

    def _restore(self, state: TrainingState) -> None:
        """Go on from `state`; raises TrainingError or CheckpointError when it belongs to another run."""
        check_same_run(state, self.settings)
        restore(state, self.network, self.average.network, self.optimizer)
        self.step, self.seconds = state.step, state.seconds
        self.best, self.best_step = state.best, state.best_step
        self._meter = _Meter(torch.tensor(state.loss_since_report, device=self.device), state.steps_since_report)

    def run(self, stop: StopRequest) -> RunEnd:
        """Train to the last step, or until `stop` is due; then save. After an error the last saved state stands."""
        training, folder = self.settings.training, self.settings.folder
        self.observer.started(self.step, sum(p.numel() for p in self.network.parameters()), len(self.source.pairs))
        if self.world.leads:
            self._log = Logbook(folder / STEPS_FILE, STEP_COLUMNS, self.step)
            self._validations = Logbook(folder / VALIDATION_FILE, VALIDATION_COLUMNS, self.step)
            self._images = Logbook(folder / IMAGES_FILE, IMAGES_COLUMNS, self.step)
        prepared = loaded if self.device.type == "cuda" else prefetched
        make = partial(_make_batch, self.source, self.settings, self.world)
        batches = prepared(make, self.step, training.steps, self.settings.data.workers)
        with stop.listening(), closing(batches), self._board():
            self._loop(batches, stop)
        if self.world.leads:
            self._save()
            self._export("last")
        return RunEnd(self.step, self.step >= training.steps, stop.signal, self.best, self.best_step)

    @contextmanager
    def _board(self) -> Iterator[None]:
        """Tell TensorBoard as well, where the settings ask for it."""
        if not (self.settings.training.tensorboard and self.world.leads):
            yield
            return
        with closing(Board(self.settings.folder / BOARD_FOLDER, self.step)) as board:
            self.observer = Observers(self.observer, board)
            yield

    def _loop(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        training = self.settings.training
        while self.step < training.steps:
            begun = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - begun
            loss = self._step(batch)
            self.step += 1
            logs = self.step % training.log_every == 0 or self.step == training.steps
            if logs or self.device.type == "cpu":  # a GPU is not asked after each step: it would have to finish first
                self._check_finite()
            self.seconds += time.perf_counter() - begun
            self._meter.add(loss, time.perf_counter() - begun, waited)
            if logs:
                self._report()
            self.observer.stepped(self.step)
            self._look_after()
            if self._vote.stops(stop.due):
                break

    def _report(self) -> None:
        meter = self._meter
        loss = float(self.world.mean(meter.loss)) / meter.steps
        rate = learning_rate(self.settings.training, self.step - 1)
        pace, waiting = meter.seconds / meter.timed, meter.waiting / meter.timed
        report = StepReport(self.step, round(self.seconds, 1), loss, rate, float(self._norm), pace, waiting)
        self._meter = _Meter(torch.zeros((), device=self.device))
        if self.world.leads:
            self._log.write(*vars(report).values())
            self.observer.logged(report)

    def _look_after(self) -> None:
        """Validate and save where the step asks for it. The other processes wait with their next gradients."""
        training, every = self.settings.training, self.settings.validation.every
        last = self.step == training.steps
        validates = bool(self.validation_pairs) and (last or self.step % every == 0)
        if not self.world.leads or not (validates or self.step % training.save_every == 0):
            return
        self._check_finite()
        if validates:
            self._validate()
        if not last:  # the end of the run saves anyway
            self._save()

    def _step(self, batch: Batch) -> torch.Tensor:
        """One optimiser step; returns the loss, a scalar tensor on the device."""
        training = self.settings.training
        self.optimizer.set_learning_rate(learning_rate(training, self.step))
        torch.manual_seed(_step_seed(training.seed, self.step))
        colors = slice(self.settings.network.colors)  # the channels of gray images are all alike
        low, high, noise, jpeg = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        high = high if high.is_floating_point() else high.float() / 255
        levels = known_levels(self.settings.network, noise, jpeg)
        with arithmetic(training.precision, self.device):
            output = self.model(low[:, colors], **levels)
        loss = self.loss(output.float(), high[:, colors])
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        self._norm = nn.utils.clip_grad_norm_(self.network.parameters(), training.clip or math.inf)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        return loss.detach()

    def _check_finite(self) -> None:
        """Raise TrainingError when the latest gradient is not finite: the loss was not either, or will not be."""
        if not math.isfinite(float(self._norm)):
            saved = self.settings.folder / STATE_FILE
            kept = f"the last checkpoint, {saved}, is intact" if saved.exists() else "nothing had been saved yet"
            raise TrainingError(
                f"the loss became infinite or not a number around step {self.step}; {kept}. "
                "Lower training.learning_rate, lengthen training.warmup or use precision fp32."
            )

    def _validate(self) -> None:
        settings, network = self.settings, self.average.network
        degradations = [Degradation.parse(text) for text in settings.validation.degradations or ("clean",)]
        luma = TASKS[settings.task].headline == "y"
        measured = measure(network, self.validation_pairs, settings.scale, luma, degradations, self.device)
        mean = float(np.mean([item.psnr for item in measured]))
        best = self.best is None or mean > self.best
        for item in measured:
            self._validations.write(self.step, f"{self.seconds:.1f}", item.measure, item.psnr, item.ssim)
            for score in item.images:
                self._images.write(self.step, item.measure, *score)
        self._measured = measured
        if best:
            self.best, self.best_step = mean, self.step
            self._export("best")
        self.observer.validated(self.step, measured, best)

    def _export(self, which: str) -> None:
        path = self.settings.folder / f"{self.settings.name}-{which}.safetensors"
        export_weights(path, self.average.network, self.settings, self.step, self._measured)

    def _save(self) -> None:
        state = TrainingState(
            step=self.step,
            seconds=self.seconds,
            network=self.network.state_dict(),
            average=self.average.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            settings=self.settings.to_mapping(),
            best=self.best,
            best_step=self.best_step,
            loss_since_report=float(self._meter.loss),
            steps_since_report=self._meter.steps,
        )
        save_state(self.settings.folder / STATE_FILE, state)


@dataclass
class _Meter:
    """Sums since the last row of the log. Steps of an earlier stretch count for the loss, not for the times."""

    loss: torch.Tensor
    steps: int = 0
    timed: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, loss: torch.Tensor, seconds: float, waiting: float) -> None:
        self.loss = self.loss + loss
        self.steps += 1
        self.timed += 1
        self.seconds += seconds
        self.waiting += waiting


def _make_batch(source: PatchSource, settings: Settings, world: World, step: int) -> Batch:
    """The patches of `step` for this process; a function by itself, so that other processes can be given it."""
    patch, batch = patch_and_batch(settings.data, settings.training, step)
    return source.batch(step, patch, batch, world.rank, world.size)


def _prepare_torch(threads: int) -> None:
    # Denormal numbers, which die out of moving averages and gradients, slow x86 cores down many times.
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)


def _step_seed(seed: int, step: int) -> int:
    # The 0 is the place of a single process: runs of older versions go on to the bit.
    return int(np.random.SeedSequence([seed, step, 0]).generate_state(1)[0])


def train(
    settings: Settings,
    device: torch.device,
    *,
    backend: str = "auto",
    resume: bool = False,
    stop_after_seconds: float | None = None,
    observer: Observer | None = None,
) -> RunEnd:
    """Carry out a training run, or go on with one; all that it writes lies in `settings.folder`.

    Args:
        settings: see `mair_cli.training.recipe`.
        device: where to train; under `torchrun` each process gives its own.
        backend: of the scan; "auto" takes the fastest.
        resume: go on with the state in the folder; without one, start.
        stop_after_seconds: save and leave after this time.
        observer: is told how it goes on.

    Raises:
        UsageError: the folder holds a run and `resume` is false; images or settings are unusable.
        TrainingError: the loss is not finite, something cannot be saved, or another process trains in the same folder;
            what was saved before is intact.
    """
    stop = StopRequest(stop_after_seconds)
    world = World.from_environment()
    _check_start(settings, resume)
    sets = load_sets(settings, validate=world.leads)
    with sole_user(settings.folder) if world.leads else nullcontext(), joined(world, device):
        told = observer if observer is not None and world.leads else Observer()
        return Trainer(settings, sets, device, world, backend, told, _saved_state(settings, resume)).run(stop)


def rehearse(settings: Settings, device: torch.device, *, backend: str = "auto", resume: bool = False) -> Rehearsal:
    """Open all that a run would open, and write nothing: images, weights or state, device and back end.

    Raises what `train` would raise before its first step.
    """
    _check_start(settings, resume)
    sets = load_sets(settings, keep=False)
    trainer = Trainer(settings, sets, device, World(), backend, Observer(), _saved_state(settings, resume))
    network = trainer.average.network
    side = network.size_multiple
    with torch.inference_mode(), arithmetic(settings.training.precision, device):
        network(torch.zeros(1, 3, side, side, device=device), **known_levels(network.config, 0.0, 0.0))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    images = len(sets.training) // len(settings.data.zoom)
    return Rehearsal(trainer.step, parameters, images, len(sets.validation))


def _check_start(settings: Settings, resume: bool) -> None:
    """What can be said before images are decoded, which may take minutes."""
    if settings.training.tensorboard:
        check_package()
    if not resume:
        refuse_to_overwrite(settings)
    if not resume or not (settings.folder / STATE_FILE).exists():
        refuse_missing_start(settings.training.start_from)


def _saved_state(settings: Settings, resume: bool) -> TrainingState | None:
    file = settings.folder / STATE_FILE
    return load_state(file) if resume and file.exists() else None
