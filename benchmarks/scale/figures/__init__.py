"""The questions to the models, with their numbers, and the answers as tables and charts."""
