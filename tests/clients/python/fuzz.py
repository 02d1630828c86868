"""Requests that schemathesis makes up from `description.py`, the same ones every time: none may upset the server.

One operation after the other, and in the end all of them mixed. A quarter of the requests is not what the description allows. They are
about a container, a network, a volume and an image that are made again when a request has removed them.
"""

import collections
import io
import json
import os
import random
import sys
import tarfile
import time

import docker
import requests
import schemathesis
from docker.transport import UnixHTTPAdapter
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from schemathesis import GenerationMode

import description

REGISTRY = os.environ["REGISTRY"]
# For each operation; documents have more to them.
EXAMPLES = 30
# Of the API; answers differ.
VERSIONS = ["1.24", "1.41", "1.44", "1.50"]
# Longer than any answer may take.
PATIENCE = 30
# What may go on until somebody ends it: the head of the answer is enough.
ENDLESS = ("events", "logs", "stats", "attach", "ws", "wait", "start", "session", "grpc")
# They ask registries, that of the test as long as the request is one the description allows, and else those of the internet.
ASKING = ("/images/{repository}/push", "/distribution/{repository}/json", "/images/create", "/images/search", "/auth", "/build")

# What is no failure of the server's: it is no swarm manager, another one is not there, and a file that dockerd misses with 500.
OTHERS = ("swarm", "cannot reach", "Cannot locate specified Dockerfile")

client = docker.from_env()
session = requests.Session()
session.mount("http://docker", UnixHTTPAdapter(os.environ["DOCKER_HOST"].removeprefix("unix://")))
image = b"".join(client.images.get("busybox").save(named=True))


def archive(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


dockerfile = f"FROM {REGISTRY}/busybox AS first\nARG A\nRUN echo $A > /a\nFROM scratch\nCOPY --from=first /a /\n"
archives = [archive(Dockerfile=dockerfile), archive(Dockerfile=dockerfile)[:700], archive(file="x"), dockerfile.encode(), b"", b"FLY\n", image]
messages = [b"", bytes(5), b"\0\0\0\0\2\10", b"\1\0\0\0\0", b"\0\xff\xff\xff\xff", b"\0\0\0\0\4\10\1\20\1"]
schemathesis.openapi.media_type("application/x-tar", strategies.sampled_from(archives) | strategies.binary())
schemathesis.openapi.media_type("application/grpc", strategies.sampled_from(messages) | strategies.binary())
# In a path, dots alone are no name.
names = strategies.text(min_size=1, max_size=20).filter(lambda text: text.strip("."))
for kind, values in description.VALUES.items():
    known = strategies.sampled_from(values)
    schemathesis.openapi.format(kind, known if kind in description.HEADERS else strategies.one_of(*[known] * 5, names))


def furnish():
    """Makes what requests are about, as far as it is not there; answers with the id of a process in the container."""
    if not client.images.list("busybox"):
        client.images.load(image)
    client.images.get("busybox").tag(f"{REGISTRY}/busybox")
    if not client.networks.list("net"):
        client.networks.create("net")
    client.volumes.create("vol")
    try:
        box = client.containers.get("box")
        if box.status == "paused":
            box.unpause()
        box.start()
    except docker.errors.NotFound:
        box = client.containers.run("busybox", ["sleep", "1000"], name="box", detach=True, stop_signal="SIGKILL")
    return client.api.exec_create(box.id, ["cat"], stdin=True)["Id"]


def check(case, version):
    """Makes a request and looks at the answer."""
    request = case.as_transport_kwargs(base_url=f"http://docker/v{version}")
    with session.request(**request, stream=True, timeout=PATIENCE) as answer:
        status, media_type = answer.status_code, answer.headers.get("Content-Type", "")
        if status < 400 and case.operation.path.rsplit("/", 1)[-1] in ENDLESS:
            return status
        body = answer.content
    told = f"{status} {media_type} {body[:1000]}"
    assert status < 500 or status == 501 or any(reason in body.decode() for reason in OTHERS), told
    if status >= 400 and case.method != "HEAD":
        assert media_type == "application/json" and json.loads(body)["message"], told
        assert body != b'{"message":"page not found"}\n', told
    elif media_type == "application/json":
        for line in body.splitlines():
            json.loads(line)
    return status


def few(case):
    """The request without most of what it can do without, of which something is always wrong."""
    optional = sorted(case.query.keys() - set(description.NEEDED))
    dropped = random.Random(repr(case.query)).sample(optional, max(0, len(optional) - 2))
    case.query = {name: value for name, value in case.query.items() if name not in dropped}
    return case


def tame(name, value):
    """Without what is not to be asked for, however much it is against the description."""
    allowed = description.ONLY.get(name, [])
    if type(value) in map(type, allowed) and value not in allowed:
        return allowed[0]
    if isinstance(value, dict):
        return {key: tame(key, entry) for key, entry in value.items()}
    return [tame("", entry) for entry in value] if isinstance(value, list) else value


def tamed(case):
    case.path_parameters = {name: tame(name, str(value)) for name, value in case.path_parameters.items()}
    case.query = {name: tame(name, str(value)) for name, value in case.query.items()}
    case.body = tame("", case.body)
    return case


def right(operation):
    return operation.as_strategy().map(few)


def requests_for(operation):
    """What the description allows, and with it, where that harms nobody, what it does not."""
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE).map(tamed)
    return right(operation) if operation.path in ASKING else strategies.one_of(*[right(operation)] * 3, wrong)


def fuzz(label, cases, examples):
    """Makes so many requests, and tells how often each status was the answer."""
    begun, statuses, made, exec_id = time.monotonic(), collections.Counter(), 0, None

    @seed(1)
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=cases, version=strategies.sampled_from(VERSIONS))
    def run(case, version):
        nonlocal made, exec_id
        if made % 10 == 0:
            exec_id = furnish()
        made += 1
        if case.path_parameters.get("exec") == "exec":
            case.path_parameters["exec"] = exec_id
        try:
            statuses[check(case, version)] += 1
        except (AssertionError, ValueError, requests.RequestException) as error:
            failures.append(f"{version} {case.as_curl_command()}\n{error}")

    run()
    print(f"{time.monotonic() - begun:5.1f} s", label, dict(statuses), file=sys.stderr, flush=True)


failures = []
assert list(description.missing()) == []
schema = schemathesis.openapi.from_dict(description.description(REGISTRY))
operations = [result.ok() for result in schema.get_all_operations()]
for operation in operations:
    has_document = any(body.media_type == "application/json" for body in operation.body)
    fuzz(operation.label, requests_for(operation), 4 * EXAMPLES if has_document else EXAMPLES)
fuzz("all of them", strategies.one_of(map(right, operations)), 10 * EXAMPLES)
assert not failures, "\n\n".join(failures[:20])
assert client.ping() and client.version()
for box in client.containers.list(all=True):
    box.remove(force=True)
assert client.containers.list(all=True) == []
