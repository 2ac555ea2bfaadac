"""What the benchmarks share: processes, processor time, load generation, repetition under noise, tables, plots.

It imports nothing of the subjects (the other folders).
"""
