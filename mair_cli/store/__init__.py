"""Files that outlive a run: places, atomic writing, locks, downloads."""
