"""The self-test of `mair doctor`: the whole way from an image array to a restored one, against the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mair_cli.errors import MairError

SIDE = 24
LARGEST_DIFFERENCE = 1  # of 255: back ends may round differently, no more


@dataclass(frozen=True)
class SelfTest:
    """Whether it passed, and in words what was done or went wrong."""

    passed: bool
    sentence: str
    seconds: float

    def as_record(self) -> dict[str, object]:
        """For JSON."""
        return {"passed": self.passed, "message": self.sentence, "seconds": round(self.seconds, 2)}


def run_self_test(progress: Callable[[int, int], None]) -> SelfTest:
    """Restore a small drawn picture by the automatic choice of weights, device and back end, and by the reference."""
    from mair_cli.restore.restorer import Restorer

    started = time.perf_counter()
    try:
        restorer = Restorer("sr")
        image = drawn_picture()
        restorer(image)  # the first run compiles kernels, which is not what is measured
        warm = time.perf_counter()
        result = restorer(image, progress=progress)
        seconds = time.perf_counter() - warm
        expected = Restorer("sr", device="cpu", backend="reference")(image)
    except MairError as error:
        return SelfTest(False, str(error), time.perf_counter() - started)
    difference = int(np.abs(result.astype(np.int16) - expected.astype(np.int16)).max())
    if difference > LARGEST_DIFFERENCE:
        sentence = (
            f"back end {restorer.backend} differs from the reference by {difference} of 255: "
            "use --backend reference, and please report this"
        )
        return SelfTest(False, sentence, seconds)
    height, width = result.shape[:2]
    sentence = f"{SIDE}×{SIDE} → {width}×{height} in {seconds:.2f} s by {restorer.description}; equals the reference"
    return SelfTest(True, sentence, seconds)


def drawn_picture() -> np.ndarray:
    """(SIDE, SIDE, 3) uint8: rings on a slope of colours, so that a wrong scan order cannot hide."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    rings = 0.5 + 0.5 * np.sin(np.hypot(x - SIDE / 3, y - SIDE / 2) / 1.7)
    channels = [0.6 * rings + 0.4 * x / SIDE, 0.5 * rings + 0.5 * y / SIDE, 1.0 - 0.8 * rings]
    return np.rint(np.stack(channels, axis=-1) * 255.0).clip(0, 255).astype(np.uint8)
