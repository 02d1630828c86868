//! The classic builder: Docker's client without BuildKit, and requests with archives.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::{Api, Output, eventually, web};

use crate::served;

/// `docker build` by the classic builder.
fn build(api: &Api, args: &[&str]) -> Command {
    let mut command = api.docker_command([&["build"], args].concat());
    command.env("DOCKER_BUILDKIT", "0");
    command
}

fn built(api: &Api, args: &[&str]) -> Output {
    Output::of(&mut build(api, args))
}

/// The context as an archive.
fn archive(api: &Api, compression: &str) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["-C", &api.world.scratch().join("context").to_string_lossy(), "-c", compression, "."]);
    let output = tar.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn context(api: &Api, dockerfile: &str) {
    api.world.file("context/Dockerfile", dockerfile);
}

#[test]
fn steps_are_told_in_the_order_of_the_file() {
    let api = served();
    api.world.file("context/kept", "kept\n");
    api.world.file("context/left", "left\n");
    api.world.file("context/.dockerignore", "left\n");
    let file = "FROM busybox AS first\nARG WHO=nobody\nRUN echo for $WHO > /who\nFROM busybox\nCOPY --from=first /who /\n\
                COPY . /all/\nRUN cat /who && ls /all\nCMD [\"cat\", \"/who\"]\n";
    context(&api, file);
    let words = ["-t", "app", "-t", "team/app:2", "--build-arg", "WHO=me", "--label", "a=b", "context"];
    let output = built(&api, &words).success();
    let steps: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("Step ")).collect();
    let expected: Vec<String> =
        file.lines().enumerate().map(|(index, line)| format!("Step {}/8 : {line}", index + 1)).collect();
    assert_eq!(steps, expected, "{output}");
    let id = api.docker(["images", "-q", "app"]).success().text().to_owned();
    let end =
        format!("Successfully built {id}\nSuccessfully tagged app:latest\nSuccessfully tagged team/app:2\n");
    assert!(output.stdout.ends_with(&end), "{output}");
    assert!(output.stdout.contains("\nfor me\nDockerfile\nkept\n"), "{output}");
    assert_eq!(api.docker(["run", "--rm", "app"]).success().text(), "for me");
    let label = api.docker(["inspect", "-f", "{{.Config.Labels.a}}", "app"]).success();
    assert_eq!(label.text(), "b");
    let again = built(&api, &words).success();
    assert_eq!(again.stdout.matches(" ---> Using cache").count(), 4, "{again}");
    let quiet = built(&api, &[&["-q"], &words[..]].concat()).success();
    assert_eq!(quiet.text(), api.docker(["images", "-q", "--no-trunc", "app"]).success().text());
    let target = built(&api, &["--target", "first", "-q", "context"]).success();
    assert_eq!(api.docker(["run", "--rm", target.text(), "cat", "/who"]).success().text(), "for nobody");
}

#[test]
fn a_failing_step_is_what_the_client_ends_with() {
    let api = served();
    context(&api, "FROM busybox\nRUN echo before; exit 3\nRUN echo never\n");
    let failed = built(&api, &["-t", "app", "context"]).status(3);
    assert!(failed.stdout.contains("Step 2/3 : RUN echo before; exit 3\n"), "{failed}");
    assert!(failed.stdout.contains("\nbefore\n") && !failed.stdout.contains("Step 3/3"), "{failed}");
    failed.says("The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3");
    context(&api, "FROM busybox\nCOPY nothing /\n");
    built(&api, &["context"]).status(1).says("nothing");
    context(&api, "FROM busybox\nFLY away\n");
    let answer = api.request("POST", "/build", "", &archive(&api, "--gzip")).expect(400);
    assert!(answer.json()["message"].as_str().unwrap().contains("unknown instruction: FLY"));
    let elsewhere = "/build?dockerfile=elsewhere%2FDockerfile";
    let answer = api.request("POST", elsewhere, "", &archive(&api, "--gzip")).expect(500);
    assert_eq!(answer.json()["message"], "Cannot locate specified Dockerfile: elsewhere/Dockerfile");
    built(&api, &["context"]).status(1).says("unknown instruction: FLY");
    assert_eq!(api.docker(["images", "-q"]).success().stdout.lines().count(), 1);
}

#[test]
fn steps_have_the_limits_that_are_asked_for() {
    let api = served();
    context(
        &api,
        "FROM busybox\nRUN test $(ulimit -n) = 77\nRUN dd if=/dev/zero of=/dev/shm/all bs=1M count=40\n",
    );
    let limits = ["--ulimit", "nofile=77:77", "context"];
    built(&api, &limits).success();
    let limits = [&["--no-cache", "--memory", "10m", "--memory-swap", "10m"], &limits[..]].concat();
    let killed = built(&api, &limits).status(137);
    assert!(killed.stdout.contains("Step 3/3"), "{killed}");
}

