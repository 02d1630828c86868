//! Images: listed, moved through archives and registries, made of archives and containers, removed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use testkit::{Answer, Registry, busybox_tar, eventually};

use crate::served;

/// The documents of a stream.
fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the lines of a stream say of layers and of the whole, the layers' in any order.
fn statuses(answer: &Answer) -> Vec<String> {
    let mut all: Vec<String> =
        lines(answer).iter().filter_map(|line| line["status"].as_str().map(str::to_owned)).collect();
    all.retain(|status| !matches!(status.as_str(), "Pushing" | "Downloading"));
    all
}

fn auth(document: &Value) -> String {
    format!("X-Registry-Auth: {}\r\n", URL_SAFE.encode(document.to_string()))
}

#[test]
fn archives_lead_out_and_in_again() {
    let api = served();
    api.docker(["tag", "busybox", "team/app/tool:1"]).success();
    let file = api.world.scratch().join("both.tar");
    api.docker(["save", "-o", &file.to_string_lossy(), "busybox", "team/app/tool:1"]).success();
    let before = api.docker(["images", "-q", "--no-trunc"]).success().stdout;
    let removed = api.docker(["rmi", "busybox", "team/app/tool:1"]).success();
    let id = before.lines().next().unwrap();
    assert!(removed.stdout.starts_with("Untagged: busybox:latest\nUntagged: team/app/tool:1\n"), "{removed}");
    assert!(removed.stdout.contains(&format!("Deleted: {id}\n")), "{removed}");
    let loaded = api.docker(["load", "-i", &file.to_string_lossy()]).success();
    assert_eq!(loaded.stdout, "Loaded image: busybox:latest\nLoaded image: team/app/tool:1\n");
    assert_eq!(api.docker(["images", "-q", "--no-trunc"]).success().stdout, before);
    // By its id an image has no name in the archive; a path of several names is one.
    let one = api.get(&format!("/images/{id}/get")).expect(200);
    fs::write(&file, one.body).unwrap();
    api.docker(["rmi", "-f", "busybox", "team/app/tool:1"]).success();
    let loaded = api.docker_with_input(["load"], &fs::read(&file).unwrap()).success();
    assert_eq!(loaded.text(), format!("Loaded image ID: {id}"));
    let missing = api.get("/images/get?names=busybox&names=nothing").expect(404).json();
    assert_eq!(missing["message"], "No such image: busybox:latest");
    let wrong = api.request("POST", "/images/load", "", b"this is no archive").expect(400).json();
    assert!(wrong["message"].as_str().unwrap().contains("archive"), "{wrong}");
}

#[test]
fn archives_and_containers_become_images() {
    let api = served();
    let target = "/images/create?fromSrc=-&repo=made&tag=1&message=by+hand&changes=CMD+%5B%22true%22%5D&changes=ENV+A%3Db";
    let imported = api.request("POST", target, "", &fs::read(busybox_tar()).unwrap()).expect(200);
    let id = lines(&imported)[0]["status"].as_str().unwrap().to_owned();
    let image = api.get("/images/made:1/json").expect(200).json();
    assert_eq!((&image["Id"], &image["Comment"]), (&json!(id), &json!("by hand")));
    assert_eq!(image["Config"], json!({"Cmd": ["true"], "Env": ["A=b"]}));
    let refused = api.request("POST", "/images/create?fromSrc=http%3A%2F%2Fx%2Fy.tar", "", b"").expect(501);
    assert!(refused.json()["message"].as_str().unwrap().starts_with("fromSrc: "));
    api.request("POST", "/images/create?fromSrc=-&repo=made&changes=FLY+away", "", b"").expect(400);

    api.docker(["run", "--name", "box", "-e", "OWN=1", "busybox", "touch", "/written"]).success();
    let words = ["commit", "-m", "note", "-a", "me", "-c", "LABEL kept=yes", "box", "made:2"];
    let id = api.docker(words).success().text().to_owned();
    let image = api.get(&format!("/images/{id}/json")).expect(200).json();
    assert_eq!(image["Config"]["Env"].as_array().unwrap().last().unwrap(), "OWN=1");
    assert_eq!(
        (&image["Config"]["Cmd"], &image["Config"]["Labels"]),
        (&json!(["touch", "/written"]), &json!({"kept": "yes"}))
    );
    api.docker(["run", "--rm", "made:2", "test", "-e", "/written"]).success();
    let body = json!({"Env": ["OWN=2"], "Cmd": ["env"], "Hostname": "not an image's"});
    let made = api.post("/commit?container=box&repo=made&tag=3", &body).expect(201).json();
    let config = api.get("/images/made:3/json").expect(200).json()["Config"].clone();
    assert!(made["Id"].as_str().unwrap().starts_with("sha256:"));
    assert!(config["Env"].as_array().unwrap().contains(&json!("OWN=2")), "{config}");
    assert_eq!((&config["Cmd"], &config["Hostname"]), (&json!(["env"]), &Value::Null));
    api.post("/commit?container=nobody", &json!(null)).expect(404);
    let history = api.get("/images/made:2/history").expect(200).json();
    assert_eq!((&history[0]["Id"], &history[0]["Comment"]), (&json!(id), &json!("note")));
    assert_eq!(history[1]["Id"], "<missing>");
}

