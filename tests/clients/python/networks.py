"""What docker-py is used for with networks, volumes, events and the engine itself. There is busybox."""

import os
import threading
import time

import docker
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

client = docker.from_env()
begun = time.time()


def status(call, *arguments, **named):
    """The status that a call fails with."""
    try:
        call(*arguments, **named)
    except docker.errors.APIError as error:
        return error.status_code
    raise AssertionError(f"{call} did not fail")


def run(**options):
    return client.containers.run("busybox", ["sleep", "1000"], detach=True, **options)


def networks():
    pool = IPAMPool(subnet="10.213.7.0/24", gateway="10.213.7.9", aux_addresses={"kept": "10.213.7.8"})
    net = client.networks.create("py-net", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"made": "here"},
                                 attachable=True, options={"com.docker.network.bridge.name": "pybridge"}, check_duplicate=True)
    assert net.attrs["IPAM"]["Config"][0]["Gateway"] == "10.213.7.9" and net.attrs["Labels"] == {"made": "here"}, net.attrs
    assert status(client.networks.create, "py-net") == 409
    inner = client.networks.create("py-inner", internal=True)
    assert inner.attrs["Internal"] is True

    one = run(name="one", network="py-net",
              networking_config={"py-net": EndpointConfig("1.50", aliases=["first"], ipv4_address="10.213.7.77")})
    two = run(name="two", network="py-inner")
    one.reload()
    endpoint = one.attrs["NetworkSettings"]["Networks"]["py-net"]
    assert endpoint["IPAddress"] == "10.213.7.77" and "first" in endpoint["Aliases"], endpoint
    net.connect(two, aliases=["second"], ipv4_address="10.213.7.78")
    net.reload()
    assert sorted(box.name for box in net.containers) == ["one", "two"]
    for box, other in ((one, "second"), (two, "first"), (two, "one")):
        ping = box.exec_run(["ping", "-c", "1", "-W", "5", other])
        assert ping.exit_code == 0, (other, ping)
    assert status(net.remove) == 403
    net.disconnect(two)
    assert one.exec_run(["ping", "-c", "1", "-W", "1", "second"]).exit_code != 0
    assert status(net.disconnect, two) == 409
    assert status(net.connect, "nobody") == 404

    def names(**filters):
        return sorted(net.name for net in client.networks.list(filters=filters))

    assert names(label="made=here") == ["py-net"] and names(name="py-") == ["py-inner", "py-net"]
    assert names(type="builtin") == ["bridge", "host", "none"] and names(dangling=True) == []
    assert client.networks.list(ids=[net.id])[0].name == "py-net"
    for box in (one, two):
        box.remove(force=True)
    pruned = client.networks.prune(filters={"label": "made=here"})
    assert pruned["NetworksDeleted"] == ["py-net"], pruned
    inner.remove()
    assert status(client.networks.get, "py-inner") == 404
    assert status(client.networks.create, "py-six", enable_ipv6=True) == 501


def volumes():
    volume = client.volumes.create("py-data", labels={"made": "here"})
    assert volume.attrs["Driver"] == "local" and volume.attrs["Labels"] == {"made": "here"}, volume.attrs
    box = client.containers.run("busybox", ["sh", "-c", "echo kept > /data/file"], volumes=["py-data:/data"], remove=True)
    assert box == b""
    read = client.containers.run("busybox", ["cat", "/data/file"], volumes={"py-data": {"bind": "/data", "mode": "ro"}}, remove=True)
    assert read == b"kept\n"
    with open(os.path.join(volume.attrs["Mountpoint"], "file"), encoding="ascii") as file:
        assert file.read() == "kept\n"
    user = run(volumes=["py-data:/data"])
    assert status(volume.remove) == 409
    assert [found.name for found in client.volumes.list(filters={"label": "made"})] == ["py-data"]
    assert client.volumes.list(filters={"dangling": True}) == []
    user.remove(force=True)
    memory = client.volumes.create("py-memory", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "uid=7"})
    seen = client.containers.run("busybox", ["stat", "-c", "%u", "/m"], volumes=["py-memory:/m"], remove=True)
    assert seen == b"7\n", seen
    memory.remove()
    assert status(client.volumes.create, "py-other", driver="other") == 404
    assert client.volumes.prune(filters={"all": True})["VolumesDeleted"] == ["py-data"]
    assert status(client.volumes.get, "py-data") == 404


def events():
    told = []
    stream = client.events(decode=True, filters={"type": "container", "label": "told=yes"})
    seen_all = threading.Event()

    def read():
        for event in stream:
            told.append(event["Action"])
            if event["Action"] == "destroy":
                seen_all.set()
                return

    reader = threading.Thread(target=read)
    reader.start()
    run(name="silent").remove(force=True)
    box = run(name="told", labels={"told": "yes"})
    box.exec_run("true")
    box.stop(timeout=0)
    box.remove()
    assert seen_all.wait(20), told
    reader.join()
    stream.close()
    # Of a stop that does not wait: the signal that asks, and the one that does not.
    stopped = ["kill", "kill", "die", "stop"]
    wanted = ["create", "start", "exec_create: true", "exec_start: true", *stopped, "destroy"]
    assert [action for action in told if action in wanted] == wanted, told

    def past(**filters):
        return list(client.events(since=begun - 1, until=time.time() + 1, decode=True, filters=filters))

    dies = past(event="die", container="told")
    assert len(dies) == 1 and dies[0]["Actor"]["Attributes"]["exitCode"] == "137", dies
    steps = [event["Action"] for event in past(type="network", network="py-net")]
    assert list(dict.fromkeys(steps)) == ["create", "connect", "disconnect", "destroy"], steps
    assert {event["Actor"]["ID"] for event in past(type="volume", event="create")} >= {"py-data", "py-memory"}
    assert past(image="nothing") == []


def engine():
    assert client.ping() and client.version()["ApiVersion"] == "1.50"
    info = client.info()
    assert info["OSType"] == "linux" and info["Images"] == 1 and info["Containers"] == 0, info
    usage = client.df()
    assert usage["Volumes"] == [] and len(usage["Images"]) == 1, usage
    old = docker.from_env(version="1.24")
    assert old.version()["ApiVersion"] == "1.50" and old.containers.list() == []
    auto = docker.from_env(version="auto")
    assert auto.api.api_version == "1.50", auto.api.api_version
    assert status(client.swarm.init) == 501
    assert status(client.services.list) == 503


networks()
volumes()
events()
engine()
assert client.containers.list(all=True) == []
