"""What stands on both sides of the gateway in its tests: a service that tells what reached it and when, and clients that
tell what came back and when. Every client verifies the gateway by the workshop's root alone."""

import argparse
import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ROOT = "/srv/root.pem"
OWN_WORDS = {
    "Strict-Transport-Security": "max-age=1",
    "X-Content-Type-Options": "of its own",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = {k: float(v[0]) for k, v in parse_qs(url.query).items()}
        if url.path == "/events":
            self.events(int(query["count"]), query["pause"])
        elif url.path == "/slow":
            time.sleep(query["seconds"])
            self.answer("at last")
        elif url.path == "/ws":
            self.echo()
        elif url.path == "/tunnel":
            self.tunnel()
        elif url.path == "/own-words":
            self.own_words()
        elif url.path == "/head":
            self.head(int(query["bytes"]))
        else:
            self.answer({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})

    def head(self, size):
        """An answer whose head, from the status to the empty line, is so many bytes: cookies, as single sign-on sets them."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        field = b"Set-Cookie: c=%s\r\n"
        left = size - len(head) - 2
        while left:
            line = left if left < 4000 else 3000
            head += field % (b"x" * (line - len(field) + 2))
            left -= line
        self.wfile.write(head + b"\r\nok")

    def tunnel(self):
        """Takes whatever upgrade is asked for, and tells what comes through it."""
        if "Upgrade" not in self.headers:
            return self.answer({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}})
        self.send_response(101)
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.write((json.dumps({k.lower(): v for k, v in self.headers.items()}) + "\n").encode())
        while line := self.rfile.readline():
            self.wfile.write(b"inside: " + line)
        self.close_connection = True

    def own_words(self):
        """A page that says itself how it is to be shown."""
        self.send_response(200)
        for name, value in OWN_WORDS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def events(self, count, pause):
        """So many events, each with the moment it was sent, in an answer that says nothing about buffering."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(count):
            event = f"data: {time.time()}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(pause)
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        """Tells how many bytes came, and for lines that are moments, the longest that one was on its way."""
        total, late = 0, 0.0
        for piece in self.pieces():
            total += len(piece)
            if piece.startswith(b"at "):
                late = max(late, time.time() - float(piece.split()[1]))
        self.answer({"bytes": total, "late": late})

    def pieces(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length", 0))
            while left:
                piece = self.rfile.read1(min(left, 65536))
                left -= len(piece)
                yield piece

    def echo(self):
        """RFC 6455, as much of it as short messages take."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while (message := receive(self.rfile)) is not None:
            self.wfile.write(frame(message.upper(), masked=False))
        self.close_connection = True


def frame(message, masked):
    mask = os.urandom(4) if masked else b""
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(message)) if masked else message
    return struct.pack("!BB", 0x81, len(message) | (0x80 if masked else 0)) + mask + body


def receive(stream):
    head = stream.read(2)
    if len(head) < 2 or head[0] & 15 == 8:
        return None
    mask = stream.read(4) if head[1] & 0x80 else b"\0" * 4
    return bytes(b ^ mask[i % 4] for i, b in enumerate(stream.read(head[1] & 0x7F)))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(a):
    server = Server(("0.0.0.0", a.port), Service)
    if a.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(a.cert + "/fullchain.pem", a.cert + "/key.pem")
        if a.mutual:
            context.load_verify_locations(ROOT)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def lines(a):
    """A service that speaks no HTTP: says hello, then every line back in capitals."""
    listener = socket.create_server(("0.0.0.0", a.port))

    def one(peer):
        with peer, peer.makefile("rwb", buffering=0) as stream:
            stream.write(b"hello\n")
            for line in stream:
                stream.write(line.upper())

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


def context():
    return ssl.create_default_context(cafile=ROOT)


def connect(name, timeout=30):
    return http.client.HTTPSConnection(name, 443, timeout=timeout, context=context())


def events(a):
    """The longest that an event was on its way, in seconds, and how many came."""
    c = connect(a.name)
    c.request("GET", f"/events?count={a.count}&pause={a.pause}")
    late, count = 0.0, 0
    with c.getresponse() as r:
        while line := r.readline():
            if line.startswith(b"data: "):
                late, count = max(late, time.time() - float(line[6:])), count + 1
    print(json.dumps({"late": late, "count": count}))


def upload(a):
    def body():
        for _ in range(a.count):
            yield b"at %f\n" % time.time()
            time.sleep(a.pause)

    c = connect(a.name)
    c.request("POST", "/", body=body(), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    print(c.getresponse().read().decode())


def websocket(a):
    with context().wrap_socket(socket.create_connection((a.name, 443), 30), server_hostname=a.name) as s:
        s.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {a.name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        stream = s.makefile("rb")
        print(stream.readline().decode().strip())
        while (line := stream.readline().strip()) and line:
            pass
        for _ in range(a.count):
            s.sendall(frame(b"hello", masked=True))
            print(receive(stream).decode())
            time.sleep(a.pause)


def raw(a):
    """Lines as they are given, and what comes back within two seconds; `--inner` lines follow once the head is there."""
    with context().wrap_socket(socket.create_connection((a.name, 443), 30), server_hostname=a.name) as s:
        s.sendall("".join(line + "\r\n" for line in [*a.line, ""]).encode())
        s.settimeout(2)
        text = b""
        try:
            while piece := s.recv(65536):
                text += piece
                if b"\r\n\r\n" in text and a.inner:
                    s.sendall("".join(line + "\r\n" for line in a.inner).encode())
                    a.inner = []
        except (TimeoutError, ConnectionResetError):
            pass
        print(text.decode(errors="replace"))


def hammer(a):
    """Requests until the file `a.until` is there, on connections that stay and on new ones. A request on a connection
    that stayed, closed without a byte of an answer, is sent once more (RFC 9112, 9.3.1), as every client does."""
    told = {"kept": 0, "fresh": 0, "again": 0, "failed": [], "certificates": []}
    lock = threading.Lock()

    def note(key, value=None):
        with lock:
            if value is None:
                told[key] += 1
            elif value not in told[key]:
                told[key].append(value)

    def ask(c):
        c.request("GET", "/some/path")
        r = c.getresponse()
        r.read()
        if r.status != 200:
            raise RuntimeError(f"status {r.status}")

    def kept():
        c, used = connect(a.name), False
        while not os.path.exists(a.until):
            try:
                ask(c)
                used = True
                note("kept")
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as e:
                note("again") if used else note("failed", f"kept: {e!r}")
                c, used = connect(a.name), False
            except Exception as e:
                note("failed", f"kept: {e!r}")
                c, used = connect(a.name), False

    def fresh():
        while not os.path.exists(a.until):
            c = connect(a.name)
            try:
                c.connect()
                note("certificates", hashlib.sha256(c.sock.getpeercert(True)).hexdigest())
                ask(c)
                note("fresh")
            except Exception as e:
                note("failed", f"fresh: {e!r}")
            finally:
                c.close()

    threads = [threading.Thread(target=work) for work in (kept, kept, fresh, fresh)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    print(json.dumps(told))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what")
    p.add_argument("name", nargs="?")
    p.add_argument("--port", type=int)
    p.add_argument("--cert")
    p.add_argument("--mutual", action="store_true")
    p.add_argument("--count", type=int, default=1)
    p.add_argument("--pause", type=float, default=0)
    p.add_argument("--until")
    p.add_argument("--line", action="append", default=[])
    p.add_argument("--inner", action="append", default=[])
    a = p.parse_args()
    {f.__name__: f for f in (serve, lines, events, upload, websocket, raw, hammer)}[a.what](a)


sys.exit(main())
