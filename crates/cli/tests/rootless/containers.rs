//! Containers, images, volumes and projects of an ordinary user.

use std::fs;
use std::os::unix::fs::MetadataExt;

use testkit::eventually;

use crate::user::User;

#[test]
fn containers_run_and_root_in_them_is_the_user() {
    let user = User::with_busybox();
    user.prints(["run", "--rm", "busybox", "id"], "uid=0(root) gid=0(root)");
    user.hull(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]).success();
    let pid = user.inspect("one", "{{.State.Pid}}");
    let owner = fs::metadata(format!("/proc/{pid}")).expect("it runs").uid();
    assert_eq!(owner, user.uid, "root inside is the user outside");
    assert_eq!(user.hull(["exec", "one", "ps", "-o", "comm"]).success().text(), "COMMAND\nsleep\nps");
    user.hull(["exec", "-u", "www-data", "-d", "one", "sleep", "2000"]).success();
    let sleeper = eventually("the second process", 10, || user.pids("sleep 2000").pop());
    let owner = fs::metadata(format!("/proc/{sleeper}")).expect("it runs").uid();
    assert_eq!(owner, user.first + 32, "33 inside is one of the subordinate ids");
    let top = user.hull(["top", "one", "-o", "pid,args"]).success();
    assert!(top.stdout.contains("sleep 1000") && top.stdout.contains("sleep 2000"), "{top}");
    // The host's own: not even the names of other users' devices.
    let probe = "cat /proc/sysrq-trigger; mknod /tmp/x b 7 0; echo 1 > /proc/sys/kernel/panic";
    let refused = user.hull(["exec", "--privileged", "one", "sh", "-c", probe]);
    assert_ne!(refused.status, Some(0), "{refused}");
    assert!(user.hull(["info"]).success().stdout.contains("name=rootless"));
    user.hull(["run", "--rm", "--userns", "private", "busybox", "true"])
        .status(125)
        .says("cannot have user ids of its own");
    user.hull(["stop", "-t", "0", "one"]).success();
    assert_eq!(user.inspect("one", "{{.State.ExitCode}}"), "137");
}

#[test]
fn a_terminal_works() {
    let user = User::with_busybox();
    let mut terminal = user.terminal(["run", "--rm", "-it", "busybox", "sh"]);
    terminal.send("tty; stty size; echo so$((40+2))\n");
    terminal.expect("so42");
    terminal.send("exit 3\n");
    let (status, screen) = terminal.finish();
    assert_eq!(status, Some(3), "{screen}");
    assert!(screen.contains("/dev/pts/0"), "{screen}");
}

#[test]
fn images_are_built_committed_and_saved() {
    let user = User::with_busybox();
    user.file(
        "context/Dockerfile",
        "FROM busybox\n\
         RUN mkdir /kept && touch /kept/old && echo one > /gone\n\
         RUN rm -rf /kept /gone && mkdir /kept && touch /kept/new\n\
         COPY --chown=1000:1000 file /file\n\
         USER www-data\n\
         RUN id -u > /tmp/who\n",
    );
    user.file("context/file", "content\n");
    user.hull(["build", "-t", "built", "context"]).success();
    let look = "ls /kept; ls /gone 2>&1; cat /file /tmp/who; stat -c %u /file";
    let expected = "new\nls: /gone: No such file or directory\ncontent\n33\n1000";
    assert_eq!(user.hull(["run", "--rm", "built", "sh", "-c", look]).success().text(), expected);
    // A directory that replaces another is opaque in a layer, in the format of whoever made it.
    user.hull([
        "run",
        "--name",
        "changed",
        "-u",
        "0",
        "built",
        "sh",
        "-c",
        "rm -rf /kept && mkdir /kept && rm /file",
    ])
    .success();
    let diff = user.hull(["diff", "changed"]).success();
    assert!(diff.stdout.contains("D /file") && diff.stdout.contains("D /kept/new"), "{diff}");
    user.hull(["commit", "changed", "committed"]).success();
    user.hull(["save", "-o", "saved.tar", "committed"]).success();
    user.hull(["rm", "changed"]).success();
    user.hull(["rmi", "committed", "built"]).success();
    user.hull(["load", "-i", "saved.tar"]).success();
    let look = "ls -A /kept; ls /file";
    user.hull(["run", "--rm", "committed", "sh", "-c", look])
        .status(1)
        .says("ls: /file: No such file or directory");
}

