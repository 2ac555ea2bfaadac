"""Golden photographs: whether a service makes of known photographs what its model was trained to make of them.

``expected`` reads the folder, ``compare`` and ``causes`` decide, ``check`` calls the service, and ``watch`` does that
in the background, for the service's health.
"""
