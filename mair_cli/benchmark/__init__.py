"""Measuring: metrics, benchmark protocol, reports."""
