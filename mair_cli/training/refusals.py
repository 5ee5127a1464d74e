"""What msgspec says about a file that does not fit its structs, in the words of who wrote the file."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, get_args, get_origin

import msgspec

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
}


def explained(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> str:
    """One line that names the dotted key, such as "training.betas: 2 values are wanted, not 1".

    Args:
        error: what `msgspec.convert` raised: "Expected `array` of length 2, got 1 - at `$.training.betas`". Errors
            that a struct's own `__post_init__` raised have to begin with the name of a key.
        kind: what was converted to. Bounds need a description, `Meta(ge=1, description="counts are at least 1")`.
    """
    what, _, place = str(error).partition(" - at `$.")
    place = place.rstrip("`")
    key = re.sub(r"\[\d+\]", "", place)
    declared = _declared(kind, place)
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        text = _unknown(match[1], declared, key)
    elif match := re.fullmatch(r"Object missing required field `(.*)`", what):
        text = f"{match[1]!r} is missing" + (f" in [{key}]" if key else "")
    elif match := re.fullmatch(r"Expected `array` of length (\d+), got (\d+)", what):
        text = f"{key}: {match[1]} values are wanted, not {match[2]}"
    elif match := re.fullmatch(r"Expected `(\w+)`, got `(\w+)`", what):
        wanted, given = (_WORDS.get(word, word) for word in match.groups())
        text = f"{key}: {wanted} is wanted, not {given}"
    elif match := re.fullmatch(r"Invalid enum value (.*)", what):
        text = f"{key}: {match[1]} is not one of {', '.join(get_args(declared))}"
    elif what.startswith("Expected"):
        text = f"{key}: {declared.__metadata__[0].description}"
    else:
        text = f"{key}.{what}"
    return text


def _unknown(name: str, kind: Any, section: str) -> str:  # noqa: ANN401 - types have no common type
    known = [field.name for field in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
    return (f"{section}: " if section else "") + f"unknown key {name!r}{hint}"


def _declared(kind: Any, place: str) -> Any:  # noqa: ANN401
    """The type that `kind` declares for a place such as `training.stages[0][1]`."""
    for index, name in re.findall(r"\[(\d+)\]|(\w+)", place):
        inner = unannotated(kind)
        if name:
            kind = next(field.type for field in msgspec.structs.fields(inner) if field.name == name)
        else:
            kinds = get_args(inner)
            kind = kinds[0] if kinds[-1] is Ellipsis else kinds[int(index)]
    return kind


def unannotated(kind: Any) -> Any:  # noqa: ANN401
    """`kind` without its bounds."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
