"""The FPGA inference service, its data plane: TensorFlow Serving's gRPC API over TLS, with keys."""

from devstack.fpga.access import KeyRing, Keys
from devstack.fpga.engines import Engine, ModelEngine, SimulatedEngine
from devstack.fpga.faults import Faults, FaultSwitch
from devstack.fpga.identity import Identity, KeyPair
from devstack.fpga.recorder import Call, Recorder
from devstack.fpga.requests import Model
from devstack.fpga.service import Endpoint, PortInUseError, Service

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
    "PortInUseError",
    "Recorder",
    "Service",
    "SimulatedEngine",
]
