# Serves the folder /srv/up on a port, as a bad line does: each answer is cut off after 200,000 bytes, and the next may begin there. Who
# asks for /guarded/ needs a token. What was asked is in /srv/asked.
import http.server
import re
import sys

MOST = 200_000


class Up(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open("/srv/asked", "a", encoding="utf-8") as asked:
            print(self.path, self.headers.get("Range", "-"), file=asked)
        if self.path.startswith("/guarded/") and self.headers.get("Authorization") != "Bearer TOKEN":
            return self.send_error(401)
        try:
            with open("/srv/up/" + self.path.rsplit("/", 1)[1], "rb") as file:
                whole = file.read()
        except OSError:
            return self.send_error(404)
        begin = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(begin[1]) if begin else 0
        if begin and begin >= len(whole):
            return self.send_error(416)
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - begin))
        self.end_headers()
        self.wfile.write(whole[begin : begin + MOST])
        self.close_connection = True

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Up).serve_forever()
