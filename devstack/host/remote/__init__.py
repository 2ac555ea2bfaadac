"""The app in a process of its own, as in Azure: started, fed over gRPC, and started again when it ends."""

from devstack.host.remote.worker import RemoteWorker

__all__ = ["RemoteWorker"]
