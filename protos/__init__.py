"""The wire formats of the inference service: .proto files and the Python code generated from them."""
