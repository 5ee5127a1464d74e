"""Metrics and the published protocols; needs no network."""
