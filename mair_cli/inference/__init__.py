"""The inference form of a network on a CPU: made once from a trained network, run often, without gradients."""
