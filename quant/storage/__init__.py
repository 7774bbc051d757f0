"""Checkpoint files: safe reading, whole writing, the packed form, and what a file without metadata holds."""