#[test]
fn answers_are_shaped_by_their_version() {
    let api = served();
    api.docker(["tag", "busybox", "other"]).success();
    let of = |version: &str| api.get(&format!("/v{version}/images/busybox/json")).expect(200).json();
    let newest = of("1.50");
    assert_eq!(newest["Descriptor"]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(newest["Config"].get("Hostname"), None);
    let old = of("1.41");
    assert_eq!(old["VirtualSize"], old["Size"]);
    assert_eq!((&old["Config"]["Hostname"], &old["Config"]["Labels"]), (&json!(""), &Value::Null));
    assert_eq!(old["ContainerConfig"]["Tty"], false);
    assert_eq!(old.get("Descriptor"), None);
    let full = api.get("/images/busybox/json?manifests=1").expect(200).json();
    assert_eq!(full["Manifests"][0]["Descriptor"], newest["Descriptor"]);
    assert_eq!(full["Manifests"][0]["ImageData"]["Size"]["Unpacked"], newest["Size"]);

    api.docker(["rmi", "other"]).success();
    let layer = api.world.hull(["run", "--name", "one", "busybox", "touch", "/x"]);
    layer.success();
    let id = api.docker(["commit", "one"]).success().text().to_owned();
    let list = |target: &str| {
        let list = api.get(target).expect(200).json();
        list.as_array().unwrap().iter().find(|image| image["Id"] == *id).unwrap().clone()
    };
    let dangling = list("/v1.42/images/json?shared-size=1");
    assert_eq!(dangling["RepoTags"], json!(["<none>:<none>"]));
    let size = dangling["Size"].as_u64().unwrap();
    assert_eq!(dangling["SharedSize"].as_u64(), newest["Size"].as_u64());
    assert!(size >= dangling["SharedSize"].as_u64().unwrap());
    assert_eq!(list("/images/json")["RepoTags"], json!([]));
    let named = api.get("/v1.40/images/json?filter=busybox").expect(200).json();
    assert_eq!(named.as_array().unwrap().len(), 1);
    api.get("/images/json?filters=%7B%22color%22:%5B%22red%22%5D%7D").expect(400);
    api.docker(["rm", "one"]).success();
    let pruned = api.post("/images/prune", &json!(null)).expect(200).json();
    assert_eq!(pruned["ImagesDeleted"][0]["Deleted"], id);
    assert!(pruned["SpaceReclaimed"].is_u64());
    let nothing = api.post("/images/prune", &json!(null)).expect(200).json();
    assert_eq!(nothing, json!({"ImagesDeleted": null, "SpaceReclaimed": 0}));

    let usage = api.get("/system/df?type=image").expect(200).json();
    assert_eq!(usage["Images"].as_array().unwrap().len(), 1);
    assert_eq!(usage.get("Volumes"), None);
    api.get("/system/df?type=planet").expect(400);
    assert!(api.get("/v1.41/system/df").expect(200).json()["BuilderSize"].is_u64());
    api.docker(["system", "df", "-v"]).success();
    let refused = api.post("/build/prune?keep-storage=5", &json!(null)).expect(501).json();
    assert!(refused["message"].as_str().unwrap().starts_with("keep-storage: "));
}

#[test]
fn an_upload_that_stalls_holds_no_prune_up() {
    let api = served();
    let mut client = UnixStream::connect(api.socket()).unwrap();
    client
        .write_all(b"POST /images/load HTTP/1.1\r\nHost: docker\r\nContent-Length: 1000\r\n\r\nbegun")
        .unwrap();
    let has_begun = || fs::read_dir(api.world.data_root().join("tmp")).unwrap().count() > 0;
    eventually("the load has begun", 60, || has_begun().then_some(()));
    for request in ["/build/prune", "/images/prune", "/containers/prune"] {
        api.post(request, &json!(null)).expect(200);
    }
    drop(client);
    eventually("the load has ended", 60, || (!has_begun()).then_some(()));
}

#[test]
fn pushes_and_pulls_tell_what_docker_tells() {
    let api = served();
    let registry = Registry::start();
    let name = registry.reference("team/box");
    api.docker(["tag", "busybox", &format!("{name}:1")]).success();
    let push = api.request("POST", &format!("/images/{name}/push?tag=1"), &auth(&json!({})), b"").expect(200);
    let said = statuses(&push);
    assert_eq!(said[0], format!("The push refers to repository [{name}]"));
    assert!(said.contains(&"Pushed".to_owned()), "{said:?}");
    let aux = lines(&push).last().unwrap()["aux"].clone();
    assert_eq!(aux["Tag"], "1");
    let end = format!("1: digest: {} size: {}", aux["Digest"].as_str().unwrap(), aux["Size"]);
    assert_eq!(*said.last().unwrap(), end);
    let again = api.docker(["push", &format!("{name}:1")]).success();
    assert!(again.stdout.contains("Layer already exists") && again.stdout.contains(&end), "{again}");

    let remote = api.get(&format!("/distribution/{name}:1/json")).expect(200).json();
    assert_eq!(remote["Descriptor"]["digest"], aux["Digest"]);
    assert_eq!(remote["Platforms"][0]["os"], "linux");

    api.docker(["rmi", "busybox", &format!("{name}:1")]).success();
    let pull = api.request("POST", &format!("/images/create?fromImage={name}&tag=1"), "", b"").expect(200);
    let said = statuses(&pull);
    let digest = aux["Digest"].as_str().unwrap();
    let expected = [
        "Pulling from team/box".to_owned(),
        "Pulling fs layer".to_owned(),
        "Pull complete".to_owned(),
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}:1"),
    ];
    assert_eq!(said, expected);
    assert_eq!(lines(&pull)[0]["id"], "1");
    // Without a tag, all of them; and by digest.
    api.docker(["tag", &format!("{name}:1"), &format!("{name}:2")]).success();
    api.docker(["push", "-a", &name]).success();
    api.docker(["rmi", "-f", &format!("{name}:1"), &format!("{name}:2")]).success();
    let all = api.docker(["pull", "-a", &name]).success();
    assert_eq!(all.stdout.matches("Status: ").count(), 2, "{all}");
    api.docker(["rmi", "-f", &format!("{name}:1"), &format!("{name}:2")]).success();
    api.docker(["pull", &format!("{name}@{digest}")]).success();
    let digests = api.docker(["images", "--digests", "--format", "{{.Repository}} {{.Digest}}"]).success();
    assert_eq!(digests.text(), format!("{name} {digest}"));
    // The client leaves out the fraction of the second that it is now.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let events = api.docker([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "type=image",
        "--format",
        "{{.Action}}",
    ]);
    let events = events.success();
    for action in ["tag", "push", "pull", "untag"] {
        assert!(events.stdout.lines().any(|line| line == action), "{action}: {events}");
    }
}

