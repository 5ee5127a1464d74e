"""What shells offer after an option: a word's possible ends. Free of torch."""

from __future__ import annotations

from collections.abc import Callable


def models(incomplete: str) -> list[str]:
    """Names in the catalog, and auto."""
    from mair_cli.weights.catalog import MODELS

    return _starting(incomplete, "auto", *MODELS)


def methods(incomplete: str) -> list[str]:
    """What a benchmark can measure: models and classical baselines."""
    return [*models(incomplete), *_starting(incomplete, "bicubic", "nearest", "none", "nl-means")]


def one_of(*words: str) -> Callable[[str], list[str]]:
    """A function that offers `words`."""

    def complete(incomplete: str) -> list[str]:
        return _starting(incomplete, *words)

    return complete


def _starting(incomplete: str, *words: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