#[test]
fn volumes_keep_files_and_binds_show_the_users_own() {
    let user = User::with_busybox();
    user.file("shared/mine", "x\n");
    let bind = format!("{}:/shared", user.home().join("shared").display());
    let script = "stat -c %u /shared/mine; echo y > /shared/new; chown 1000 /shared/new; echo z > /kept/z";
    let run = user.hull(["run", "--rm", "-v", &bind, "-v", "kept:/kept", "busybox", "sh", "-c", script]);
    assert_eq!(run.success().text(), "0", "the user's files are root's inside");
    let new = fs::metadata(user.home().join("shared/new")).expect("the container made it");
    assert_eq!(new.uid(), user.first + 999);
    user.prints(["run", "--rm", "-v", "kept:/kept", "busybox", "cat", "/kept/z"], "z");
    user.hull(["volume", "rm", "kept"]).success();
}

#[test]
fn projects_come_up_and_go_down() {
    let user = User::with_busybox();
    user.file(
        "project/compose.yaml",
        "services:\n\
        \x20 web:\n\
        \x20   image: busybox\n\
        \x20   command: httpd -f -h /etc\n\
        \x20   healthcheck: {test: wget -qO- http://localhost/group, interval: 1s}\n\
        \x20 client:\n\
        \x20   build: .\n\
        \x20   command: sh -c 'wget -qO- http://web/group && sleep 1000'\n\
        \x20   depends_on: {web: {condition: service_healthy}}\n\
        \x20   volumes: [data:/data]\n\
         volumes: {data: {}}\n",
    );
    user.file("project/Dockerfile", "FROM busybox\nRUN touch /built\n");
    let compose =
        |words: &[&str]| user.hull([&["compose", "--project-directory", "project"], words].concat());
    compose(&["up", "-d", "--wait"]).success();
    eventually("the client has been served", 10, || {
        compose(&["logs", "client"]).stdout.contains("root:x:0:").then_some(())
    });
    compose(&["down", "--volumes"]).success();
    assert_eq!(user.hull(["ps", "-aq"]).success().text(), "");
}

#[test]
fn limits_are_refused_by_name() {
    let user = User::with_busybox();
    for (flags, what) in [
        (&["--memory", "64m"][..], "a memory limit"),
        (&["--cpus", "1"], "a CPU"),
        (&["--pids-limit", "10"], "a limit of processes"),
    ] {
        let refused = user.hull([&["run", "--rm"], flags, &["busybox", "true"]].concat()).status(125);
        assert!(refused.stderr.contains("needs a control group"), "{what}: {refused}");
    }
    user.hull(["run", "-d", "--name", "one", "busybox", "sleep", "1000"]).success();
    user.hull(["pause", "one"]).status(1).says("pausing a container needs a control group");
    user.hull(["stats", "--no-stream", "one"]).status(1).says("measuring a container needs a control group");
}

#[test]
fn device_nodes_of_images_are_left_out() {
    let user = User::new();
    let root = user.home().join("root");
    fs::create_dir_all(root.join("dev")).expect("our own directory");
    let node =
        std::process::Command::new("mknod").arg(root.join("dev/console")).args(["c", "5", "1"]).status();
    assert!(node.expect("mknod is part of Debian").success());
    fs::write(root.join("file"), "x").expect("our own directory");
    let archive = user.home().join("nodes.tar");
    let tar =
        std::process::Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.expect("tar is part of Debian").success());
    user.hull(["import", "nodes.tar", "nodes"]).success();
    user.hull(["create", "--name", "holder", "nodes", "/none"]).success();
    user.hull(["cp", "holder:/file", "out"]).success();
    user.hull(["cp", "holder:/dev/console", "out"]).status(1);
}
