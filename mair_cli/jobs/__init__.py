"""Folder in, folder out: naming, plan, batch."""