#[test]
fn an_image_with_an_inline_cache_is_a_cache() {
    let (api, other) = (served(), served());
    for api in [&api, &other] {
        context(api, "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /made\n");
    }
    built(&api, &["-t", "app", "--build-arg", "BUILDKIT_INLINE_CACHE=1", "context"]).success();
    let saved = api.world.scratch().join("app.tar");
    api.docker(["save", "-o", saved.to_str().unwrap(), "app"]).success();
    other.docker(["load", "-i", saved.to_str().unwrap()]).success();
    let again = built(&other, &["--cache-from", "nothing", "--cache-from", "app", "context"]).success();
    assert_eq!(again.stdout.matches(" ---> Using cache").count(), 1, "{again}");
}

#[test]
fn contexts_come_in_every_form() {
    let api = served();
    context(&api, "FROM busybox\nCOPY Dockerfile /here\n");
    for compression in ["--no-xattrs", "--gzip", "--bzip2", "--xz", "--zstd"] {
        let answer =
            api.request("POST", "/build?t=form&nocache=1", "", &archive(&api, compression)).expect(200);
        let lines: Vec<Value> =
            answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let id = lines.iter().find_map(|line| line["aux"]["ID"].as_str()).expect("an image");
        assert!(id.starts_with("sha256:"), "{compression}");
        assert_eq!(lines.last().unwrap()["stream"], "Successfully tagged form:latest\n", "{compression}");
    }
    let mut command = build(&api, &["-t", "piped", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"FROM busybox\nRUN echo piped > /how\n").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(api.docker(["run", "--rm", "piped", "cat", "/how"]).success().text(), "piped");
    let text = api.request("POST", "/build?t=text", "", b"FROM busybox\nENV A=b\n").expect(200);
    assert!(text.text().contains("Step 2/2 : ENV A=b"), "{}", text.text());
    // A Dockerfile outside of the context goes with it.
    api.world.file("elsewhere/other", "FROM busybox\nCOPY Dockerfile /copied\n");
    built(&api, &["-t", "outside", "-f", "elsewhere/other", "context"]).success();
    let broken = api.request("POST", "/build", "", &archive(&api, "--gzip")[..100]).expect(400);
    assert!(broken.json()["message"].as_str().unwrap().contains("build context"), "{}", broken.text());
}

#[test]
fn what_the_classic_builder_does_not_do_is_refused() {
    let api = served();
    let refused = |query: &str, status: u16| {
        let answer = api.request("POST", &format!("/build?{query}"), "", b"FROM busybox\n").expect(status);
        answer.json()["message"].as_str().unwrap().to_owned()
    };
    assert!(refused("cgroupparent=..%2Fx", 400).starts_with("invalid cgroup parent `../x`: "));
    assert!(refused("memory=1000000", 400).contains("Minimum memory limit allowed is 6MB"));
    assert!(refused("memswap=100000000", 400).contains("Memoryswap"));
    assert!(
        refused("remote=https%3A%2F%2Fexample.com%2Fx.git%23-x", 400).contains("no reference is called so")
    );
    assert_eq!(refused("remote=x", 400), "remoteURL (x) could not be recognized as URL");
    assert_eq!(refused("version=3", 400), "invalid version: \"3\"");
    assert!(refused("outputs=%5B%7B%22Type%22%3A%22tar%22%7D%5D", 501).starts_with("outputs: "));
    assert!(refused("buildargs=none", 400).starts_with("error reading buildargs: "));
    assert!(refused("t=UPPER", 400).contains("must be lowercase"));
    let header = "X-Registry-Config: e30\r\n";
    api.request("POST", "/build", header, b"FROM busybox\n").expect(200);
}

#[test]
fn a_build_ends_with_its_client() {
    let api = served();
    context(&api, "FROM busybox\nRUN echo begun; sleep 1000\n");
    let builds = api.world.run_root().join("builds");
    let running = || std::fs::read_dir(&builds).map_or(0, Iterator::count);
    for target in ["/build", "/build?version=2"] {
        let client = api.begin("POST", target, "", &archive(&api, "--gzip"));
        eventually("the step runs", 60, || (running() > 0).then_some(()));
        drop(client);
        eventually("the build has ended", 60, || (running() == 0).then_some(()));
    }
    assert_eq!(api.get("/containers/json").expect(200).json(), json!([]));
}

#[test]
fn a_posted_build_is_cancelled_by_its_id() {
    let api = served();
    context(&api, "FROM busybox\nRUN echo begun; sleep 1000\n");
    let builds = api.world.run_root().join("builds");
    let cancel = |query: &str| api.request("POST", &format!("/build/cancel{query}"), "", b"");
    assert!(cancel("").expect(400).text().contains("id: it is missing"));
    cancel("?id=other").expect(200);
    let target = "/build?version=2&buildid=slow";
    let mut building = api.begin("POST", target, "Connection: close\r\n", &archive(&api, "--gzip"));
    let running = || std::fs::read_dir(&builds).map_or(0, Iterator::count);
    eventually("the step runs", 60, || (running() > 0).then_some(()));
    cancel("?id=slow").expect(200);
    let mut told = String::new();
    building.read_to_string(&mut told).unwrap();
    assert!(told.contains("errorDetail") && told.contains("cancel"), "{told}");
}

#[test]
fn contexts_come_from_the_web() {
    let api = served();
    context(&api, "FROM busybox\nCOPY Dockerfile /here\n");
    let text = b"FROM busybox\nENV A=b\n".to_vec();
    let address = web(vec![
        ("302 Found\r\nLocation: /moved", Vec::new()),
        ("200 OK", archive(&api, "--gzip")),
        ("200 OK", text),
        ("404 Not Found", Vec::new()),
        ("302 Found\r\nLocation: file:///etc/passwd", Vec::new()),
        ("200 OK", archive(&api, "--xz")),
    ]);
    let remote = format!("remote={}", address.replace(':', "%3A").replace('/', "%2F"));
    let build = |query: &str| api.request("POST", &format!("/build?{query}&{remote}%2Fx"), "", b"");
    let built = build("t=fetched").expect(200).text();
    assert!(built.ends_with("Successfully tagged fetched:latest\\n\"}\r\n"), "{built}");
    api.docker(["run", "--rm", "fetched", "test", "-e", "/here"]).success();
    assert!(build("").expect(200).text().contains("Step 2/2 : ENV A=b"));
    let told = |answer: testkit::Answer| answer.json()["message"].as_str().unwrap().to_owned();
    let missing = told(build("").expect(404));
    let expected =
        format!("error downloading remote context {address}/x: failed to GET {address}/x with status 404");
    assert!(missing.starts_with(&expected), "{missing}");
    assert!(told(build("").expect(400)).contains("it is no address of the web"));
    assert!(build("version=2&t=traced").expect(200).text().contains("moby.image.id"));
    // Nobody listens any more.
    assert!(told(build("").expect(500)).contains(&format!("cannot reach {address}/x")));
    let remote = "/build?remote=http%3A%2F%2Fme%3Ahush%40127.0.0.1%3A1%2Fx";
    let unreachable = told(api.request("POST", remote, "", b"").expect(500));
    assert!(unreachable.contains("@127.0.0.1:1/x") && !unreachable.contains("hush"), "{unreachable}");
}

#[test]
fn added_files_come_from_the_web() {
    let api = served();
    let missing = || ("404 Not Found", Vec::new());
    let address = web(vec![("200 OK", b"fetched".to_vec()), missing(), missing()]);
    context(&api, &format!("FROM busybox\nADD {address}/f /f\n"));
    let build = |query: &str| {
        api.request("POST", &format!("/build?{query}"), "", &archive(&api, "--gzip")).expect(200)
    };
    assert!(build("t=added").text().contains(&format!("Step 2/2 : ADD {address}/f /f")));
    assert_eq!(api.docker(["run", "--rm", "added", "cat", "/f"]).success().text(), "fetched");
    let error = format!("failed to GET {address}/f with status 404");
    let classic = build("t=missing").text();
    assert!(classic.contains(&error), "{classic}");
    let (_, last) = traced(&build("t=missing&version=2"));
    assert!(last["error"].as_str().unwrap().contains(&error), "{last}");
    api.docker(["inspect", "missing"]).status(1);
}

/// What a build of BuildKit's told: its messages, unpacked, and the document in its last line.
fn traced(answer: &testkit::Answer) -> (Vec<u8>, Value) {
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let traces = lines.iter().filter(|line| line["id"] == "moby.buildkit.trace");
    let traces = traces.flat_map(|line| STANDARD.decode(line["aux"].as_str().unwrap()).unwrap()).collect();
    (traces, lines.last().unwrap().clone())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn buildkit_is_asked_in_one_request() {
    let api = served();
    context(&api, "FROM busybox\nARG WHO\nCOPY Dockerfile /here\nRUN echo for $WHO | tee /who\n");
    let post =
        |query: &str| api.request("POST", &format!("/build?version=2&{query}"), "", &archive(&api, "--gzip"));
    let app = "t=app&t=team%2Fapp%3A2&buildargs=%7B%22WHO%22%3A%22me%22%7D&labels=%7B%22a%22%3A%22b%22%7D";
    let answer = post(app).expect(200);
    let (traces, last) = traced(&answer);
    assert!(contains(&traces, "RUN echo for $WHO") && contains(&traces, "for me\n"), "{}", answer.text());
    assert!(contains(&traces, "naming to docker.io/team/app:2"), "{}", answer.text());
    let id = api.docker(["images", "-q", "--no-trunc", "app"]).success().text().to_owned();
    assert_eq!(last, json!({"id": "moby.image.id", "aux": {"ID": id}}));
    assert_eq!(api.docker(["run", "--rm", "team/app:2", "cat", "/who"]).success().text(), "for me");
    assert_eq!(api.docker(["inspect", "-f", "{{.Config.Labels.a}}", "app"]).success().text(), "b");
    let quiet = post(&format!("q=1&{app}")).expect(200);
    assert_eq!(quiet.text(), format!("{}\r\n", json!({"stream": format!("{id}\n")})));

    let before = api.docker(["images", "-aq"]).success().stdout;
    let thrown = post("nocache=1&t=gone&outputs=%5B%7B%22Type%22%3A%22cacheonly%22%7D%5D").expect(200);
    assert_eq!(traced(&thrown).1["id"], "moby.buildkit.trace");
    assert_eq!(api.docker(["images", "-aq"]).success().stdout, before);

    context(&api, "FROM busybox\nRUN echo before; exit 3\n");
    let error = "process \"/bin/sh -c echo before; exit 3\" did not complete successfully: exit code: 3";
    let (traces, last) = traced(&post("").expect(200));
    assert!(contains(&traces, "before\n"));
    assert_eq!(last, json!({"errorDetail": {"message": error}, "error": error}));
    let (_, last) = traced(&post("dockerfile=nothing").expect(200));
    assert_eq!(last["error"], "failed to read dockerfile: open nothing: no such file or directory");
    context(&api, "FROM busybox\nFLY away\n");
    let (_, last) = traced(&post("").expect(200));
    assert_eq!(last["error"], "dockerfile parse error on line 2: unknown instruction: FLY");

    let refused =
        |query: &str, status: u16| post(query).expect(status).json()["message"].as_str().unwrap().to_owned();
    assert!(refused("remote=client-session", 400).starts_with("session: "));
    assert!(refused("outputs=%5B%7B%22Type%22%3A%22local%22%7D%5D", 400).starts_with("session: "));
    assert!(refused("outputs=%5B%7B%22Type%22%3A%22x%22%7D%5D", 400).starts_with("output type=x"));
    assert!(
        refused("outputs=%5B%7B%22Type%22%3A%22tar%22%7D%2C%7B%22Type%22%3A%22oci%22%7D%5D", 400)
            .starts_with("multiple outputs")
    );
    // Nobody brings it, and nobody asks for it.
    assert!(refused("remote=upload-request&buildid=x", 400).starts_with("remote: "));
    assert!(refused("buildid=upload-request%3Ax", 404).starts_with("buildid: "));
}

/// Debian's client has no buildx: its BuildKit is this request, with the files on a session.
#[test]
fn the_client_that_speaks_buildkit_itself_builds() {
    let api = served();
    api.world.file("context/kept", "kept\n");
    api.world.file("context/left", "left\n");
    api.world.file("context/.dockerignore", "left\n");
    api.world.file("key", "hush");
    context(
        &api,
        "FROM busybox\nCOPY . /all/\nRUN --mount=type=secret,id=key grep hush /run/secrets/key && ls /all\n",
    );
    let docker = |words: &[&str]| {
        let mut docker = Command::new("/usr/bin/docker");
        docker.current_dir(api.world.scratch()).env("DOCKER_BUILDKIT", "1");
        docker.env("DOCKER_HOST", api.host()).env("DOCKER_CONFIG", api.world.docker_config());
        docker.args(["build", "--progress", "plain", "--secret", "id=key,src=key"]).args(words);
        docker
    };
    let built = |words: &[&str]| Output::of(docker(words).arg("context"));
    let output = built(&["-t", "app"]).success();
    assert!(output.stderr.contains("naming to docker.io/library/app:latest"), "{output}");
    assert_eq!(api.docker(["run", "--rm", "app", "ls", "/all"]).success().text(), "Dockerfile\nkept");
    built(&["-o", "files"]).success();
    let archived = testkit::with_input(docker(&["-t", "sent", "-"]), &archive(&api, "--no-xattrs"));
    archived.success();
    assert_eq!(api.docker(["run", "--rm", "sent", "ls", "/all"]).success().text(), "Dockerfile\nkept");
    assert!(api.world.scratch().join("files/all/kept").exists());
    context(&api, "FROM busybox\nRUN exit 3\n");
    built(&[]).status(1).says("did not complete successfully: exit code: 3");
}
