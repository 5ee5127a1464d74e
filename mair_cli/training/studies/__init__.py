"""Studies around training: ablations, pictures of orders, contamination."""
