"""Readers of files and folders, a module for each format; `ganvas.data.sources` chooses one by content."""
