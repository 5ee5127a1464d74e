"""Images and data sets: reading, writing, degrading."""
