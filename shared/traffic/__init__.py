"""A service that spreads its requests over others: ``decide.py`` decides, ``split.py`` asks and waits."""
