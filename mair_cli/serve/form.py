"""What a request asks for: the fields of a form or of an address, checked. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mair_cli.errors import UsageError
from mair_cli.images.io import writable_format
from mair_cli.restore.settings import AlphaChoice, RunSettings, check_alpha, parse_setting
from mair_cli.tasks import find_task


@dataclass(frozen=True)
class RestoreForm:
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


def read_form(fields: Mapping[str, str], machine: RunSettings) -> RestoreForm:
    """From the fields of a request; an empty one counts as left out.

    Args:
        fields: by the names of `FIELDS`, as text.
        machine: the settings that whoever started the server has chosen, such as the device.

    Raises:
        UsageError: an unknown field, a value out of range, or a combination that says nothing.
    """
    given = {name: text.strip() for name, text in fields.items() if text.strip()}
    for name in given:
        if name not in FIELDS:
            raise UsageError(f"There is no field {name!r}: there are {', '.join(FIELDS)}.")
    values = {name: parse_setting(name, given[name]) for name in _SETTINGS if name in given}
    task = find_task(str(values.setdefault("task", "sr")))
    if task.inputs == "noisy":
        values.setdefault("sigma", "auto")
    form = given.get("format")
    return RestoreForm(
        machine.with_(**values),
        None if form is None else writable_format(form),
        _quality(given.get("quality")),
        check_alpha(given.get("alpha", "model")),
    )


def _quality(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise UsageError(f"`quality` {text}: give 1 to 100.")
    return int(text)


_SETTINGS: Final = ("task", "scale", "size", "sigma", "jpeg", "scene", "model", "ensemble")
"""What a request may set of `RunSettings`; all else is the machine's."""
FIELDS: Final = (*_SETTINGS, "format", "quality", "alpha")
"""Fields of a request."""
