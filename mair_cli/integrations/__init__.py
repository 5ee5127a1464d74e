"""Our networks in other programs."""
