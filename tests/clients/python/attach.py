"""What a web console does: attaching over websockets, with docker-py for the rest."""

import os
import socket
import time

import docker
import websocket
from websocket import ABNF

client = docker.from_env()
path = os.environ["DOCKER_HOST"].removeprefix("unix://")


def attach(container, query, version="1.50", **options):
    """A websocket to a container."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(path)
    url = f"ws://docker/v{version}/containers/{container.id}/attach/ws?{query}"
    return websocket.create_connection(url, socket=connection, **options)


def read(ws, until):
    """What comes until `until` has come, and the opcodes of the messages."""
    data, opcodes = b"", set()
    while until not in data:
        opcode, piece = ws.recv_data()
        assert opcode != ABNF.OPCODE_CLOSE, data
        opcodes.add(opcode)
        data += piece
    return data, opcodes


def rest(ws):
    """What comes until the other side says goodbye."""
    data = b""
    while True:
        opcode, piece = ws.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            return data
        data += piece


def both_ways():
    box = client.containers.run("busybox", ["sh", "-c", "echo before; read x; echo got $x; echo wrong >&2; exit 3"],
                                detach=True, stdin_open=True)
    while b"before" not in box.logs():
        time.sleep(0.05)
    ws = attach(box, "logs=1&stream=1&stdin=1&stdout=1&stderr=1")
    data, opcodes = read(ws, b"before\n")
    assert data == b"before\n" and opcodes == {ABNF.OPCODE_BINARY}, (data, opcodes)
    ws.ping("still there?")
    ws.send("it\n")
    data = rest(ws)
    assert b"got it\n" in data and b"wrong\n" in data and b"\0" not in data, data
    assert box.wait()["StatusCode"] == 3
    box.remove()


def streams_are_chosen_since_1_42():
    command = ["sh", "-c", "read x; echo out; echo err >&2"]
    for version, query, expected in [("1.50", "stdin=1&stdout=1", b"out\n"), ("1.50", "stdin=1&stderr=1", b"err\n"),
                                     ("1.41", "stdin=1&stdout=1", b"out\nerr\n")]:
        box = client.containers.create("busybox", command, stdin_open=True)
        # Attached before it is started: the first byte comes, too.
        ws = attach(box, f"stream=1&{query}", version)
        box.start()
        ws.send_binary(b"go\n")
        data = rest(ws)
        assert sorted(data.split()) == sorted(expected.split()), (version, query, data)
        box.remove(force=True)


def old_clients_get_text():
    box = client.containers.create("busybox", ["echo", "\u00e4\u00f6"])
    ws = attach(box, "stream=1", "1.27")
    box.start()
    data, opcodes = read(ws, b"\n")
    assert data.decode() == "\u00e4\u00f6\n" and opcodes == {ABNF.OPCODE_TEXT}, (data, opcodes)
    box.remove(force=True)


def leaving_leaves_it_running():
    box = client.containers.run("busybox", ["sh"], detach=True, stdin_open=True, tty=True)
    ws = attach(box, "stream=1&stdin=1&stdout=1", subprotocols=["tty"])
    assert ws.getsubprotocol() == "tty"
    ws.send("echo here-$((1+1))\n")
    read(ws, b"here-2")
    ws.send(b"\x10\x11")
    rest(ws)
    ws = attach(box, "stream=1&stdin=1&stdout=1&detachKeys=ctrl-a")
    ws.send("echo there-$((1+1)); ")
    ws.close()
    ws = attach(box, "stream=1&stdin=1&stdout=1")
    ws.send("\n")
    read(ws, b"there-2")
    box.reload()
    assert box.status == "running"
    # Nobody sends anything any more, and the end of the container is the end of the connection.
    box.remove(force=True)
    rest(ws)


def the_end_of_the_client_is_the_end_of_input():
    config = client.api.create_container_config("busybox", ["sh", "-c", "echo read $(wc -c)"], stdin_open=True)
    config["StdinOnce"] = True
    box = client.containers.get(client.api.create_container_from_config(config)["Id"])
    ws = attach(box, "stream=1&stdin=1")
    box.start()
    ws.send_binary(b"x" * 300_000)
    ws.close()
    assert box.wait()["StatusCode"] == 0
    assert box.logs() == b"read 300000\n", box.logs()
    box.remove()


def refusals():
    box = client.containers.create("busybox", ["true"])
    api = client.api
    for headers, status in [({}, 400), ({"Connection": "Upgrade", "Upgrade": "websocket"}, 400),
                            ({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x",
                              "Sec-WebSocket-Version": "12"}, 400)]:
        answer = api.get(api.base_url + f"/containers/{box.id}/attach/ws?stream=1", headers=headers)
        assert answer.status_code == status and answer.json()["message"], (headers, answer.text)
    box.remove()
    try:
        attach(box, "stream=1")
        raise AssertionError("there is no such container")
    except websocket.WebSocketBadStatusException as error:
        assert error.status_code == 404, error


both_ways()
streams_are_chosen_since_1_42()
old_clients_get_text()
leaving_leaves_it_running()
the_end_of_the_client_is_the_end_of_input()
refusals()
assert client.containers.list(all=True) == []
