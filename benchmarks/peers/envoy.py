"""Envoy's configuration: as a transcoder from JSON to gRPC, or as a plain proxy for gRPC.

One worker thread; TLS to the inference service with its authority pinned, the key added to each request; no access log
and no statistics that a deployment would not have. The transcoder maps ``POST /package.Service/Method`` by itself
(``auto_mapping``), with bytes as base64; its buffers hold the largest body of the benchmark. Reference:
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/grpc_json_transcoder_filter.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.harness.paths import ROOT

SERVICE = "tensorflow.serving.PredictionService"
READY = "/ready"

_BUFFER = 32 * 1024 * 1024

_TRANSCODER = """\
          - name: envoy.filters.http.grpc_json_transcoder
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder
              proto_descriptor: {descriptors}
              services: [{service}]
              auto_mapping: true
              max_request_body_size: {buffer}
              max_response_body_size: {buffer}
"""

_CONFIGURATION = """\
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    per_connection_buffer_limit_bytes: {buffer}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: {codec}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{path: {ready}}}
                direct_response: {{status: 200}}
              - match: {{prefix: /}}
                route: {{cluster: fpga, timeout: 60s}}
                request_headers_to_add:
                - header: {{key: authorization, value: "{key}"}}
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD
          http_filters:
{transcoder}\
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: fpga
    type: STATIC
    connect_timeout: 5s
    per_connection_buffer_limit_bytes: {buffer}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: fpga
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {service_port}}}}}}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          alpn_protocols: [h2]
          validation_context:
            trusted_ca: {{filename: {roots}}}
            match_typed_subject_alt_names:
            - {{san_type: DNS, matcher: {{exact: localhost}}}}
            - {{san_type: IP_ADDRESS, matcher: {{exact: {host}}}}}
"""


def write(folder: Path, port: int, address: str, key: str, roots: Path, *, transcode: bool) -> Path:
    """Write the configuration, and the service's description for the transcoder, into a folder; returns its file."""
    descriptors, filter_ = folder / "descriptors.pb", ""
    if transcode:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", "--include_imports"]
        command += [f"--descriptor_set_out={descriptors}", str(ROOT / "protos" / "serving.proto")]
        subprocess.run(command, check=True)  # noqa: S603 - the project's own protos, by the compiler of its environment
        filter_ = _TRANSCODER.format(descriptors=descriptors, service=SERVICE, buffer=_BUFFER)
    host, _, service_port = address.rpartition(":")
    file = folder / ("transcoder.yaml" if transcode else "proxy.yaml")
    values = {"port": port, "host": host, "service_port": service_port, "key": key, "roots": roots}
    codec = "HTTP1" if transcode else "HTTP2"
    file.write_text(_CONFIGURATION.format(**values, codec=codec, transcoder=filter_, ready=READY, buffer=_BUFFER))
    return file
