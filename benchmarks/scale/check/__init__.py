"""The simulations beside the local stack, with the same parameters: ``python -m benchmarks.scale.check``.

Real gateways, each with one worker, before several inference services (``stack``): round robin (``in_turn``), admission
before a service that batches (``admission``), a split with a member that dies (``split``).
"""
