"""Tensor operations: scan orders and the selective scan, one module per back end."""
