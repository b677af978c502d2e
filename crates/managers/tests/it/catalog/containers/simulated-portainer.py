"""A simulation of Portainer's server and agent, for tests where their images cannot be had.

It takes the options that Portainer 2.23 takes here and refuses others, and answers as recordings of a real one say, the dangers included:
it locks itself where nobody becomes its administrator, bans who enters too often, uses up a number for each failure, forgets
its sessions at each start, and changes nothing more until its next start once `/data/stuck` is there.
"""

import hashlib, http.server, io, json, os, secrets, signal, ssl, sys, tarfile, threading, time, urllib.request

DB = "/data/portainer.db"


def serve(handler, port, cert, key):
    server = http.server.ThreadingHTTPServer(("", port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=None, headers=()):
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Agent(Quiet):
    def do_GET(self):
        if self.path == "/ping":
            return self.answer(204)
        # A real one checks a signature; what counts here is that both have been given the same secret.
        self.answer(200 if self.headers.get("X-Secret") == os.environ.get("AGENT_SECRET") else 403, {})


class Refused(Exception):
    def __init__(self, status, message, details=None):
        self.status, self.message, self.details = status, message, details or message


class State:
    def __init__(self, password):
        self.began, self.sessions, self.logins, self.banned, self.last = time.time(), {}, [], False, 0
        self.lock = threading.Lock()
        if os.path.exists(DB):
            self.kept = json.load(open(DB))
        else:
            self.kept = {"admin": None, "keys": [], "endpoints": [], "tags": [], "numbers": {}}
            if password is not None:
                self.kept["admin"] = digest(password)
                self.add_endpoint("primary", "unix:///var/run/docker.sock", 1, "", [])
        self.write()

    def number(self, of):
        self.kept["numbers"][of] = self.kept["numbers"].get(of, 0) + 1
        return self.kept["numbers"][of]

    def add_endpoint(self, name, url, kind, public, tags):
        one = {"Id": self.number("endpoints"), "Name": name, "URL": url, "Type": kind, "PublicURL": public, "TagIds": tags, "Status": 1}
        self.kept["endpoints"].append(one)
        return one

    def write(self):
        # Like the real one's, it is open: whoever removes it changes nothing until the next start.
        if not hasattr(self, "file"):
            self.file = open(DB, "a+")
        self.file.seek(0)
        self.file.truncate()
        json.dump(self.kept, self.file)
        self.file.flush()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def find(all, id, key="Id"):
    for one in all:
        if str(one[key]) == str(id):
            return one
    raise Refused(404, "Unable to find an object with the specified identifier inside the database", "Object not found inside the database")


class Server(Quiet):
    state = None
    timeout_after = 300

    def do(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.state.lock:
            try:
                if self.state.kept["admin"] is None and time.time() - self.state.began > self.timeout_after and path not in ("/api/status", "/api/settings/public"):
                    return self.answer(303, {"message": "Administrator initialization timeout"}, [("Redirect-Reason", "AdminInitTimeout")])
                if self.headers.get("Cookie") and self.command != "GET":
                    return self.answer(403, b"Forbidden - CSRF token not found in request\n")
                status, answer = self.route(path, body)
                self.state.write()
                self.answer(status, answer, [("X-Csrf-Token", "")])
            except Refused as refused:
                self.state.write()
                self.answer(refused.status, {"message": refused.message, "details": refused.details})

    do_GET = do_POST = do_PUT = do_DELETE = do

    def json(self, body):
        try:
            return {key.lower(): value for key, value in json.loads(body).items()}
        except ValueError:
            raise Refused(400, "Invalid request payload", "EOF")

    def limited(self):
        now = time.time()
        self.state.logins = [at for at in self.state.logins if now - at < 1] + [now]
        if self.state.banned or len(self.state.logins) > 10:
            self.state.banned = True
            raise Refused(403, "Access denied", "Access denied to resource")

    def who(self):
        key, bearer = self.headers.get("X-API-Key"), self.headers.get("Authorization", "")
        if key and bearer:
            raise Refused(403, "Api key and auth header are not allowed at the same time")
        if key:
            if any(one["digest"] == digest(key) for one in self.state.kept["keys"]):
                return "key"
            raise Refused(401, "Invalid JWT token")
        if not bearer:
            raise Refused(401, "A valid authorization token is missing")
        if self.state.sessions.get(bearer.removeprefix("Bearer ")) == self.state.kept["admin"]:
            return "session"
        raise Refused(401, "Invalid JWT token")

    def route(self, path, body):
        state, kept, how = self.state, self.state.kept, self.command
        part = path.strip("/").split("/")
        if path in ("/api/status", "/api/system/status"):
            return 200, {"Version": "of the simulation", "InstanceID": "0"}
        if path == "/api/users/admin/check":
            return (204, None) if kept["admin"] else (404, {"message": "No administrator account found inside the database"})
        if (how, path) == ("POST", "/api/auth"):
            self.limited()
            said = self.json(body)
            if said.get("username") != "admin" or digest(said.get("password", "")) != kept["admin"]:
                raise Refused(422, "Invalid credentials", "Unauthorized")
            token = secrets.token_hex(16)
            state.sessions[token] = kept["admin"]
            return 200, {"jwt": token}
        way = self.who()
        # After some panics, until it is started anew; a real one answers after a minute.
        if how != "GET" and os.path.exists("/data/stuck"):
            raise Refused(408, "Timeout waiting for the offline gate to signal")
        if path == "/api/users/me":
            return 200, {"Id": 1, "Username": "admin", "Role": 1}
        if part[:3] == ["api", "users", "1"] and part[3:] == ["passwd"] and how == "PUT":
            self.limited()
            said = self.json(body)
            if digest(said["password"]) != kept["admin"]:
                raise Refused(403, "Current password doesn't match")
            if len(said["newpassword"]) < 12:
                raise Refused(400, "Password does not meet the requirements")
            kept["admin"] = digest(said["newpassword"])
            return 204, None
        if part[:4] == ["api", "users", "1", "tokens"]:
            if how == "GET":
                return 200, [{"id": one["id"], "description": one["description"]} for one in kept["keys"]]
            if how == "DELETE":
                if not any(str(one["id"]) == part[4] for one in kept["keys"]):
                    raise Refused(500, "API Key not found")
                kept["keys"] = [one for one in kept["keys"] if str(one["id"]) != part[4]]
                return 204, None
            self.limited()
            said = self.json(body)
            if way == "key":
                raise Refused(401, "Auth not supported")
            if digest(said.get("password", "")) != kept["admin"]:
                raise Refused(403, "Current password doesn't match")
            raw = "ptr_" + secrets.token_urlsafe(24)
            one = {"id": state.number("keys"), "description": said["description"], "digest": digest(raw)}
            kept["keys"].append(one)
            return 201, {"rawAPIKey": raw, "apiKey": {"id": one["id"]}}
        if part[:2] == ["api", "tags"]:
            if how == "GET":
                return 200, kept["tags"]
            name = self.json(body)["name"]
            if any(one["Name"] == name for one in kept["tags"]):
                raise Refused(409, "This name is already associated to a tag")
            one = {"ID": state.number("tags"), "Name": name}
            kept["tags"].append(one)
            return 200, one
        if part[:2] == ["api", "endpoints"]:
            return self.endpoints(how, part[2:], body)
        if (how, path) == ("POST", "/api/backup"):
            self.json(body)
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                info = archive.gettarinfo(DB)
                info.name = "/portainer.db"
                archive.addfile(info, open(DB, "rb"))
            return 200, file.getvalue()
        raise Refused(404, "page not found")

    def endpoints(self, how, part, body):
        state, all = self.state, self.state.kept["endpoints"]
        if not part and how == "GET":
            return 200, all
        if not part:
            if not self.headers.get("Content-Type", "").startswith("multipart/form-data"):
                raise Refused(400, "Invalid environment name")
            said = form(self.headers["Content-Type"], body)
            name, url = said["Name"], said.get("URL", "unix:///var/run/docker.sock")
            if any(one["Name"] == name for one in all):
                raise Refused(409, "Name is not unique")
            one = state.add_endpoint(name, url, int(said["EndpointCreationType"]), said.get("PublicURL", ""), json.loads(said.get("TagIds", "[]")))
            if one["Type"] == 2 and not (said.get("TLS") == "true" and reaches(url)):
                all.remove(one)
                raise Refused(500, "Unable to initiate communications with environment")
            return 200, one
        one = find(all, part[0])
        if how == "DELETE":
            all.remove(one)
            return 204, None
        for key, value in self.json(body).items():
            known = {"name": "Name", "url": "URL", "publicurl": "PublicURL", "tagids": "TagIds"}.get(key)
            if known:
                one[known] = value
        return 200, one


def form(kind, body):
    boundary = kind.split("boundary=")[1].encode()
    fields = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        fields[head.split(b'name="')[1].split(b'"')[0].decode()] = value[:-2].decode()
    return fields


def reaches(url):
    request = urllib.request.Request(url.replace("tcp://", "https://") + "/", headers={"X-Secret": os.environ.get("AGENT_SECRET", "")})
    try:
        return urllib.request.urlopen(request, timeout=5, context=ssl._create_unverified_context()).status == 200
    except OSError:
        return False


def main(arguments):
    # The first process of a container ends by no signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if arguments[:1] == ["agent"]:
        os.stat("/var/lib/docker/volumes")
        return serve(Agent, 9001, "/own/cert.pem", "/own/key.pem")
    said = {}
    while arguments:
        option = arguments.pop(0)
        if option == "--http-disabled":
            continue
        if option not in ("-H", "--admin-password-file", "--sslcert", "--sslkey"):
            sys.exit(f"portainer: error: unknown long flag '{option}'")
        said[option] = arguments.pop(0)
    os.stat("/var/run/docker.sock")
    if os.path.exists("/data/stuck"):
        os.remove("/data/stuck")
    file = said.get("--admin-password-file")
    Server.state = State(open(file).read().removesuffix("\n") if file else None)
    serve(Server, 9443, said["--sslcert"], said["--sslkey"])


main(sys.argv[1:])
