"""Benchmarks of the gateway: a folder for each subject, and :mod:`benchmarks.harness` for what they share.

``python -m benchmarks`` measures what docs/performance.md shows. Commands of their own: ``native.breakdown``,
``protocol_endpoints``, ``photographs.memory``, ``photographs.scores``, ``endurance``,
``endurance.hour`` (docs/endurance.md), ``scale``, ``telemetry``.
"""
