"""KServe's own server behind Envoy as an ingress, which ends TLS and checks a bearer token."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.launch import free_port
from benchmarks.peers import environments
from devstack.authority import Issued

_FOLDER = Path(__file__).parent
_REQUIREMENTS = _FOLDER / "requirements.txt"
_PACKAGES = Path(__file__).parents[3] / ".devstack" / "kserve"
_START_SECONDS = 120.0

_CONFIGURATION = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - {{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: HTTP2
          route_config:
            virtual_hosts:
            - name: model
              domains: ["{host}", "{host}:*"]
              routes:
              - match:
                  prefix: /
                  headers: [{{name: authorization, string_match: {{exact: "Bearer {token}"}}}}]
                route: {{cluster: kserve}}
              - match: {{prefix: /}}
                direct_response: {{status: 401}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: kserve
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: kserve
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {service}}}}}}}
"""


@contextmanager
def running_kserve(folder: Path, issued: Issued, token: str, host: str) -> Iterator[tuple[int, int]]:
    """The ports of a running Envoy, which accepts the token for the host, and of the KServe behind it, without TLS."""
    (folder / "chain.pem").write_bytes(issued.chain)
    (folder / "key.pem").write_bytes(issued.key)
    http, service, port = free_port(), free_port(), free_port()
    values = {"port": port, "service": service, "token": token, "host": host}
    files = {name: folder / f"{name}.pem" for name in ("chain", "key")}
    (folder / "envoy.yaml").write_text(_CONFIGURATION.format(**values, **files))
    environment = {**os.environ, "PYTHONPATH": str(_packages())}
    kserve = [sys.executable, str(_FOLDER / "server.py"), str(http), str(service)]
    envoy = [str(environments.python("envoy").parent / "envoy"), "-c", str(folder / "envoy.yaml")]
    envoy += ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    with (folder / "log").open("wb") as log:
        processes = [subprocess.Popen(one, stdout=log, stderr=log, env=environment) for one in (kserve, envoy)]
        try:
            for process, number in zip(processes, (service, port), strict=True):
                _until_it_listens(process, number, folder / "log")
            yield port, service
        finally:
            for process in processes:
                process.kill()  # KServe waits for its connections, whose client is this process
                process.wait()


def _packages() -> Path:
    """The folder of the packages, which are installed where they are not there or others are required."""
    installed, wanted = _PACKAGES / _REQUIREMENTS.name, _REQUIREMENTS.read_bytes()
    if not installed.is_file() or installed.read_bytes() != wanted:
        shutil.rmtree(_PACKAGES, ignore_errors=True)
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
        target = ["--target", str(_PACKAGES), "--requirement", str(_REQUIREMENTS)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *target], check=True)
        installed.write_bytes(wanted)
    return _PACKAGES


def _until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.05)
        else:
            return
