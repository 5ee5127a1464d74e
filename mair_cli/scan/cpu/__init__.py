"""The scan on CPUs."""
