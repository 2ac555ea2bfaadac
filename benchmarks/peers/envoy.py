"""Envoy's configuration: as a transcoder from JSON to gRPC, and as a plain proxy for gRPC.

One worker thread; TLS to the FPGA service with its authority pinned, the key added to each request; no access log and
no statistics that a deployment would not have. The transcoder maps ``POST /package.Service/Method`` by itself
(``auto_mapping``), with bytes as base64; its buffers hold the largest body of the benchmark. Reference:
https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/grpc_json_transcoder_filter.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack.generate_protos import ROOT

SERVICE = "tensorflow.serving.PredictionService"
PREDICT = f"/{SERVICE}/Predict"
READY = "/ready"

_TYPES = "type.googleapis.com/envoy.extensions"
_BUFFER = 32 * 1024 * 1024


def write_transcoder(folder: Path, port: int, fpga: str, key: str, roots: Path) -> Path:
    """Write the transcoder's configuration, and what it needs, into a folder; returns the configuration's file."""
    descriptors = folder / "descriptors.pb"
    _describe(descriptors)
    transcoder = {
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
            "proto_descriptor": str(descriptors),
            "services": [SERVICE],
            "auto_mapping": True,
            "max_request_body_size": _BUFFER,
            "max_response_body_size": _BUFFER,
        },
    }
    return _write(folder / "transcoder.json", _bootstrap(port, fpga, key, roots, codec="HTTP1", filters=[transcoder]))


def write_proxy(folder: Path, port: int, fpga: str, key: str, roots: Path) -> Path:
    """Write the configuration of a proxy for gRPC without TLS towards its clients; returns its file."""
    return _write(folder / "proxy.json", _bootstrap(port, fpga, key, roots, codec="HTTP2", filters=[]))


def _write(file: Path, configuration: Mapping[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(configuration, indent=1))
    return file


def _describe(file: Path) -> None:
    """Compile the service's description, with all that it imports."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", "--include_imports"]
    subprocess.run(  # noqa: S603 - the project's own protos, by the compiler of its own environment
        [*command, f"--descriptor_set_out={file}", str(ROOT / "protos" / "serving.proto")], check=True
    )


def _bootstrap(
    port: int, fpga: str, key: str, roots: Path, *, codec: str, filters: list[Mapping[str, Any]]
) -> Mapping[str, Any]:
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "front",
                    "address": _address("127.0.0.1", port),
                    "per_connection_buffer_limit_bytes": _BUFFER,
                    "filter_chains": [{"filters": [_connections(key, codec, filters)]}],
                }
            ],
            "clusters": [_cluster(fpga, roots)],
        }
    }


def _connections(key: str, codec: str, filters: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    routes = [
        {"match": {"path": READY}, "direct_response": {"status": 200}},
        {
            "match": {"prefix": "/"},
            "route": {"cluster": "fpga", "timeout": "60s"},
            "request_headers_to_add": [
                {
                    "header": {"key": "authorization", "value": key},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
        },
    ]
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "front",
            "codec_type": codec,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [*filters, router],
        },
    }


def _cluster(fpga: str, roots: Path) -> Mapping[str, Any]:
    host, _, port = fpga.rpartition(":")
    return {
        "name": "fpga",
        "type": "STATIC",
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": _BUFFER,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "fpga",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, int(port))}}]}],
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "localhost",
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "validation_context": {
                        "trusted_ca": {"filename": str(roots)},
                        "match_typed_subject_alt_names": [
                            {"san_type": "DNS", "matcher": {"exact": "localhost"}},
                            {"san_type": "IP_ADDRESS", "matcher": {"exact": host}},
                        ],
                    },
                },
            },
        },
    }


def _address(host: str, port: int) -> Mapping[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
