//! Git repositories as contexts of builds, from a `git daemon` of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use testkit::{Output, World, eventually};

use crate::served;

/// Repositories in a directory of the world's, and who serves them.
struct Daemon {
    directory: PathBuf,
    port: u16,
    process: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs git, without anybody's configuration.
fn git(directory: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    let quiet = ["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "init.defaultBranch=main"];
    command.args(quiet).args(args).current_dir(directory);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    Output::of(&mut command).success().text().to_owned()
}

impl Daemon {
    /// Serves `app.git`, whose image tells by `/which` what of it was built, and `lib.git`, a part of it.
    fn start(world: &World) -> Self {
        let directory = world.scratch().join("served");
        let exec = git(&world.scratch(), &["--exec-path"]);
        fs::create_dir(&directory).unwrap();
        let mut daemon = None;
        eventually("git serves", 20, || {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let process = Command::new(Path::new(&exec).join("git-daemon"))
                .args([
                    "--listen=127.0.0.1",
                    &format!("--port={port}"),
                    "--export-all",
                    "--informative-errors",
                ])
                .arg(format!("--base-path={}", directory.display()))
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Another process may have taken the port meanwhile.
            let mut started = Self { directory: directory.clone(), port, process };
            let is_there = || TcpStream::connect(("127.0.0.1", port)).ok();
            while started.process.try_wait().unwrap().is_none() {
                if is_there().is_some() {
                    daemon = Some(started);
                    return Some(());
                }
                std::thread::yield_now();
            }
            None
        });
        let daemon = daemon.expect("it has started");
        let dockerfile = "FROM busybox\nCOPY . /all/\nCMD [\"cat\", \"/all/which\"]\n";
        daemon.write("lib", &[("word", "from the library\n")]);
        let library = daemon.commit("lib");
        daemon.write("app", &[("which", "first\n"), ("Dockerfile", dockerfile)]);
        daemon.commit("app");
        let below = dockerfile.replace("cat", "head");
        let files =
            [("sub/which", "below\n"), ("sub/Dockerfile", &below), (".dockerignore", "left\n"), ("left", "")];
        daemon.write("app", &files);
        daemon.write("app", &[("which", "second\n")]);
        let app = daemon.repository("app");
        std::os::unix::fs::symlink("sub", app.join("link")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../../etc", app.join("out")).unwrap();
        daemon.commit("app");
        git(&app, &["tag", "-m", "a version", "v2"]);
        daemon.write("app", &[("which", "third\n")]);
        daemon.commit("app");
        git(&app, &["checkout", "-q", "-b", "other"]);
        daemon.write(
            "app",
            &[("which", "other\n"), (".gitmodules", "[submodule \"lib\"]\npath = lib\nurl = ../lib.git\n")],
        );
        git(&app, &["update-index", "--add", "--cacheinfo", &format!("160000,{library},lib")]);
        daemon.commit("app");
        git(&app, &["checkout", "-q", "main"]);
        daemon
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.git"))
    }

    fn write(&self, name: &str, files: &[(&str, &str)]) {
        let repository = self.repository(name);
        if !repository.exists() {
            fs::create_dir_all(&repository).unwrap();
            git(&repository, &["init", "-q"]);
        }
        for (path, text) in files {
            fs::create_dir_all(repository.join(path).parent().unwrap()).unwrap();
            fs::write(repository.join(path), text).unwrap();
        }
    }

    /// Commits what there is and returns the commit's id.
    fn commit(&self, name: &str) -> String {
        let repository = self.repository(name);
        git(&repository, &["add", "--ignore-removal", "."]);
        git(&repository, &["commit", "-q", "-m", "change"]);
        git(&repository, &["rev-parse", "HEAD"])
    }

    /// The address of a repository, with what follows its name.
    fn address(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

/// The temporary directories of the world.
fn temporary(world: &World) -> Vec<PathBuf> {
    fs::read_dir(world.data_root().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// `address` in a query.
fn quoted(address: &str) -> String {
    address.replace(':', "%3A").replace('/', "%2F").replace('#', "%23")
}

#[test]
fn every_name_of_a_revision_is_built() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let daemon = Daemon::start(&world);
    let first = git(&daemon.repository("app"), &["rev-list", "--max-parents=0", "HEAD"]);
    for (fragment, which) in [
        ("", "third"),
        ("#main", "third"),
        ("#v2", "second"),
        ("#refs/heads/other", "other"),
        (&format!("#{first}"), "first"),
        ("#:sub", "below"),
        ("#v2:link", "below"),
        ("?branch=other", "other"),
        ("?tag=v2&subdir=sub", "below"),
    ] {
        let address = daemon.address("app.git") + fragment;
        let built = world.hull(["build", "-t", "app", "--progress=plain", &address]).success();
        let source = daemon.address("app.git");
        assert!(built.stderr.contains(&format!("[internal] load git source {source}")), "{built}");
        assert_eq!(world.hull(["run", "--rm", "app"]).success().text(), which, "{fragment}");
    }
    let told =
        world.hull(["build", "--progress=plain", &daemon.address(&format!("app.git#{first}"))]).success();
    assert!(told.stderr.lines().any(|line| line.starts_with("#1 ") && line.ends_with(&first)), "{told}");
    // Its part is there, its history is not, nor what it ignores.
    world.hull(["build", "-q", "-t", "app", &daemon.address("app.git#other")]).success();
    let listed = world.hull(["run", "--rm", "app", "ls", "-A", "/all"]).success();
    assert!(listed.stdout.contains("lib\n") && listed.stdout.contains("which\n"), "{listed}");
    assert!(!listed.stdout.contains("left") && !listed.stdout.contains(".git\n"), "{listed}");
    let word = world.hull(["run", "--rm", "app", "cat", "/all/lib/word"]).success();
    assert_eq!(word.text(), "from the library");
    let again = world.hull(["build", "--progress=plain", &daemon.address("app.git#other")]).success();
    assert!(again.stderr.contains("CACHED"), "{again}");
    // Modes are git's and not those of whoever builds.
    let own = world.command(["build", "--progress=plain", &daemon.address("app.git#other")]);
    let mut strict = Command::new("sh");
    strict.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(own.get_program()).args(own.get_args());
    strict.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let strict = Output::of(&mut strict).success();
    assert!(strict.stderr.contains("CACHED"), "{strict}");
    // Another Dockerfile of the repository's, and the repository beside another context.
    world.hull(["build", "-q", "-t", "app", "-f", "sub/Dockerfile", &daemon.address("app.git")]).success();
    assert_eq!(world.inspect("app", "{{json .Config.Cmd}}"), "[\"head\",\"/all/which\"]");
    world.file("context/Dockerfile", "FROM busybox\nCOPY --from=side . /side/\n");
    let side = format!("side={}", daemon.address("app.git#v2"));
    let context = world.scratch().join("context");
    world.hull(["build", "-q", "-t", "app", "--build-context", &side, context.to_str().unwrap()]).success();
    let told = world.hull(["run", "--rm", "app", "cat", "/side/which"]).success();
    assert_eq!(told.text(), "second");
    world.hull(["run", "--rm", "app", "test", "-e", "/side/left"]).status(1);
    let keep = ["build", "-q", "-t", "app", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"];
    world.hull([&keep[..], &[&daemon.address("app.git")]].concat()).success();
    world.hull(["run", "--rm", "app", "test", "-s", "/all/.git/HEAD"]).success();
    assert!(temporary(&world).is_empty());
}

#[test]
fn a_commit_is_found_where_servers_do_not_give_it() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let daemon = Daemon::start(&world);
    let first = git(&daemon.repository("app"), &["rev-list", "--max-parents=0", "HEAD"]);
    // The protocol in which servers refuse it; the user's own configuration is heeded.
    let configuration = world.file("gitconfig", "[protocol]\nversion = 0\n");
    let build = |commit: &str| {
        let address = daemon.address("app.git#") + commit;
        let mut command = world.command(["build", "-t", "app", "--progress=plain", &address]);
        Output::of(command.env("GIT_CONFIG_GLOBAL", &configuration))
    };
    let built = build(&first).success();
    assert!(built.stderr.contains("Server does not allow request"), "{built}");
    assert_eq!(world.hull(["run", "--rm", "app"]).success().text(), "first");
    let missing = build(&"1".repeat(40)).status(1);
    assert!(missing.stderr.contains("error: cannot clone git://127.0.0.1:"), "{missing}");
}

#[test]
fn what_cannot_be_cloned_says_why() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let daemon = Daemon::start(&world);
    // A repository that is here, but not for those who name it.
    let library = daemon.repository("lib");
    let submodule = format!("[submodule \"lib\"]\npath = lib\nurl = {}\n", library.display());
    daemon.write("local", &[("Dockerfile", "FROM busybox\n"), (".gitmodules", &submodule)]);
    let commit = git(&library, &["rev-parse", "HEAD"]);
    git(
        &daemon.repository("local"),
        &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},lib")],
    );
    daemon.commit("local");
    for (rest, says) in [
        ("app.git#nowhere", "couldn't find remote ref nowhere"),
        ("nothing.git", "remote error: no such repository: /nothing.git"),
        ("local.git", "transport 'file' not allowed"),
        ("app.git#:nowhere", "it has no directory nowhere"),
        ("app.git#:out", "it has no directory out"),
        ("app.git#:which", "it has no directory which"),
        ("app.git#:../..", "its subdirectory leads out of it"),
        ("app.git#--upload-pack=touch", "no reference is called so"),
    ] {
        let address = daemon.address(rest);
        let refused = world.hull(["build", "--progress=plain", &address]).status(1);
        assert!(refused.stderr.contains(says), "{refused}");
        assert!(temporary(&world).is_empty(), "{rest}");
    }
    let mut alone = world.command(["build", &daemon.address("app.git")]);
    let alone = Output::of(alone.env("PATH", world.scratch().join("nothing"))).status(1);
    assert!(alone.stderr.contains("the program git is not on the PATH"), "{alone}");
    assert!(alone.stderr.contains("hint: install git"), "{alone}");
    assert!(temporary(&world).is_empty());
    // Credentials are shown nowhere, whatever fails.
    let address = format!("http://me:hidden@127.0.0.1:{}/app.git#main", daemon.port);
    let refused = world.hull(["build", "--progress=plain", &address]).status(1);
    assert!(refused.stderr.contains("load git source http://xxxxx:xxxxx@127.0.0.1"), "{refused}");
    assert!(!refused.stderr.contains("hidden"), "{refused}");
}

#[test]
fn repositories_are_added() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let daemon = Daemon::start(&world);
    let build = |rest: &str| {
        let address = daemon.address(rest);
        let file =
            world.file("Dockerfile", &format!("FROM busybox\nADD --chown=7:8 {address} own /added/\n"));
        world.file("own", "own\n");
        let context = file.parent().unwrap().to_str().unwrap().to_owned();
        world.hull(["build", "-t", "added", "--progress=plain", &context])
    };
    let first = build("app.git#v2").success();
    assert!(first.stderr.contains("-> FETCH_HEAD") && !first.stderr.contains("CACHED"), "{first}");
    let script = "cd /added; cat which sub/which own; stat -c %u:%g sub/which; ls -A";
    let told = world.hull(["run", "--rm", "added", "sh", "-c", script]).success();
    assert!(told.stdout.starts_with("second\nbelow\nown\n7:8\n"), "{told}");
    // What the repository ignores is for contexts.
    assert!(told.stdout.contains("\nleft\n") && !told.stdout.contains("\n.git\n"), "{told}");
    let again = build("app.git#v2").success();
    assert!(again.stderr.contains("CACHED"), "{again}");
    build("app.git#other:sub").success();
    let told = world.hull(["run", "--rm", "added", "cat", "/added/which"]).success();
    assert_eq!(told.text(), "below");
    let missing = build("app.git#nowhere").status(1);
    assert!(missing.stderr.contains("couldn't find remote ref nowhere"), "{missing}");
    assert!(temporary(&world).is_empty());
}

#[test]
fn a_token_shows_who_asks() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = server.local_addr().unwrap().to_string();
    let asked = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..3 {
            let (mut client, _) = server.accept().unwrap();
            let lines = BufReader::new(&client).lines().map_while(Result::ok);
            heads.push(lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"));
            client
                .write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
        heads
    });
    let address = format!("http://{host}/app.git");
    for id in
        ["GIT_AUTH_TOKEN".to_owned(), format!("GIT_AUTH_HEADER.{host}"), "GIT_AUTH_TOKEN.other".to_owned()]
    {
        let mut command = world.command(["build", "--secret", &format!("id={id},env=TOKEN"), &address]);
        let refused = Output::of(command.env("TOKEN", "letters").env("no_proxy", "127.0.0.1")).status(1);
        assert!(refused.stderr.contains("not found") && !refused.stderr.contains("letters"), "{refused}");
    }
    let heads = asked.join().unwrap();
    let token = "Authorization: basic eC1hY2Nlc3MtdG9rZW46bGV0dGVycw==";
    assert!(heads[0].lines().any(|line| line == token), "{}", heads[0]);
    assert!(heads[1].lines().any(|line| line == "Authorization: letters"), "{}", heads[1]);
    assert!(!heads[2].contains("Authorization"), "{}", heads[2]);
}

#[test]
fn a_clone_ends_with_its_build() {
    let api = served();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("git://{}/app.git", silent.local_addr().unwrap());
    let programs = || {
        let all = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok());
        let theirs = |line: &Vec<u8>| {
            line.starts_with(b"git") && line.windows(address.len()).any(|part| part == address.as_bytes())
        };
        all.filter(theirs).count()
    };
    let world = &api.world;
    let mut connected = Vec::new();
    let mut begun = |what: &str| {
        connected.push(silent.accept().unwrap());
        assert_eq!(temporary(world).len(), 2, "{what}");
    };
    let ended = || {
        eventually("nothing is left", 60, || temporary(world).is_empty().then_some(()));
        eventually("git has ended", 60, || (programs() == 0).then_some(()));
    };
    let building = world.spawn(["build", &address]);
    begun("hull build");
    building.signal("INT");
    building.finish().status(130);
    ended();
    let building = world.spawn(["build", &address]);
    begun("a killed hull build");
    building.signal("KILL");
    building.finish();
    eventually("git has ended", 60, || (programs() == 0).then_some(()));
    world.hull(["system", "prune", "-f"]).success();
    ended();
    for version in [1, 2] {
        let target = format!("/build?version={version}&buildid=slow&remote={}", quoted(&address));
        let client = api.begin("POST", &target, "", b"");
        begun(&target);
        drop(client);
        ended();
        let client = api.begin("POST", &target, "", b"");
        begun(&target);
        if version == 2 {
            api.request("POST", "/build/cancel?id=slow", "", b"").expect(200);
            ended();
        }
        drop(client);
        ended();
    }
}

#[test]
fn clients_name_repositories() {
    let api = served();
    api.install_plugins();
    let daemon = Daemon::start(&api.world);
    let which = |image: &str| api.docker(["run", "--rm", image]).success().text().to_owned();
    let address = |rest: &str| quoted(&daemon.address(rest));
    let classic = |query: &str| api.request("POST", &format!("/build?{query}"), "", b"");

    let told = classic(&format!("t=classic&remote={}", address("app.git#v2"))).expect(200).text();
    assert!(told.starts_with("{\"stream\":\"Step 1/3 : FROM busybox\"}"), "{told}");
    assert_eq!(which("classic"), "second");
    let refused = classic(&format!("remote={}", address("app.git#nowhere"))).expect(500).json();
    let said = refused["message"].as_str().unwrap();
    assert!(said.ends_with("#nowhere: couldn't find remote ref nowhere"), "{said}");
    classic(&format!("remote={}", address("app.git#-x"))).expect(400);
    let told = classic(&format!("version=2&t=posted&remote={}", address("app.git#other"))).expect(200);
    assert!(told.text().contains("moby.image.id"), "{}", told.text());
    assert_eq!(which("posted"), "other");

    let build = |args: &[&str]| api.docker([&["build", "--progress=plain"], args].concat());
    let source = daemon.address("app.git#v2:sub");
    let built = build(&["-t", "buildx", &source]).success();
    assert!(built.stderr.contains(&format!("[internal] load git source {source}")), "{built}");
    assert_eq!(which("buildx"), "below");
    let file = api.world.file(
        "own",
        "FROM busybox\nCOPY --from=side which /all/\nCOPY which /here\nCMD cat /all/which /here\n",
    );
    let side = format!("side={}", daemon.address("app.git#other"));
    build(&["-t", "both", "-f", file.to_str().unwrap(), "--build-context", &side, &source]).success();
    assert_eq!(which("both"), "other\nbelow");
    let failed = build(&[&daemon.address("app.git#nowhere")]).status(1);
    assert!(failed.stderr.contains("couldn't find remote ref nowhere"), "{failed}");
    daemon.write("app", &[("Dockerfile", "FROM busybox\nRUN exit 3\n")]);
    daemon.commit("app");
    let failed = build(&[&daemon.address("app.git")]).status(1);
    assert!(failed.stderr.contains("Dockerfile:2") && failed.stderr.contains(">>> RUN exit 3"), "{failed}");
    let text = b"FROM busybox\nCMD echo from the web\n".to_vec();
    let web = testkit::web(vec![("200 OK", text)]);
    build(&["-t", "web", &format!("{web}/Dockerfile")]).success();
    assert_eq!(which("web"), "from the web");

    for (tool, project) in [("docker", "theirs"), ("hull", "ours")] {
        let file =
            format!("services: {{one: {{image: {tool}, build: '{}'}}}}\n", daemon.address("app.git#other"));
        let file = api.world.file(&format!("{project}.yaml"), &file);
        let words = ["compose", "-p", project, "-f", file.to_str().unwrap(), "build"];
        let output = if tool == "docker" { api.docker(words) } else { api.world.hull(words) };
        output.success();
        assert_eq!(which(tool), "other");
    }
    eventually("nothing is left", 60, || temporary(&api.world).is_empty().then_some(()));
}
