"""Scoring of streams and files, and measures on labelled rows."""
