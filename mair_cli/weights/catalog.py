"""The models by name: what each restores, its settings, and where its weights come from. Free of torch.

Settings of published checkpoints carry the published constructor's names, so that an entry's `config` can be handed to
`mair_cli.build_network` as it is. Names of files and Drive ids are those of the authors' shared folder.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mair_cli.errors import UsageError
from mair_cli.tasks import TASKS

Origin = Literal["bundled", "published"]

DRIVE_FOLDER_ID = "1YYmIVTyynLg-Kfu-mviq24WdVkJu-S3M"
DRIVE_FOLDER_URL = f"https://drive.google.com/drive/folders/{DRIVE_FOLDER_ID}"
AUTHORS_REPOSITORY = "github.com/XLearning-SCU/2025-CVPR-MaIR"
LICENCE_NOTE = (
    f"The authors' repository ({AUTHORS_REPOSITORY}) states no licence, neither for the code nor for these weights: "
    "whether you may use, share or sell with them is not settled. Ask the authors where it matters."
)


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model: architecture, settings, weights and where they come from.

    Attributes:
        name: what users type, such as `mair-t-x4`.
        task: what it restores, a name in `mair_cli.tasks.TASKS`.
        scale: output side divided by input side; 1 but for super-resolution.
        sigma: noise level of 255 it was trained for; None for another task, or for a denoiser of any level.
        scene: "indoor", "outdoor" or "mixed" for dehazing; None for another task, or for any scene.
        config: settings under the published constructor's names; empty for bundled weights, whose file carries them.
        origin: "bundled" ships in the package, "published" is fetched from the authors.
        file: name of the weights file, in the authors' folder or among the bundled ones.
        other_files: names under which the same published weights have been seen too.
        drive_id: Google Drive id of the file where known; others are found by listing the folder.
        parameters: number of trained values; None where only the file knows.
        figure: quality as published, or as our own card states it, with data set; None where no source is known.
        also: other tasks that it does.
        may_round: whether computing in bfloat16 was measured to lose less than 0.01 dB with these weights.
    """

    name: str
    task: str
    scale: int = 1
    sigma: float | None = None
    scene: str | None = None
    config: Mapping[str, object] = field(default_factory=dict)
    origin: Origin = "published"
    file: str
    other_files: tuple[str, ...] = ()
    drive_id: str | None = None
    parameters: int | None = None
    figure: str | None = None
    also: tuple[str, ...] = ()
    may_round: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that it restores."""
        return (self.task, *self.also)

    @property
    def stripe(self) -> int | None:
        """Stripe width of the scan: the one setting that a state dict does not show. None for bundled weights."""
        width = self.config.get("scan_len")
        return width if isinstance(width, int) else None

    @property
    def licence(self) -> str:
        """What is known about the right to use these weights."""
        return LICENCE_NOTE if self.origin == "published" else "CC BY-SA 4.0, see the model card"

    @property
    def files(self) -> tuple[str, ...]:
        """Every name the weights file may have, likeliest first."""
        return (self.file, *self.other_files)

    @property
    def purpose(self) -> str:
        """The task in words, with scale, noise level or scene."""
        task = TASKS[self.task]
        title = task.title(scale=self.scale, sigma=self.sigma)
        details = [self.scene] if self.scene else []
        details += ["any σ"] if task.inputs == "noisy" and self.sigma is None else []
        return ", ".join([title, *details, *(TASKS[other].label for other in self.also)])


_SUPER_RESOLUTION: Mapping[str, tuple[str, Mapping[str, object], Mapping[int, int], Mapping[int, str]]] = {
    # size: (file name, settings, parameters per scale, published quality per scale). Figures are from other authors'
    # tables (PSNR on Y), since the article's own are not at hand.
    "sr": (
        "MaIR_SR",
        {
            "embed_dim": 180,
            "depths": (6,) * 6,
            "d_state": 16,
            "ssm_ratio": 2.0,
            "mlp_ratio": 2.5,
            "upsampler": "pixelshuffle",
            "scan_len": 8,
        },
        {2: 19_444_247, 3: 19_628_887, 4: 19_591_959},
        {2: "Set5 38.56 dB (unconfirmed)"},
    ),
    "s": (
        "MaIR_S_lightSR",
        {
            "embed_dim": 60,
            "depths": (6,) * 4,
            "d_state": 16,
            "ssm_ratio": 1.4,
            "mlp_ratio": 1.6,
            "upsampler": "pixelshuffledirect",
            "scan_len": 4,
        },
        {2: 1_354_680, 3: 1_362_795, 4: 1_374_156},
        {2: "Set5 38.20 dB", 4: "Set5 32.62 dB"},
    ),
    "t": (
        "MaIR_T_lightSR",
        {
            "embed_dim": 60,
            "depths": (6,) * 4,
            "d_state": 1,
            "ssm_ratio": 1.1,
            "mlp_ratio": 1.6,
            "upsampler": "pixelshuffledirect",
            "scan_len": 8,
        },
        {2: 877_752, 3: 885_867, 4: 897_228},
        {},
    ),
}
_DENOISING: Mapping[str, object] = {
    "embed_dim": 180,
    "depths": (6,) * 6,
    "d_state": 16,
    "ssm_ratio": 1.3,
    "mlp_ratio": 2.0,
    "upsampler": None,
    "scan_len": 4,
}
_MAIR: Mapping[str, object] = {"img_range": 1.0, "resi_connection": "1conv"}
_UNET: Mapping[str, object] = {
    "inp_channels": 3,
    "out_channels": 3,
    "bias": False,
    "dual_pixel_task": False,
    "dynamic_ids": False,
}
_LARGE_UNET: Mapping[str, object] = {
    "dim": 48,
    "num_blocks": (4, 6, 6, 8),
    "num_refinement_blocks": 4,
    "ssm_ratio": 2.0,
    "flp_ratio": 4.0,
    "mlp_ratio": 1.5,
    "scan_len": 4,
}
_SMALL_UNET: Mapping[str, object] = {
    "dim": 24,
    "num_blocks": (2, 2, 3, 4),
    "num_refinement_blocks": 2,
    "ssm_ratio": 1.2,
    "flp_ratio": 2.0,
    "mlp_ratio": 2.0,
    "scan_len": 8,
}


def _super_resolution() -> Iterator[ModelEntry]:
    for scale in (2, 3, 4):
        for size, (file, settings, parameters, figures) in _SUPER_RESOLUTION.items():
            yield ModelEntry(
                name=f"mair-{size}-x{scale}",
                task="sr",
                scale=scale,
                config={"upscale": scale, **settings, **_MAIR},
                file=f"{file}_x{scale}.pth",
                parameters=parameters[scale],
                figure=figures.get(scale),
            )


def _gaussian_denoising() -> Iterator[ModelEntry]:
    drive_ids = {
        15: "1XUDCSK1Cs492mopqQrDVLNCC2stO1paA",
        25: "1jIDSzksBracVnyiVSkwFNEX--JOP1H1i",
        50: "1YdhrrPfEZ70JVuJgFdTmSLtFuu2giFdb",
    }
    for sigma, drive_id in drive_ids.items():
        yield ModelEntry(
            name=f"mair-cdn-s{sigma}",
            task="denoise",
            sigma=float(sigma),
            config={"upscale": 1, **_DENOISING, **_MAIR},
            file=f"MaIR_CDN_s{sigma}.pth",
            drive_id=drive_id,
            parameters=14_089_035,
        )


def _u_shaped() -> Iterator[ModelEntry]:
    camera: tuple[tuple[str, str, str, str], ...] = (
        ("mair-realdn", "real-denoise", "MaIR_RealDN", "1M8pDYp_-Yl46pMFqv_tnImJ8w1z6h7bH"),
        ("mair-motiondeblur", "deblur", "MaIR_MotionDeblur", "1bdYWJ0FXYknQuJQg77KrwII2jJHlX-3k"),
    )
    for name, task, stem, drive_id in camera:
        yield ModelEntry(
            name=name,
            task=task,
            config={**_UNET, **_LARGE_UNET},
            file=f"{stem}.pth",
            other_files=(f"{stem}.ckpt",),
            drive_id=drive_id,
            parameters=26_293_296,
        )
    for data_set, scene in (("its", "indoor"), ("ots", "outdoor"), ("r6k", "mixed")):
        yield ModelEntry(
            name=f"mair-dh-{data_set}",
            task="dehaze",
            scene=scene,
            config={**_UNET, **_SMALL_UNET},
            file=f"MaIR_DH_{data_set.upper()}.pth",
            parameters=3_404_376,
        )


# End of the name, task, scale, parameters, and quality as the card states it.
_BUNDLED = (
    ("x2", "sr", 2, 532_812, "Set5 37.81 dB"),
    ("x3", "sr", 3, 539_307, "Set5 34.13 dB"),
    ("x4", "sr", 4, 548_400, "Set5 32.02 dB"),
    ("denoise", "denoise", 1, 1_227_852, "CBSD68 σ 25 31.14 dB"),
    ("deblur", "deblur", 1, 4_051_200, "made-up blur, Kodak24 29.75 dB"),
    ("dehaze", "dehaze", 1, 1_138_848, "made-up haze 19.68 dB"),
)


def _bundled() -> Iterator[ModelEntry]:
    for suffix, task, scale, parameters, figure in _BUNDLED:
        name = f"mair-lite-{suffix}"
        yield ModelEntry(
            name=name,
            task=task,
            scale=scale,
            origin="bundled",
            file=f"{name}.safetensors",
            parameters=parameters,
            figure=figure,
            also=("dejpeg",) if task == "denoise" else (),
            may_round=task in ("sr", "denoise"),
        )


# In the order in which the automatic choice prefers them: for one task, the best network first.
MODELS: dict[str, ModelEntry] = {
    entry.name: entry for entry in (*_super_resolution(), *_gaussian_denoising(), *_u_shaped(), *_bundled())
}


def find(name: str) -> ModelEntry:
    """The entry of that name; capitals and the published file's name (`MaIR_SR_x4.pth`) are understood too.

    Raises:
        UsageError: there is none; the nearest names are suggested.
    """
    wanted = name.strip().lower()
    by_name = {alias.lower(): entry for entry in MODELS.values() for alias in _aliases(entry)}
    if wanted in by_name:
        return by_name[wanted]
    near = difflib.get_close_matches(wanted.replace("_", "-"), MODELS, n=3, cutoff=0.5)
    if not near:
        near = [entry.name for entry in MODELS.values() if wanted and wanted in entry.name][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else "`mair download --list` shows all names."
    raise UsageError(f"There is no model called {name!r}. {hint}")


def _aliases(entry: ModelEntry) -> Iterator[str]:
    yield entry.name
    for file in entry.files:
        yield file
        yield file.rpartition(".")[0]
