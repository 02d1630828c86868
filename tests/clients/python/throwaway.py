"""What testcontainers is used for. There is busybox, and Docker Compose."""

import pathlib
import urllib.request

import docker
from testcontainers.compose import DockerCompose
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs

SERVER = ["sh", "-c", "mkdir -p /site; echo ready; exec httpd -f -p 80 -h /site"]


def page(host, port):
    with urllib.request.urlopen(f"http://{host}:{port}/page") as answer:
        return answer.read()


def containers():
    site = pathlib.Path("site")
    site.mkdir()
    (site / "page").write_text("served\n", encoding="ascii")
    server = (DockerContainer("busybox").with_command(SERVER).with_exposed_ports(80).with_env("A", "b")
              .with_volume_mapping(str(site.resolve()), "/site", "ro").with_name("server").with_kwargs(mem_limit="64m"))
    with server:
        wait_for_logs(server, "ready", timeout=20)
        assert page(server.get_container_host_ip(), server.get_exposed_port(80)) == b"served\n"
        told = server.exec(["sh", "-c", "echo $A; exit 4"])
        assert (told.exit_code, told.output) == (4, b"b\n"), told
        assert server.get_logs() == (b"ready\n", b"")
        assert server.get_wrapped_container().attrs["HostConfig"]["Memory"] == 64 << 20


def networks():
    with Network() as network:
        server = DockerContainer("busybox").with_command(SERVER).with_network(network).with_network_aliases("web")
        client = DockerContainer("busybox").with_command(["sleep", "1000"]).with_network(network)
        with server, client:
            assert client.exec(["ping", "-c", "1", "-W", "5", "web"]).exit_code == 0


def builds():
    context = pathlib.Path("context")
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nARG WHO\nRUN echo $WHO > /who\nCMD cat /who; exec sleep 1000\n", encoding="ascii")
    with DockerImage(path=str(context), tag="throwaway:py", buildargs={"WHO": "built"}) as image:
        with DockerContainer(str(image)) as container:
            wait_for_logs(container, "built", timeout=20)


def compose():
    project = pathlib.Path("project")
    project.mkdir()
    (project / "compose.yaml").write_text("services:\n  web:\n    image: busybox\n    ports: ['127.0.0.1::80']\n"
                                          "    command: sh -c 'echo ready; exec httpd -f -p 80'\n", encoding="ascii")
    with DockerCompose(project, wait=True) as stack:
        out, code = stack.exec_in_container(["echo", "inside"], service_name="web")[0::2]
        assert (out, code) == ("inside\n", 0), (out, code)
        assert "ready" in stack.get_logs("web")[0]
        assert int(stack.get_service_port("web", 80)) > 0


containers()
networks()
builds()
compose()
client = docker.from_env()
assert client.containers.list(all=True) == []
assert [image.tags for image in client.images.list()] == [["busybox:latest"]]
