"""The API in OpenAPI, for those who make requests up: methods, paths, parameters, bodies.

Routes and their parameters are written here. Bodies are read from the source of their types, so that no field is left out, and so is the
server's table of routes, so that no route is.
"""

import itertools
import json
import pathlib
import re

CRATES = pathlib.Path(__file__).parents[3] / "crates"

# A method, a path, parameters in the query (those that begin with a capital are headers), and behind `=` the body, which is a type of the
# crate `api` or a key of `MEDIA`. A parameter that is something else on other routes has its kind behind a colon.
ROUTES = """
GET /_ping
HEAD /_ping
GET /version
GET /info
GET /events since until filters
GET /system/df type
POST /session Upgrade Connection X-Docker-Expose-Session-Uuid
POST /grpc Upgrade Connection
POST /{service}/{call} = grpc
GET /containers/json all limit size filters
POST /containers/create name platform = CreateRequest
GET /containers/{container}/json size
GET /containers/{container}/logs follow stdout stderr since until timestamps tail details
GET /containers/{container}/top ps_args
GET /containers/{container}/stats stream one-shot
GET /containers/{container}/changes
HEAD /containers/{container}/archive path
GET /containers/{container}/archive path
PUT /containers/{container}/archive path noOverwriteDirNonDir copyUIDGID = tar
GET /containers/{container}/export
POST /containers/{container}/update = UpdateRequest
POST /containers/{container}/start detachKeys checkpoint
POST /containers/{container}/stop t signal
POST /containers/{container}/restart t signal
POST /containers/{container}/kill signal
POST /containers/{container}/pause
POST /containers/{container}/unpause
POST /containers/{container}/rename name
POST /containers/{container}/resize h w
POST /containers/{container}/wait condition
POST /containers/{container}/attach logs stream stdin stdout stderr detachKeys Upgrade Connection
GET /containers/{container}/attach/ws logs stream stdin stdout stderr detachKeys Upgrade Connection Sec-WebSocket-Key Sec-WebSocket-Version
POST /containers/{container}/exec = ExecConfig
GET /containers/{container}/checkpoints
POST /containers/{container}/checkpoints
DELETE /containers/{container}/checkpoints/{checkpoint}
POST /containers/prune filters
DELETE /containers/{container} v force link
POST /exec/{exec}/start Upgrade Connection = ExecStart
POST /exec/{exec}/resize h w
GET /exec/{exec}/json
POST /commit container repo tag comment author pause changes = ContainerConfig
GET /images/json all filter filters shared-size digests manifests
GET /images/search term limit filters X-Registry-Auth
GET /images/get names platform:document
POST /images/create fromImage fromSrc repo tag message changes platform X-Registry-Auth = tar
POST /images/load quiet platform:document = tar
POST /images/prune filters
GET /images/{image}/json manifests platform:document
GET /images/{image}/history platform:document
GET /images/{image}/get platform:document
POST /images/{repository}/push tag platform:document X-Registry-Auth
POST /images/{image}/tag repo tag
DELETE /images/{image} force noprune platforms
GET /distribution/{repository}/json X-Registry-Auth
POST /auth = AuthConfig
POST /build buildid dockerfile t:name extrahosts remote q nocache cachefrom pull rm forcerm memory memswap cpushares cpusetcpus cpusetmems cpuperiod cpuquota buildargs shmsize squash labels networkmode platform target outputs version session ulimits cgroupparent isolation securityopt X-Registry-Config = tar
POST /build/cancel id
POST /build/prune keep-storage reserved-space max-used-space min-free-space all filters
GET /networks filters
POST /networks/create = NetworkCreate
POST /networks/prune filters
GET /networks/{network} verbose scope
DELETE /networks/{network}
POST /networks/{network}/connect = NetworkConnect
POST /networks/{network}/disconnect = NetworkDisconnect
GET /volumes filters
POST /volumes/create = VolumeCreate
POST /volumes/prune filters
GET /volumes/{volume}
PUT /volumes/{volume}
DELETE /volumes/{volume} force
GET /swarm
POST /swarm/init
POST /swarm/leave
GET /nodes filters
DELETE /nodes/{absent}
POST /services/create
GET /tasks/{absent}/logs
GET /secrets filters
PUT /secrets/{absent}
POST /configs/{absent}/update
GET /plugins filters
POST /plugins/pull
PUT /plugins/{absent}/set
DELETE /plugins/{absent}
"""

