//! The classic builder: Docker's client without BuildKit, and requests with archives.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{Api, Output, eventually};

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
    assert!(refused("cgroupparent=x", 501).starts_with("cgroupparent: "));
    assert!(refused("memory=1000000", 400).contains("Minimum memory limit allowed is 6MB"));
    assert!(refused("memswap=100000000", 400).contains("Memoryswap"));
    assert!(refused("remote=https%3A%2F%2Fexample.com%2Fx.git", 501).starts_with("remote: "));
    assert!(refused("buildargs=none", 400).starts_with("error reading buildargs: "));
    assert!(refused("t=UPPER", 400).contains("must be lowercase"));
    let header = "X-Registry-Config: e30\r\n";
    api.request("POST", "/build", header, b"FROM busybox\n").expect(200);
}

#[test]
fn a_build_ends_with_its_client() {
    let api = served();
    context(&api, "FROM busybox\nRUN echo begun; sleep 1000\n");
    let client = api.begin("POST", "/build", "", &archive(&api, "--gzip"));
    let builds = api.world.run_root().join("builds");
    let running = || std::fs::read_dir(&builds).map_or(0, Iterator::count);
    eventually("the step runs", 60, || (running() > 0).then_some(()));
    drop(client);
    eventually("the build has ended", 60, || (running() == 0).then_some(()));
    assert_eq!(api.get("/containers/json").expect(200).json(), json!([]));
}
