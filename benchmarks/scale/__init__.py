"""What becomes of the gateway from one worker to a thousand instances, by simulation: ``python -m benchmarks.scale``.

Models (no I/O, no clock; the same seed gives the same figures): ``queues``, ``subsets``, ``balancing``, ``limiters``,
``overload``, ``vault``, ``pins``. What is asked of them, with which numbers: ``figures``. What makes a page of it:
``svg``, ``pages``.
"""
