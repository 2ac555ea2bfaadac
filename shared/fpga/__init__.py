"""The inference service's client side: TLS gRPC channels and calls. Knows nothing of images."""

import os

# gRPC's C core writes every failed handshake to stderr, with the service's address; the causes are told in errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
