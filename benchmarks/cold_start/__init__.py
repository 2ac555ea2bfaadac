"""The cold start: from the start of a process to the first scored answer."""