#[test]
fn a_failure_is_the_answer_or_its_last_line() {
    let api = served();
    let registry = Registry::start();
    let missing = registry.reference("nothing");
    let answer =
        api.request("POST", &format!("/images/create?fromImage={missing}&tag=1"), "", b"").expect(404);
    assert!(answer.json()["message"].as_str().unwrap().contains("not found"), "{}", answer.text());
    api.docker(["pull", &missing]).status(1);
    let push = api.request("POST", &format!("/images/{missing}/push?tag=1"), "", b"").expect(200);
    let end = lines(&push).last().unwrap().clone();
    assert_eq!(end["error"], end["errorDetail"]["message"]);
    assert!(end["error"].as_str().unwrap().contains("nothing"), "{end}");
    api.docker(["push", &missing]).status(1).says("nothing");
    let header = "X-Registry-Auth: !!!\r\n";
    let answer = api.request("POST", "/images/create?fromImage=x&tag=1", header, b"").expect(400);
    assert!(answer.json()["message"].as_str().unwrap().contains("x-registry-auth"), "{}", answer.text());
    api.request("POST", "/images/create?fromImage=UPPER&tag=1", "", b"").expect(400);
    api.request("POST", "/images/create", "", b"").expect(400);
    api.request("POST", "/images/busybox/tag?repo=x&tag=not+a+tag", "", b"").expect(400);
    api.request("POST", "/images/nothing/tag?repo=x", "", b"").expect(404);
    api.request("DELETE", "/images/nothing", "", b"").expect(404);
    api.get("/images/search?term=x&limit=101").expect(400);
    api.get("/images/search").expect(400);
}

