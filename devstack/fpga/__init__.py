"""The data plane of the FPGA inference service: over TLS, with keys.

It speaks TensorFlow Serving's gRPC API and the Open Inference Protocol.
"""

from devstack.fpga.access import KeyRing
from devstack.fpga.engines import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.faults import Faults, FaultSwitch
from devstack.fpga.identity import Identity, KeyPair
from devstack.fpga.recorder import Call, Recorder
from devstack.fpga.requests import Model
from devstack.fpga.service import Endpoint, Service
from devstack.keys import Keys

__all__ = [
    "Call",
    "Endpoint",
    "Engine",
    "FaultSwitch",
    "Faults",
    "Identity",
    "KeyPair",
    "KeyRing",
    "Keys",
    "Model",
    "ModelEngine",
    "Recorder",
    "Service",
    "SimulatedEngine",
]
