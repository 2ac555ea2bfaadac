"""A collector that accepts, refuses or ignores exports, by the path: ``python -m benchmarks.telemetry.collector``."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HEALTHY, REFUSING, HANGING = "/healthy", "/refusing", "/hanging"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith(HANGING):
            threading.Event().wait(60)
        self.send_response(503 if self.path.startswith(REFUSING) else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until SIGTERM."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    print(f"ready http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
