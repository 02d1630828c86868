//! Networks, names and published ports of an ordinary user.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use testkit::{Output, eventually};

use crate::system::kill;
use crate::user::User;

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    probe.local_addr().expect("it is bound").port()
}

/// What an HTTP server of the host's network answers for `/group`.
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /group HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1").then_some(text)
}

/// That wget was refused or has waited for nothing: 1 is its own word, 143 that of timeout.
#[track_caller]
fn assert_no_answer(output: &Output) {
    assert!(matches!(output.status, Some(1 | 143)) && output.stdout.is_empty(), "{output}");
}

#[test]
fn containers_find_each_other_by_name() {
    let user = User::with_busybox();
    user.hull(["network", "create", "inner"]).success();
    user.hull(["run", "-d", "--name", "web", "--network", "inner", "busybox", "httpd", "-f", "-h", "/etc"])
        .success();
    user.prints(
        ["run", "--rm", "--network", "inner", "busybox", "wget", "-qO-", "http://web/group"],
        "root:x:0:",
    );
    // No network of one user is another's, nor the host's.
    let address = user.inspect("web", "{{.NetworkSettings.Networks.inner.IPAddress}}");
    let other = User::with_busybox();
    let url = format!("http://{address}/group");
    let unreachable = other.hull(["run", "--rm", "busybox", "timeout", "2", "wget", "-qO-", &url]);
    assert_no_answer(&unreachable);
}

#[test]
fn a_killed_forwarder_is_started_again() {
    let user = User::with_busybox();
    let port = free_port();
    let publish = format!("{port}:80");
    user.hull(["run", "-d", "-p", &publish, "--name", "web", "busybox", "httpd", "-f", "-h", "/etc"])
        .success();
    eventually("the page", 10, || get(port));
    for _ in 0..2 {
        let forwarder = user.pids("hull forward");
        kill(&forwarder);
        eventually("another forwarder", 10, || {
            user.pids("hull forward").first().filter(|pid| !forwarder.contains(pid)).copied()
        });
        eventually("the page again", 10, || get(port));
    }
    user.hull(["rm", "-f", "web"]).success();
    TcpListener::bind(("0.0.0.0", port)).expect("it is free again");
}

#[test]
fn published_ports_are_the_hosts() {
    let user = User::with_busybox();
    let port = free_port();
    let publish = format!("{port}:80");
    user.hull(["run", "-d", "--name", "web", "-p", &publish, "busybox", "httpd", "-f", "-h", "/etc"])
        .success();
    let page = eventually("the page", 10, || get(port));
    assert!(page.contains("root:x:0:"), "{page}");
    assert_eq!(user.hull(["port", "web", "80"]).success().text(), format!("0.0.0.0:{port}"));
    TcpListener::bind(("0.0.0.0", port)).expect_err("the port is the container's");
    user.hull(["run", "--rm", "-p", &publish, "busybox", "true"])
        .status(125)
        .says("port is already allocated");
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("it is there");
    let start = start.trim();
    user.hull(["run", "--rm", "-p", "80:80", "busybox", "true"]).status(125).says(&format!(
        "cannot expose privileged port 80, you can add 'net.ipv4.ip_unprivileged_port_start=80' to \
             /etc/sysctl.conf (currently {start}), or choose a larger port number (>= {start})"
    ));
    user.hull(["rm", "-f", "web"]).success();
    assert_eq!(get(port), None);
    TcpListener::bind(("0.0.0.0", port)).expect("it is free again");
}

/// A host with a network of its own, where a web server listens on every address.
struct Host(Child);

/// An address of that host's; of a range that is for documentation.
const ADDRESS: &str = "198.51.100.7";

impl Host {
    fn serving(directory: &Path) -> Self {
        let script = format!(
            "ip link set lo up && ip address add {ADDRESS}/32 dev lo && exec busybox httpd -f -p 8000 -h {}",
            directory.display()
        );
        Self(Command::new("unshare").args(["--net", "sh", "-c", &script]).spawn().expect("a shell"))
    }

    /// What starts a program there.
    fn entry(&self) -> String {
        format!("nsenter --net=/proc/{}/ns/net --", self.0.id())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn containers_connect_to_the_outside_but_not_to_the_hosts_loopback() {
    let mut user = User::new();
    user.file("served/greeting", "from outside\n");
    let host = Host::serving(&user.home().join("served"));
    eventually("the server listens", 10, || {
        let words = format!("{} ss -ltn", host.entry());
        let listening = Command::new("sh").args(["-c", &words]).output().expect("a shell");
        String::from_utf8_lossy(&listening.stdout).contains(":8000").then_some(())
    });
    user.on = host.entry();
    let user = user.import_busybox();
    let get = |address: &str| {
        let url = format!("http://{address}:8000/greeting");
        user.hull(["run", "--rm", "busybox", "timeout", "5", "wget", "-qO-", &url])
    };
    assert_eq!(get(ADDRESS).success().text(), "from outside");
    // The address that slirp4netns and pasta have for the host.
    let refused = get("10.0.2.2");
    assert_no_answer(&refused);
}
