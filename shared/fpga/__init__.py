"""The inference service's client side: TLS gRPC channels and calls. Knows nothing of images."""
