"""The gateway from one worker to a thousand instances, by simulation: ``python -m benchmarks.scale``.

Models (no I/O, no clock; the same seed gives the same figures): ``queues``, ``subsets``, ``balancing``, ``limiters``,
``overload``, ``vault``, ``pins``. The questions, with their numbers: ``figures``. Their tables and charts: ``pages``.
"""
