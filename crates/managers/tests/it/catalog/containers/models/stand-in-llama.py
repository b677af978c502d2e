#!/usr/bin/python3
# Stands in for llama-server: knows the options that it is started with and no others, reads its model as a whole, takes a moment to load,
# and answers what the API of OpenAI's clients asks. `--stand-in-mute` has it answer without a token, `--stand-in-dead` end at once.
import argparse
import hashlib
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

options = argparse.ArgumentParser(prog="llama-server")
for name in ("--model", "--alias", "--host", "--cache-type-k", "--cache-type-v"):
    options.add_argument(name, required=True)
for name in ("--port", "--ctx-size", "--parallel", "--threads", "--n-gpu-layers"):
    options.add_argument(name, type=int, required=True)
options.add_argument("--api-key-file")
for name in ("--no-slots", "--no-webui", "--embeddings", "--stand-in-mute", "--stand-in-dead"):
    options.add_argument(name, action="store_true")
given = options.parse_args()
if given.stand_in_dead:
    raise SystemExit("the stand-in ends at once")
keys = open(given.api_key_file, encoding="utf-8").read().split() if given.api_key_file else []
loaded = {}


def load():
    with open(given.model, "rb") as file:
        weights = file.read()
    assert weights[:4] == b"GGUF"
    time.sleep(0.5)
    loaded["sum"] = hashlib.sha256(weights).hexdigest()


class Answer(BaseHTTPRequestHandler):
    def say(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/health":
            return self.say(200 if loaded else 503, {"status": "ok" if loaded else "loading model"})
        self.say(200, {**vars(given), **loaded, "user": os.getuid()} if self.path == "/stand-in" else {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if keys and self.headers.get("Authorization", "").removeprefix("Bearer ") not in keys:
            return self.say(401, {"error": {"message": "Invalid API Key"}})
        if not loaded:
            return self.say(503, {"error": {"message": "Loading model"}})
        if self.path == "/v1/embeddings" and given.embeddings:
            return self.say(200, {"data": [{"embedding": [0.5, 0.25]}]})
        tokens = 0 if given.stand_in_mute else asked.get("max_tokens", 8)
        self.say(200, {"choices": [{"text": "x" * tokens}], "usage": {"completion_tokens": tokens}})

    def log_message(self, *_):
        pass


threading.Thread(target=load, daemon=True).start()
ThreadingHTTPServer((given.host, given.port), Answer).serve_forever()
