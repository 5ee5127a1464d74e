"""The local page and its HTTP interface: pictures in, restored pictures out."""
