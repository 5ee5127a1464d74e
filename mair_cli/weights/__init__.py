"""Checkpoints: the catalog, safe loading, fetching."""
