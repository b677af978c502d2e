"""An assistant that says what it is told, word by word, as language models do."""

import http.server
import json
import os
import ssl
import threading
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == "/health":
            self.answer(200, {"well": True})
        elif url.path == "/stream":
            self.stream(int(query.get("words", ["20"])[0]), float(query.get("pause", ["0.2"])[0]))
        else:
            self.answer(404, {"error": "there is no such page"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer(200, {"bytes": len(body)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, words, pause):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(words):
            event = f"data: word {number} at {time.time():.3f}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


def serve(port):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])
    server = http.server.ThreadingHTTPServer(("", port), Handler)
    # Each connection shakes hands in its own thread: one that stalls must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


port = int(os.environ.get("PORT", "8000"))
threading.Thread(target=serve, args=(port + 1,), daemon=True).start()
serve(port)
