"""The client of the service's REST control plane (Azure Machine Learning's Model Management API).

Imports nothing of the gateway but its errors and what they are made with. Slow to import, for the SDK that it is built
on: import its modules late, and call them in a thread.
"""
