"""Over HTTP: the gateway compared with direct gRPC calls, Envoy, FastAPI, LitServe, BentoML and a naive function."""
