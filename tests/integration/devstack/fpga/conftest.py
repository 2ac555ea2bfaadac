from tests.support.devstack.fpga import connect

__all__ = ["connect"]
