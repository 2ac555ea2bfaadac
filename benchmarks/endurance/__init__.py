"""Endurance: whether a worker keeps memory, files, sockets or threads after many requests of every kind."""
