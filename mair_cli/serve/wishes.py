"""What a request asks for: the fields of a form or of an address, checked. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from mair_cli.errors import UsageError
from mair_cli.images.io import writable_format
from mair_cli.restore.pictures import AlphaChoice
from mair_cli.restore.settings import RunSettings
from mair_cli.tasks import find_task

ALPHA: Final = ("model", "resize", "drop")


@dataclass(frozen=True)
class Wishes:
    """How one picture is to be restored and written.

    Attributes:
        settings: of the network.
        format: a key of `mair_cli.images.formats.WRITERS`; None leaves it to the picture.
        quality: 1 to 100, for formats with loss.
        alpha: what becomes of transparency.
    """

    settings: RunSettings
    format: str | None = None
    quality: int | None = None
    alpha: AlphaChoice = "model"

    @property
    def suffix(self) -> str:
        """What is added to the name of a result."""
        return self.settings.result_suffix(self.settings.named_scale)


def read_wishes(fields: Mapping[str, str], machine: RunSettings) -> Wishes:
    """From the fields of a request; an empty one counts as left out.

    Args:
        fields: by the names of `FIELDS`, as text.
        machine: the settings that whoever started the server has chosen, such as the device.

    Raises:
        UsageError: an unknown field, a value out of range, or a combination that says nothing.
    """
    values = {name: _parsed(name, text.strip()) for name, text in fields.items() if text.strip()}
    form, quality, alpha = (values.pop(name, None) for name in ("format", "quality", "alpha"))
    if isinstance(quality, int) and not 1 <= quality <= 100:
        raise UsageError(f"`quality` {quality}: give 1 to 100.")
    if alpha not in (None, *ALPHA):
        raise UsageError(f"`alpha` {alpha}: choose model, resize or drop.")
    task = str(values.setdefault("task", "sr"))
    if find_task(task).inputs == "noisy":
        values.setdefault("sigma", "auto")
    return Wishes(
        machine.with_(**values),
        None if form is None else writable_format(str(form)),
        cast("int | None", quality),
        alpha or "model",
    )


def _parsed(name: str, text: str) -> object:
    if name not in FIELDS:
        raise UsageError(f"There is no field {name!r}: there are {', '.join(FIELDS)}.")
    parse, wanted = FIELDS[name]
    try:
        return parse(text)
    except ValueError:
        raise UsageError(f"`{name}` {text}: give {wanted}.") from None


def _level(number: Callable[[str], object]) -> Callable[[str], object]:
    """A number, or a word that `RunSettings` looks at."""
    return lambda text: text.lower() if text.isalpha() and text.lower() != "nan" else number(text)


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


FIELDS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "task": (str, "the name of a task"),
    "scale": (int, "2, 3 or 4"),
    "size": (str, "a size"),
    "sigma": (_level(float), "a number from 0 to 75, or auto"),
    "jpeg": (_level(int), "a quality from 1 to 100, auto or off"),
    "scene": (str, "indoor, outdoor or mixed"),
    "model": (str, "a name in the catalog"),
    "ensemble": (_switch, "true or false"),
    "format": (str, "png, jpg, webp, tiff, …"),
    "quality": (int, "1 to 100"),
    "alpha": (str, "model, resize or drop"),
}
"""Fields of a request: how each is read, and what to give."""
