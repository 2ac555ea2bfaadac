from tests.support.devstack.control_plane import certificate, control_files, control_process, plane

__all__ = ["certificate", "control_files", "control_process", "plane"]
