"""Machine: devices, precision, memory."""
