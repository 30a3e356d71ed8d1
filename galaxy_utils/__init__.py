"""Helpers for a book that teaches deep learning on galaxies. See the README for the first three lines."""

__version__ = "0.1.0"
