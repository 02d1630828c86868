//! An ordinary user's registry: on the host's network, although his containers have one apart.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use testkit::World;

use crate::user::User;

#[test]
fn others_push_to_it_and_the_user_runs_that() {
    let user = User::new();
    let mut command = user.command(["registry", "serve", "--listen", "127.0.0.1:0"]);
    let server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut server = server.expect("unshare is part of Debian");
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().expect("it was asked for")).read_line(&mut line).expect("a pipe");
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));

    let neighbour = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    neighbour.hull(["tag", "busybox", &format!("{address}/app")]).success();
    neighbour.hull(["push", &format!("{address}/app")]).success();
    user.prints(["run", "--rm", "app", "echo", "pushed"], "pushed");
    neighbour.hull(["rmi", "--force", &format!("{address}/app")]).success();
    neighbour.hull(["pull", &format!("{address}/app")]).success();

    let taken = user.hull(["registry", "serve", "--listen", address]).status(1);
    taken.says(&format!("cannot listen on {address}")).says("Address already in use");
    user.hull(["registry", "serve", "--listen", "[::1]:0"]).status(1).says("only IPv4 addresses");
    for pid in user.pids("registry serve") {
        let _ = sys::process::kill(pid, 15);
    }
    assert_eq!(server.wait().expect("it is our child").code(), Some(0));
}
