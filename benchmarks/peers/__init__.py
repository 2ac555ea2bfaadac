"""What the gateway is compared with, each set up as somebody who knows it would.

The Python ones run in virtual environments of their own, and import nothing of the project but :mod:`protos` and
:mod:`benchmarks.peers.forwarding`.
"""
