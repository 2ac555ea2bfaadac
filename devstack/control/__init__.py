"""A local control plane: the Model Management REST API, and the FPGA services that it starts, changes and stops."""

from devstack.control.store import ControlStore

__all__ = ["ControlStore"]
