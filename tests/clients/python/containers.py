"""What docker-py is used for with containers and processes in them. There is busybox."""

import io
import os
import tarfile
import time

import docker
from docker.types import Healthcheck, LogConfig, Mount, Ulimit

client = docker.from_env()
SLEEP = ["sleep", "1000"]


def raises(kind, call, *arguments, status=None, says="", **named):
    """Asserts that a call fails so."""
    try:
        call(*arguments, **named)
    except kind as error:
        assert status in (None, getattr(error, "status_code", None)), error
        assert says in str(error), error
        return error
    raise AssertionError(f"{call} did not fail")


def run(*command, **options):
    return client.containers.run("busybox", list(command) or SLEEP, **options)


def eventually(what, probe):
    deadline = time.monotonic() + 20
    while not probe():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.02)


def options():
    directory = os.path.join(os.getcwd(), "given")
    os.makedirs(directory, exist_ok=True)
    box = client.containers.create(
        "busybox", SLEEP, name="options", hostname="inside", domainname="example.test", user="1000:1000",
        working_dir="/tmp", environment={"A": "b c", "EMPTY": ""}, labels={"made": "here"}, group_add=["29"],
        mem_limit="64m", mem_reservation="32m", nano_cpus=500_000_000, cpu_shares=512, pids_limit=50, oom_score_adj=100,
        cap_add=["NET_ADMIN"], cap_drop=["CHOWN"], security_opt=["no-new-privileges"], init=True, read_only=True,
        tmpfs={"/run": "size=1048576,mode=755"}, shm_size="16m", ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0"}, devices=["/dev/null:/dev/nothing:rw"],
        dns=["10.9.9.9"], dns_opt=["ndots:2"], dns_search=["example.test"], extra_hosts={"other": "10.1.2.3"},
        volumes={directory: {"bind": "/given", "mode": "ro"}}, mounts=[Mount("/data", "options-data")],
        ports={"80/tcp": ("127.0.0.1", None), "90/udp": None}, stop_signal="SIGKILL",
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        healthcheck=Healthcheck(test=["CMD", "true"], interval=100_000_000, timeout=5_000_000_000, retries=3))
    assert box.status == "created" and box.name == "options" and box.labels == {"made": "here"}, box.attrs
    config, host = box.attrs["Config"], box.attrs["HostConfig"]
    expected = {"Hostname": "inside", "Domainname": "example.test", "User": "1000:1000", "WorkingDir": "/tmp",
                "Cmd": SLEEP, "Image": "busybox", "StopSignal": "SIGKILL"}
    assert {key: config[key] for key in expected} == expected, config
    assert config["Healthcheck"]["Test"] == ["CMD", "true"] and config["Healthcheck"]["Retries"] == 3
    expected = {"Memory": 64 << 20, "MemoryReservation": 32 << 20, "NanoCpus": 500_000_000, "CpuShares": 512,
                "PidsLimit": 50, "OomScoreAdj": 100, "GroupAdd": ["29"], "Init": True, "ReadonlyRootfs": True,
                "ShmSize": 16 << 20, "Tmpfs": {"/run": "size=1048576,mode=755"}, "Dns": ["10.9.9.9"],
                "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "Binds": [f"{directory}:/given:ro"],
                "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "ExtraHosts": ["other:10.1.2.3"]}
    assert {key: host[key] for key in expected} == expected, host
    box.start()
    seen = box.exec_run(["sh", "-c", "id; pwd; hostname; echo $A-$EMPTY-; ulimit -n; cat /etc/resolv.conf; ls /dev/nothing;"
                                     " grep other /etc/hosts; touch /file /given/file; df /run /dev/shm"])
    for text in ("uid=1000(user) gid=1000(user) groups=29(audio),1000(user)", "/tmp\ninside\nb c--\n100\n", "search example.test", "ndots:2",
                 "/dev/nothing", "10.1.2.3", "/file: Read-only", "/given/file: Read-only", "1024 ", "16384 "):
        assert text in seen.output.decode(), (text, seen.output)
    eventually("it is healthy", lambda: box.reload() or box.health == "healthy")
    assert int(box.ports["80/tcp"][0]["HostPort"]) > 0 and box.ports["80/tcp"][0]["HostIp"] == "127.0.0.1", box.ports
    mounts = {mount["Destination"]: mount for mount in box.attrs["Mounts"]}
    assert mounts["/given"]["RW"] is False and mounts["/data"]["Name"] == "options-data", mounts
    box.update(mem_limit="96m", memswap_limit=-1, restart_policy={"Name": "no"})
    box.reload()
    assert box.attrs["HostConfig"]["Memory"] == 96 << 20, box.attrs["HostConfig"]
    box.remove(force=True)
    client.volumes.get("options-data").remove()


def lives():
    box = run(name="life", detach=True)
    assert box.status == "created" and client.containers.get("life").status == "running"
    raises(docker.errors.APIError, run, name="life", detach=True, status=409, says="is already in use by container")
    raises(docker.errors.APIError, box.remove, status=409)
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    before = box.attrs["State"]["StartedAt"]
    box.restart(timeout=0)
    box.reload()
    assert box.attrs["State"]["StartedAt"] > before
    assert ["sleep", "1000"] == box.top(ps_args="-o pid,args")["Processes"][0][1].split()
    box.rename("lived")
    box.kill(signal="KILL")
    assert box.wait() == {"StatusCode": 137}
    raises(docker.errors.APIError, box.kill, status=409, says="is not running")
    box.start()
    box.stop(timeout=0)
    box.reload()
    assert box.status == "exited" and box.name == "lived"
    box.remove()
    raises(docker.errors.NotFound, client.containers.get, "lived", says="No such container: lived")

    box = run("sh", "-c", "sleep 0.2; exit 3", detach=True, auto_remove=True)
    assert box.wait(condition="removed")["StatusCode"] == 3
    error = raises(docker.errors.ContainerError, run, "sh", "-c", "echo wrong >&2; exit 4", remove=True)
    assert error.exit_status == 4 and b"wrong" in error.stderr
    raises(docker.errors.ImageNotFound, client.containers.create, "nowhere/nothing")
    raises(docker.errors.APIError, run, "no-such-program", says="executable file not found in $PATH")
    raises(docker.errors.APIError, client.containers.create, "busybox", runtime="other", status=501, says="HostConfig.Runtime")
    client.containers.prune()


def lists():
    one = run(name="one", detach=True, labels={"kind": "x", "n": "1"})
    two = run("sh", "-c", "exit 7", name="two", detach=True, labels={"kind": "x"})
    two.wait()

    def names(**filters):
        return sorted(box.name for box in client.containers.list(all=True, filters=filters))

    assert [box.name for box in client.containers.list()] == ["one"]
    assert names(label="kind=x") == ["one", "two"] and names(label=["kind=x", "n=1"]) == ["one"]
    assert names(status="exited") == ["two"] and names(exited=7) == ["two"] and names(exited=1) == []
    assert names(name="on") == ["one"] and names(id=one.id[:12]) == ["one"] and names(ancestor="busybox") == ["one", "two"]
    assert names(since="one") == ["two"] and names(before="two") == ["one"]
    assert [box.name for box in client.containers.list(all=True, limit=1)] == ["two"]
    raises(docker.errors.APIError, names, colour="red", status=400)
    sparse = client.containers.list(all=True, sparse=True)
    assert {box.attrs["Names"][0] for box in sparse} == {"/one", "/two"}
    one.remove(force=True)
    pruned = client.containers.prune(filters={"label": "kind=x"})
    assert pruned["ContainersDeleted"] == [two.id], pruned


def logs():
    script = "echo first; echo wrong >&2; for i in 1 2 3; do sleep 0.1; echo $i; done"
    box = run("sh", "-c", script, detach=True)
    assert b"".join(box.logs(stream=True, follow=True)).replace(b"wrong\n", b"") == b"first\n1\n2\n3\n"
    box.wait()
    assert box.logs(stderr=False) == b"first\n1\n2\n3\n" and box.logs(stdout=False) == b"wrong\n"
    assert box.logs(tail=2) == b"2\n3\n"
    stamped = box.logs(timestamps=True, stderr=False).decode().splitlines()
    assert all("T" in line.split()[0] and line.split()[0].endswith("Z") for line in stamped), stamped
    assert box.logs(since=int(time.time()) + 100) == b"" and box.logs(until=int(time.time()) - 100) == b""
    assert box.attach(stream=False, logs=True, stderr=False) == b"first\n1\n2\n3\n"
    box.remove()

    box = client.containers.create("busybox", ["cat"], stdin_open=True, tty=True)
    socket = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    socket._sock.sendall(b"typed\n")
    seen = b""
    while seen.count(b"typed") < 2:
        seen += socket._sock.recv(100)
    box.resize(height=20, width=60)
    socket.close()
    box.remove(force=True)


def stats():
    box = run(detach=True)
    one = box.stats(stream=False)
    assert one["id"] == box.id and one["memory_stats"]["usage"] > 0 and one["pids_stats"]["current"] == 1, one
    stream = box.stats(decode=True)
    first, second = next(stream), next(stream)
    assert first["cpu_stats"]["system_cpu_usage"] < second["cpu_stats"]["system_cpu_usage"]
    assert "rx_bytes" in second["networks"]["eth0"]
    stream.close()
    box.remove(force=True)


def archives():
    box = run(detach=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("dir/file")
        info.size, info.mode, info.uid = 5, 0o640, 7
        tar.addfile(info, io.BytesIO(b"text\n"))
    assert box.put_archive("/tmp", out.getvalue())
    assert box.exec_run("stat -c '%a %u' /tmp/dir/file").output == b"640 7\n"
    pieces, stat = box.get_archive("/tmp/dir")
    assert stat["name"] == "dir" and stat["mode"] >> 31 == 1, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        assert tar.extractfile("dir/file").read() == b"text\n"
    raises(docker.errors.NotFound, box.get_archive, "/nothing")
    raises(docker.errors.NotFound, box.put_archive, "/nothing", b"")
    kinds = {change["Path"]: change["Kind"] for change in box.diff()}
    assert kinds == {"/tmp": 0, "/tmp/dir": 1, "/tmp/dir/file": 1}, kinds
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as tar:
        assert tar.extractfile("tmp/dir/file").read() == b"text\n"
    box.remove(force=True)


def execs():
    box = run(detach=True)
    code, output = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 3"], demux=True)
    assert (code, output) == (3, (b"out\n", b"err\n")), (code, output)
    seen = box.exec_run("sh -c 'echo $A; pwd; id -u'", environment={"A": "b"}, workdir="/tmp", user="1000")
    assert seen.output == b"b\n/tmp\n1000\n", seen
    _, pieces = box.exec_run(["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], stream=True)
    assert b"".join(pieces) == b"1\n2\n3\n"
    assert box.exec_run("tty", tty=True).output.startswith(b"/dev/pts/")
    assert b"no-such-program" in box.exec_run("no-such-program").output
    capabilities = ["sh", "-c", "grep CapEff /proc/self/status | cut -f2"]
    may_administer = [int(box.exec_run(capabilities, privileged=given).output, 16) & 1 << 21 for given in (False, True)]
    assert may_administer == [0, 1 << 21], may_administer
    _, socket = box.exec_run("cat", stdin=True, socket=True)
    socket._sock.sendall(b"typed\n")
    assert socket._sock.recv(100).endswith(b"typed\n")
    socket.close()

    exec_id = client.api.exec_create(box.id, ["sh", "-c", "sleep 0.3; exit 9"])["Id"]
    client.api.exec_start(exec_id, detach=True)
    assert client.api.exec_inspect(exec_id)["Running"] is True
    eventually("it has ended", lambda: not client.api.exec_inspect(exec_id)["Running"])
    inspected = client.api.exec_inspect(exec_id)
    assert inspected["ExitCode"] == 9 and inspected["ContainerID"] == box.id, inspected
    raises(docker.errors.NotFound, client.api.exec_inspect, "0" * 64)
    box.kill()
    box.wait()
    raises(docker.errors.APIError, box.exec_run, "true", status=409, says="is not running")
    box.remove()


options()
lives()
lists()
logs()
stats()
archives()
execs()
assert client.containers.list(all=True) == []