HEADERS = {word for word in ROUTES.split() if word[0].isupper() and "-" in word} | {"Upgrade", "Connection"}
FLAGS = """all size follow stdout stderr timestamps stream one-shot noOverwriteDirNonDir copyUIDGID logs stdin v force link pause quiet q
shared-size digests manifests noprune nocache pull rm forcerm squash verbose""".split()
NUMBERS = """limit h w memory memswap cpushares cpuperiod cpuquota shmsize keep-storage reserved-space max-used-space
min-free-space""".split()
FILTERS = """ancestor before container daemon dangling driver event exited expose health id image inuse is-task label name network private
publish reference scope since status type until volume x""".split()

# What a body is that is no type of the server's.
MEDIA = {"tar": "application/x-tar", "grpc": "application/grpc"}
# Strings that lead further than most; others are made up besides.
VALUES = {
    "container": ["box", "box", "box", "box", "made", "nobody"],
    "exec": ["exec", "exec", "exec", "nobody"],
    "image": ["busybox", "busybox:latest", "busybox", "made", "nothing/like:it", "UPPER"],
    "network": ["net", "net", "made", "bridge", "none", "nothing"],
    "volume": ["vol", "vol", "made", "nothing"],
    "name": ["made", "box", "a/b"],
    # All but Solve, which waits ten seconds for a session.
    "call": ["Check", "DiskUsage", "Info", "Inputs", "ListWorkers", "Ping", "Prune", "ReadFile", "Return", "Session", "Status"],
    "filters": [
        f'{{"{key}":{values}}}' for key in FILTERS for values in ('["box"]', '["true","0"]', '{"10m":true,"a=b":false}')
    ] + ["[]", "{", '{"label":[1]}', '{"label":"x"}'],
    "document": ['{"os":"linux","architecture":"amd64"}', '{"os":"x"}', "linux/amd64"],
    "platform": ["linux/amd64", "linux", "a/b/c/d"],
    "since": ["0", "10m", "2020-01-01T00:00:00Z", "1.5"],
    "until": ["0", "10m", "2020-01-01T00:00:00Z", "1.5"],
    "tail": ["all", "1"],
    "type": ["container", "image", "volume", "build-cache"],
    "path": ["/", "/tmp", "/etc/passwd", "/dev", "/proc/self", "/sys", "tmp", "/nowhere/at/all"],
    "ps_args": ["aux", "-o pid,args", "--nothing"],
    "signal": ["KILL", "9", "SIGUSR1", "0", "WAT"],
    "condition": ["not-running", "next-exit", "removed"],
    "detachKeys": ["ctrl-p,ctrl-q", "a", "ctrl-"],
    "fromSrc": ["-"],
    "repo": ["made", "UPPER"],
    "tag": ["1", "latest", "sha256:0"],
    "names": ["busybox", "made"],
    "dockerfile": ["Dockerfile", "../Dockerfile", "nothing"],
    "networkmode": ["default", "none", "nothing"],
    "cachefrom": ['["busybox"]', "null", "{}"],
    "buildargs": ['{"A":"b","C":null}', "[]"],
    "labels": ['{"a":"b"}', "[]"],
    "ulimits": ['[{"Name":"nofile","Soft":9,"Hard":9}]', '[{"Name":"x"}]'],
    "version": ["1", "2"],
    "outputs": ["[]", "[{}]"],
    "securityopt": ["[]", '["x"]'],
    "isolation": ["default", "hyperv"],
    "extrahosts": ["a:10.0.0.1", "a"],
    "target": ["first", "nothing"],
    "Upgrade": ["tcp", "websocket", "h2c"],
    "Connection": ["Upgrade"],
    "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ=="],
    "Sec-WebSocket-Version": ["13", "1"],
    "X-Docker-Expose-Session-Uuid": ["session"],
    "X-Registry-Auth": ["eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==", "e30", "%"],
    "X-Registry-Config": ["e30", "%"],
    "Hostname": ["inside", "-", "."],
    "User": ["root", "1000:1000", "nobody-like-it", "-1"],
    "Env": ["A=b", "A", "="],
    "WorkingDir": ["/tmp", "/made/here", "relative"],
    "Image": ["busybox", "busybox:latest", "nothing/like:it"],
    "ExposedPorts": ["80/tcp", "90-91/udp", "80/x", "0"],
    "Volumes": ["/data", "/", "vol:/data"],
    "StopSignal": ["SIGKILL", "9", "SIGWAT"],
    "MacAddress": ["02:42:00:00:00:09", "x"],
    "PidMode": ["private", "host", "container:box"],
    "IpcMode": ["private", "host", "container:box", "shareable", "none"],
    "UTSMode": ["private", "host"],
    "UsernsMode": ["private", "host"],
    "CgroupnsMode": ["private", "host"],
    "Runtime": ["runc", "hull"],
    "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "seccomp={}", "apparmor=unconfined", "label=disable"],
    "CapAdd": ["NET_ADMIN", "CAP_CHOWN", "ALL"],
    "CapDrop": ["ALL", "CHOWN"],
    "CpusetCpus": ["0", "0-1", "9999", "x"],
    "CpusetMems": ["0", "9999"],
    "Dns": ["10.9.9.9", "x"],
    "ExtraHosts": ["a:10.0.0.1", "b:host-gateway", "a"],
    "GroupAdd": ["29", "audio", "nobody-like-it"],
    "Links": ["box:other", "box", "nobody:x"],
    "VolumesFrom": ["box", "box:ro", "nobody"],
    "Tmpfs": ["/run", "size=1m", "size=x", "relative"],
    "Name": ["made", "net", "vol", "always", "on-failure", "unless-stopped", "nofile", "core", "local"],
    "Type": ["bind", "volume", "tmpfs", "image", "json-file", "local", "none", "nothing"],
    "Propagation": ["rprivate", "rslave", "x"],
    "Target": ["/data", "/", "relative"],
    "Container": ["box", "box", "made", "nobody"],
    "DetachKeys": ["a", "ctrl-"],
    "EndpointsConfig": ["net", "bridge", "nothing"],
}
# Fields and parameters of which no value is made up besides these, because such a request would do something to the host, leave the
# loopback device, or wait for ever.
ONLY = {
    "Cmd": [["true"], ["sleep", "1000"], ["sh", "-c", "echo out; echo err >&2; exit 3"], ["cat"], ["no-such-program"], []],
    "Entrypoint": [["env"], ["no-such-program"], [], [""]],
    "Test": [["CMD", "true"], ["CMD-SHELL", "exit 1"], ["NONE"], ["CMD"], ["x"], []],
    "changes": ["ENV A=b", "CMD true", "FLY"],
    "Binds": [["vol:/data"], ["made:/data:ro"], ["/dev/null:/null"], ["a:b:c:d"], [""]],
    "Source": ["vol", "made", "/dev/null", "/proc/nothing", ""],
    "PathOnHost": ["/dev/null", "/dev/nothing", ""],
    "Path": ["/dev/null", "/dev/nothing", ""],
    "CgroupParent": ["", "/", "../x"],
    "cgroupparent": ["", "/", "../x"],
    "Sysctls": [{"net.ipv4.ip_unprivileged_port_start": "0"}, {"kernel.hostname": "x"}, {"net.nothing": "1"}],
    "NetworkMode": ["", "default", "bridge", "none", "net", "nothing", "container:box", "container:nobody"],
    "HostIp": ["127.0.0.1", "x"],
    "HostPort": ["", "0", "70000", "9-8"],
    "PublishAllPorts": [False],
    "StopTimeout": [0, 1],
    "t": ["0", "1", "x"],
    "session": [""],
    "buildid": ["", "x"],
    "Subnet": ["192.0.2.0/24", "192.0.2.0/33", "x", ""],
    "IPRange": ["192.0.2.128/25", "198.51.100.0/24", "x"],
    "Gateway": ["192.0.2.1", "198.51.100.1", "x"],
    "IPv4Address": ["192.0.2.9", "198.51.100.1", "x"],
    "Driver": ["", "bridge", "local", "host", "null", "nothing"],
    "DriverOpts": [{}, {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, {"type": "x"}],
    "Options": [{}, {"com.docker.network.driver.mtu": "1400"}, {"com.docker.network.driver.mtu": "x"}, {"size": "x"}],
    "remote": ["http://127.0.0.1:1/x", "git://127.0.0.1:1/x.git", "ftp://127.0.0.1/x", "file:///etc/passwd", "x"],
    "service": ["moby.buildkit.v1.Control", "moby.buildkit.v1.frontend.LLBBridge", "grpc.health.v1.Health"],
    "repository": ["{registry}/busybox", "{registry}/nothing", "UPPER"],
    "fromImage": ["{registry}/nothing", "{registry}/nothing:1", "{registry}/busybox:latest", "UPPER"],
    "term": ["{registry}/nothing"],
    "serveraddress": ["{registry}", "127.0.0.1:1"],
}


def text(name):
    """A parameter or a field that is a string: one of the known, or one of a format that whoever makes them up is told."""
    return {"type": "string", "format": name} if name in VALUES else {"type": "string"}


def structures():
    """The types of bodies: by their names, the types of their fields by theirs; a `*` stands before a type whose fields they are."""
    types = {}
    for path in (CRATES / "api/src").glob("*.rs"):
        pattern = r"Deserialize\)\]\n(#\[serde\(rename_all[^\n]*\n)?pub struct (\w+) {\n(.*?)\n}"
        for renamed, name, fields in re.findall(pattern, path.read_text(), re.S):
            types[name] = {}
            for attribute, field, kind in re.findall(r"(?:#\[serde\(([^\]]*)\)\]\s+)?pub (\w+): (.*),$", fields, re.M):
                if renamed:
                    field = "".join(word.capitalize() for word in field.split("_"))
                other = re.findall(r'rename = "(\w+)"', attribute)
                types[name][f"*{kind}" if attribute == "flatten" else (other or [field])[0]] = kind
    return types


TYPES = structures()
PLAIN = {
    "bool": {"type": "boolean"},
    "Value": {},
    "i64": {"enum": [0, 1, -1, 100, 1 << 16, 6 << 20, 1 << 26, 500_000_000, 1 << 31, (1 << 63) - 1, -1 << 63]},
    **{kind: {"enum": [0, 1, 100, 0o700, 65535, 1 << 31]} for kind in ("u64", "u32", "u16")},
    "[u16; 2]": {"type": "array", "items": {"enum": [0, 1, 100, 65535]}, "minItems": 2, "maxItems": 2},
}
# Parameters and fields without which nothing else is looked at.
NEEDED = ["path", "t", "h", "w", "term", "repo", "container", "names", "fromSrc", "Connection", "Sec-WebSocket-Key"]
REQUIRED = {
    "CreateRequest": ["Image", "Cmd", "HostConfig"],
    "ExecConfig": ["Cmd"],
    "NetworkCreate": ["Name"],
    "NetworkConnect": ["Container"],
    "AuthConfig": ["serveraddress"],
}


def field(name, kind):
    """A field as JSON Schema."""
    outer, inner = re.fullmatch(r"(?:(Option|Vec|BTreeMap)<(?:String, )?(?=.*>))?(.*)", kind).groups()
    inner = inner.removesuffix(">") if outer else inner
    if name in ONLY:
        return {"enum": ONLY[name]}
    if outer == "Option":
        return field(name, inner)
    if outer == "Vec":
        return {"type": "array", "items": field(name, inner), "maxItems": 2}
    if kind in ("Words", "Keys") or outer:
        element = {"Words": text(name), "Keys": {"enum": [{}]}}.get(kind) or field("", inner)
        return {"type": "object", "propertyNames": text(name), "additionalProperties": element, "maxProperties": 2}
    if kind in ("String", "Argv"):
        return text(name)
    return PLAIN[kind] if kind in PLAIN else {"$ref": f"#/components/schemas/{kind}"}


def members(kind):
    """The fields of a type, with those of the types it contains without a name."""
    for name, inner in TYPES[kind].items():
        if name.startswith("*"):
            yield from members(inner)
        else:
            yield name, field(name, inner)


def structure(kind):
    # Of few fields at a time, or one of them is always refused before the others are looked at.
    properties, required = dict(members(kind)), REQUIRED.get(kind, [])
    most = {"maxProperties": len(required) + 2, "additionalProperties": False}
    return {"type": "object", "properties": properties, "required": required, **most}


def parameter(word, where):
    name, _, kind = word.partition(":")
    kind = kind or name
    if kind in ONLY:
        schema = {"enum": ONLY[kind]}
    elif kind in FLAGS:
        schema = {"enum": ["1", "0", "true", "false", ""]}
    elif kind in NUMBERS:
        schema = {"enum": ["0", "1", "20", "80", "67108864", "-1", "9223372036854775808", "x"]}
    else:
        schema = text(kind)
    return {"name": name, "in": where, "required": where == "path" or kind in NEEDED, "schema": schema}


def body(kind):
    schema = {"type": "string", "format": "binary"} if kind in MEDIA else {"$ref": f"#/components/schemas/{kind}"}
    return {"required": True, "content": {MEDIA.get(kind, "application/json"): {"schema": schema}}}


def described():
    """Method, path, parameters and body of every route."""
    for line in ROUTES.strip().splitlines():
        head, _, kind = line.partition(" = ")
        method, path, *parameters = head.split()
        yield method, path, parameters, kind


def description(registry):
    """The whole of it, for a host with a registry at an address of its own."""
    paths = {}
    for method, path, parameters, kind in described():
        operation = {"responses": {"default": {"description": "any"}}}
        operation["parameters"] = [parameter(name, "path") for name in re.findall(r"{(\w+)}", path)]
        operation["parameters"] += [parameter(name, "header" if name[0].isupper() else "query") for name in parameters]
        if kind:
            operation["requestBody"] = body(kind)
        paths.setdefault(path, {})[method.lower()] = operation
    schemas = {kind: structure(kind) for kind in TYPES}
    document = {"openapi": "3.1.0", "info": {"title": "hull", "version": "1"}, "paths": paths, "components": {"schemas": schemas}}
    return json.loads(json.dumps(document).replace("{registry}", registry))


def missing():
    """Routes in the server's table, and parameters that it reads, which are not described."""
    table = (CRATES / "server/src/route.rs").read_text().split("match (&method, ")[1]
    rows = re.findall(r"^        \(([\w |]+), \[(.*)\]\)", table, re.M)
    assert len(rows) == table.count("=>") - 1, "the table of routes is written in another way than it was"
    routes = [f"{method} {path}" for method, path, _, _ in described()]
    for methods, pattern in rows:
        for method, *path in itertools.product(*(words.split(" | ") for words in (methods, *pattern.split(", ")))):
            method = method.replace("_", r"\w+")
            # A name is one segment, or as many as there are, and in the end there may be none.
            segments = ("/" + word.strip('"') if '"' in word else "(/.*)?" if word == ".." else r"/{\w+}" for word in path)
            wanted = " ".join((method, "".join(segments)))
            if not any(re.fullmatch(wanted, route) for route in routes):
                yield wanted
    known = {parameter.partition(":")[0] for _, _, parameters, _ in described() for parameter in parameters}
    for path in (CRATES / "server/src").glob("**/*.rs"):
        pattern = r'query\s*\.(?:get|flag|number|all)(?:::<\w+>)?\("([\w-]+)"\)|document\(query, "(\w+)"\)'
        for names in re.findall(pattern, path.read_text()):
            if not known & set(names):
                yield f"{path.name}: {''.join(names)}"
