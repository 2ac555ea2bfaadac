"""The systems that the gateway is compared with, each set up as its experienced users would.

The Python ones run in virtual environments of their own, and import nothing of the project but :mod:`protos` and
:mod:`benchmarks.peers.forwarding`.
"""
