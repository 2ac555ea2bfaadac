"""A photograph through the gateway to a real Triton, beside clients that decode it themselves."""
