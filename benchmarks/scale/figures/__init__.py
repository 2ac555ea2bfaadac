"""The questions that are asked of the models, with which numbers, and their answers as tables and charts."""