#[test]
fn registries_are_shown_the_credentials_of_the_client() {
    let api = served();
    let registry = Registry::with_password(&api.world);
    let name = registry.reference("kept");
    // What the server's own user has logged in to is none of its clients' business.
    api.world.hull(["login", "-u", "alice", "-p", "secret", registry.address()]).success();
    api.docker(["tag", "busybox", &name]).success();
    let push = |headers: &str| {
        let push = api.request("POST", &format!("/images/{name}/push?tag=latest"), headers, b"").expect(200);
        lines(&push).last().unwrap().clone()
    };
    let refused = |end: &Value| {
        let error = end["error"].as_str().unwrap_or_default();
        assert!(error.contains("unauthorized") || error.contains("denied"), "{end}");
    };
    refused(&push(""));
    let wrong = auth(&json!({"username": "alice", "password": "guess"}));
    refused(&push(&wrong));
    assert_eq!(push(&auth(&json!({"username": "alice", "password": "secret"})))["aux"]["Tag"], "latest");
    // Docker's client reads the login from the same file, and sends it.
    api.docker(["pull", &name]).success();
    let body = |password: &str| json!({"username": "alice", "password": password, "serveraddress": registry.address()});
    let login = api.post("/auth", &body("secret")).expect(200).json();
    assert_eq!(login["Status"], "Login Succeeded");
    api.post("/auth", &body("guess")).expect(401);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let api = served();
    let archive = fs::read(busybox_tar()).unwrap();
    for target in ["/images/load", "/images/create?fromSrc=-&repo=half"] {
        let mut client = UnixStream::connect(api.socket()).unwrap();
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\n\r\n", archive.len());
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(&archive[..archive.len() / 2]).unwrap();
        drop(client);
    }
    let busy = || fs::read_dir(api.world.data_root().join("tmp")).unwrap().count();
    eventually("nothing is being made", 20, || (busy() == 0).then_some(()));
    assert_eq!(api.docker(["images", "-q"]).success().stdout.lines().count(), 1);
}

/// The same server is asked for what it cannot give by somebody who does not read.
#[test]
fn who_does_not_read_an_archive_holds_nobody_up() {
    let api = served();
    let mut slow = api.begin("GET", "/images/busybox/get", "", b"");
    let mut head = [0; 15];
    slow.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(api.get("/_ping").expect(200).text(), "OK");
    api.docker(["tag", "busybox", "meanwhile"]).success();
    drop(slow);
}

#[test]
fn a_pull_and_a_push_end_with_their_client() {
    let api = served();
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("127.0.0.1:{}/box", silent.local_addr().unwrap().port());
    api.docker(["tag", "busybox", &name]).success();
    let working = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", api.pid())).unwrap().flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "api stream").count()
    };
    for target in
        [format!("/images/create?fromImage={name}&tag=1"), format!("/images/{name}/push?tag=latest")]
    {
        let client = api.begin("POST", &target, "", b"");
        drop(silent.accept().unwrap());
        let _asked = silent.accept().unwrap();
        assert!(working() > 0, "{target}");
        drop(client);
        eventually("it has ended", 20, || (working() == 0).then_some(()));
    }
}

#[test]
fn an_image_is_shown_for_the_platform_that_is_asked_for() {
    let api = served();
    let own = api.docker(["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", "busybox"]).success();
    let id =
        |platform: &str| api.docker(["image", "inspect", "--platform", platform, "-f", "{{.Id}}", "busybox"]);
    assert!(id(own.text()).success().text().starts_with("sha256:"));
    let told = format!(
        "image with reference busybox was found but its platform ({}) does not match the specified platform (linux/s390x)",
        own.text()
    );
    id("linux/s390x").status(1).says(&told);
    for words in [["history"].as_slice(), &["image", "inspect"]] {
        let args = |platform| [words, &["--platform", platform, "busybox"]].concat();
        api.docker(args(own.text())).success();
        api.world.hull(args(own.text())).success();
        api.docker(args("linux/s390x")).status(1).says(&told);
        api.world.hull(args("linux/s390x")).status(1).says(&told);
    }
    let other = "platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    api.get(&format!("/v1.50/images/busybox/json?manifests=1&{other}")).expect(400);
    api.get("/v1.50/images/busybox/json?platform=linux").expect(400);
    // Who does not know it yet does not mean it.
    api.get(&format!("/v1.48/images/busybox/json?{other}")).expect(200);
    api.get(&format!("/v1.47/images/busybox/history?{other}")).expect(200);
}
