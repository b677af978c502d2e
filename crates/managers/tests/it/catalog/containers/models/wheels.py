# Makes packages of Python that stand in for vLLM and Open WebUI, in /opt/wheels: their programs know the options that they are started with
# and no others, and answer what is asked of them.
import os
import zipfile

PROGRAM = '''
import argparse, json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def main():
    name = os.path.basename(sys.argv[0])
    options = argparse.ArgumentParser(prog=name)
    options.add_argument("verb", choices=["serve"])
    if name == "vllm":
        options.add_argument("model")
        for word in ("served-model-name", "dtype", "kv-cache-dtype", "gpu-memory-utilization"):
            options.add_argument("--" + word)
        for word in ("max-model-len", "max-num-seqs", "tensor-parallel-size"):
            options.add_argument("--" + word, type=int)
    options.add_argument("--host", required=True)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    if name == "vllm":
        assert json.load(open(given.model + "/config.json")) == {}
    key = os.environ.get("VLLM_API_KEY")

    class Answer(BaseHTTPRequestHandler):
        def say(self, status, body):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def do_GET(self):
            known = {k: v for k, v in os.environ.items() if k.isupper()}
            self.say(200, {**vars(given), "version": VERSION, "environment": known} if self.path == "/stand-in" else {})

        def do_POST(self):
            if key and self.headers.get("Authorization") != "Bearer " + key:
                return self.say(401, {"error": "Unauthorized"})
            self.say(200, {"choices": [{"text": "x"}], "usage": {"completion_tokens": 1}})

        def log_message(self, *_):
            pass

    ThreadingHTTPServer((given.host, given.port), Answer).serve_forever()
'''

os.makedirs("/opt/wheels", exist_ok=True)
for name, module in (("vllm", "vllm"), ("open-webui", "open_webui")):
    for version in ("1.0", "2.0"):
        folder = f"{module}-{version}.dist-info"
        with zipfile.ZipFile(f"/opt/wheels/{module}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{module}.py", PROGRAM.replace("VERSION", repr(version)))
            wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{folder}/entry_points.txt", f"[console_scripts]\n{name} = {module}:main\n")
            wheel.writestr(f"{folder}/RECORD", "")
# Nothing is asked of an index.
with open("/etc/pip.conf", "w", encoding="utf-8") as config:
    config.write("[global]\nno-index = true\nfind-links = /opt/wheels\n")
