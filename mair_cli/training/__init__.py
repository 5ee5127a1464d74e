"""Training: recipes, data order, optimisation, checkpoints."""
