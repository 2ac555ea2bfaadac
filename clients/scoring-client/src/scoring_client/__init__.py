"""A command-line client of the scoring gateway: files and folders in, labels out."""

__version__ = "0.1.0"
