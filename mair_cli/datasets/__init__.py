"""Benchmark sets, pairs, and how inputs are made from them."""
