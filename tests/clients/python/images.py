"""What docker-py is used for with images: builds, archives, registries, failures. REGISTRY is one's address; busybox is there."""

import io
import os
import tarfile

import docker

client = docker.from_env()
registry = os.environ["REGISTRY"]


def archive(files):
    """A tar archive with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    out.seek(0)
    return out


def builds():
    image, log = client.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nARG WHO\nRUN echo $WHO > /who\nCMD cat /who\n"),
        tag="py/file:1", buildargs={"WHO": "me"}, labels={"made": "here"}, rm=True, pull=False)
    assert image.tags == ["py/file:1"] and image.labels == {"made": "here"}, image.attrs
    assert any(line.get("stream", "").startswith("Step 2/4 : ARG WHO") for line in log)
    assert client.containers.run("py/file:1", remove=True) == b"me\n"

    context = archive({"Dockerfile": b"FROM busybox AS one\nCOPY f /f\nFROM busybox\nCOPY f /g\n", "f": b"content"})
    image, _ = client.images.build(fileobj=context, custom_context=True, tag="py/context", target="one", nocache=True)
    assert client.containers.run(image.id, ["cat", "/f"], remove=True) == b"content"

    try:
        client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 9\n"))
        raise AssertionError("a build that fails is told so")
    except docker.errors.BuildError as error:
        assert "returned a non-zero code: 9" in error.msg, error.msg


def archives():
    image = client.images.get("busybox")
    data = b"".join(image.save(named=True))
    client.images.remove("busybox", force=True)
    try:
        client.images.get("busybox")
        raise AssertionError("it was removed")
    except docker.errors.ImageNotFound:
        pass
    [loaded] = client.images.load(data)
    assert loaded.id == image.id and loaded.tags == ["busybox:latest"], loaded.attrs
    root = archive({"hello": b"hi"}).read()
    client.api.import_image_from_data(root, repository="py/imported", tag="2", changes=['CMD ["/x"]'])
    assert client.images.get("py/imported:2").attrs["Config"]["Cmd"] == ["/x"]
    assert image.history()[-1]["Size"] >= 0


def registries():
    name = f"{registry}/py/box"
    assert client.images.get("busybox").tag(name, tag="1")
    ends = [line["aux"] for line in client.images.push(name, tag="1", stream=True, decode=True) if "aux" in line]
    assert ends[0]["Tag"] == "1" and ends[0]["Digest"].startswith("sha256:"), ends
    client.images.remove(f"{name}:1")
    image = client.images.pull(name, tag="1")
    assert f"{name}@{ends[0]['Digest']}" in image.attrs["RepoDigests"], image.attrs
    data = client.images.get_registry_data(f"{name}:1")
    assert data.id == ends[0]["Digest"] and data.has_platform("linux/amd64")
    told = client.api.push(f"{registry}/py/nothing", tag="1")
    assert "errorDetail" in told, told
    try:
        client.images.pull(f"{registry}/py/nothing", tag="1")
        raise AssertionError("there is no such image")
    except docker.errors.NotFound:
        pass


def containers():
    box = client.containers.create("busybox", ["sh", "-c", "echo more > /more"])
    box.start()
    assert box.wait()["StatusCode"] == 0
    image = box.commit(repository="py/committed", tag="1", message="note", conf={"Env": ["A=b"]})
    assert image.attrs["Config"]["Env"][0] == "A=b" and image.attrs["Comment"] == "note", image.attrs
    box.remove()
    assert client.containers.run(image, ["cat", "/more"], remove=True) == b"more\n"


builds()
archives()
registries()
containers()
names = [tag for image in client.images.list() for tag in image.tags]
assert "py/file:1" in names, names
usage = client.df()
assert len(usage["Images"]) == len(client.images.list())
for name in names:
    if name.startswith("py/"):
        client.images.remove(name, force=True)
assert client.images.prune()["SpaceReclaimed"] >= 0
