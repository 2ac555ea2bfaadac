"""Rotation of certificates and keys: observe, decide one step, act, and run that over all services.

A rotation is a reconciler: each run observes the state of the world, decides the next step without I/O, takes it, and
may die anywhere. Slow to import, for the SDKs that it uses: import its modules late.
"""
