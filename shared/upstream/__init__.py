"""One inference service over gRPC: channels, calls, retries and admission. Contains no knowledge of images."""

import os

# gRPC's C core writes every failed handshake to stderr, with the service's address; errors name the causes instead.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
