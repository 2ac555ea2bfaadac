"""``python -m devstack certificate``: watch a certificate's rotation happen on a running stack, and provoke one."""

from devstack.certificate.options import DESCRIPTION, HELP, add_options, main

__all__ = ["DESCRIPTION", "HELP", "add_options", "main"]
