#!/usr/bin/python3
# Stands in for Ollama: `serve`, with the settings of its environment, and the four calls of its API that are used. What a name stands for is
# in /srv/library, a line each: a name and a digest.
import json
import os
import pathlib
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

assert sys.argv[1:] == ["serve"], sys.argv
there = pathlib.Path(os.environ["OLLAMA_MODELS"], "stand-in.json")


def known():
    return json.loads(there.read_text(encoding="utf-8")) if there.exists() else {}


class Answer(BaseHTTPRequestHandler):
    def say(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode() + b"\n")

    def asked(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        if self.path == "/stand-in":
            return self.say(200, {key: value for key, value in os.environ.items() if key.startswith("OLLAMA_")})
        self.say(200, {"models": [{"name": name, "digest": digest} for name, digest in known().items()]})

    def do_DELETE(self):
        models = known()
        del models[self.asked()["model"]]
        there.write_text(json.dumps(models), encoding="utf-8")
        self.say(200, {})

    def do_POST(self):
        asked = self.asked()
        if self.path == "/v1/completions":
            if asked["model"] not in known():
                return self.say(404, {"error": {"message": "model not found"}})
            return self.say(200, {"choices": [{"text": "x"}], "usage": {"completion_tokens": 1}})
        library = dict(line.split() for line in open("/srv/library", encoding="utf-8"))
        self.say(200, {"status": "pulling manifest"})
        time.sleep(0.2)
        if asked["model"] not in library:
            return self.wfile.write(b'{"error": "pull model manifest: file does not exist"}\n')
        there.write_text(json.dumps(known() | {asked["model"]: library[asked["model"]]}), encoding="utf-8")
        self.wfile.write(b'{"status": "success"}\n')

    def log_message(self, *_):
        pass


host, port = os.environ["OLLAMA_HOST"].rsplit(":", 1)
ThreadingHTTPServer((host, int(port)), Answer).serve_forever()
