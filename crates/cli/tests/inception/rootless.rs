//! The same stack of an ordinary user: built, brought up on a port that is everybody's, and asked over TLS.

use std::process::Command;

use testkit::{debian_tar, eventually};

use crate::example::{copy, curl, free_ports};
use crate::user::User;

#[test]
fn inception_without_root() {
    let user = User::new();
    user.import(&debian_tar(), "debian:bookworm");
    let (directory, data) = (user.home().join("inception"), user.home().join("kept"));
    let https = free_ports(2);
    copy(&directory, &data, https, https + 1);
    let owner = user.uid.to_string();
    let given = Command::new("chown").args(["-R", &format!("{owner}:{owner}")]).arg(user.home()).status();
    assert!(given.expect("chown is part of Debian").success());
    let mut set_up = Command::new("setpriv");
    set_up.args(["--reuid", &owner, "--regid", &owner, "--clear-groups"]).arg(directory.join("setup.sh"));
    assert!(set_up.status().expect("setpriv is part of Debian").success());

    let compose = |words: &[&str]| {
        let project = directory.to_string_lossy();
        user.hull([&["compose", "--progress", "plain", "--project-directory", &project], words].concat())
    };
    compose(&["build"]).success();
    compose(&["up", "--detach", "--wait"]).success();
    let url = format!("https://127.0.0.1:{https}/");
    let title = "<title>Inception";
    let (status, page) = curl(&["--fail", "--tlsv1.2", &url]);
    assert!(status == Some(0) && page.contains(title), "{page}");
    // What the stack wrote belongs to the user and to ids of the user's.
    assert!(data.join("database/wordpress").is_dir());
    compose(&["restart", "nginx"]).success();
    eventually("the page again", 20, || curl(&["--fail", &url]).1.contains(title).then_some(()));
    compose(&["down"]).success();
    assert_eq!(user.hull(["ps", "--all", "--quiet"]).success().text(), "");
    // Only hull's root of that home may remove what belongs to the subordinate ids.
    let bind = format!("{}:/kept", data.display());
    user.hull(["run", "--rm", "-v", &bind, "debian:bookworm", "sh", "-c", "rm -r /kept/*"]).success();
}
