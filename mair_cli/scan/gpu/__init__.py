"""The scan on CUDA GPUs."""
