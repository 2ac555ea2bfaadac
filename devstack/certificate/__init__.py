"""``python -m devstack certificate``: show, renew or let expire the FPGA service's certificate of a running stack."""

from devstack.certificate.options import DESCRIPTION, HELP, add_options, main

__all__ = ["DESCRIPTION", "HELP", "add_options", "main"]
