//! Logging in and out beside Docker's own client, against a registry with passwords; and searching.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use testkit::{Output, Registry, World};

use crate::empty_world;

/// Docker's client without a daemon, in the same configuration.
fn docker<const N: usize>(world: &World, args: [&str; N]) -> Output {
    let mut command = Command::new("docker");
    command.args(["--host", "unix:///none.sock"]).args(args).env("DOCKER_CONFIG", world.docker_config());
    Output::of(&mut command)
}

/// What Docker's client is told when it asks for a manifest that is not there: whether its password is good.
fn docker_is_let_in(world: &World, registry: &Registry) -> bool {
    let missing = registry.reference("missing");
    let output = docker(world, ["manifest", "inspect", "--insecure", &missing]).status(1);
    let let_in = output.stderr.contains("no such manifest");
    assert!(let_in || output.stderr.contains("no basic auth credentials"), "{output}");
    let_in
}

fn config(world: &World) -> String {
    fs::read_to_string(world.docker_config().join("config.json")).unwrap_or_default()
}

#[test]
fn a_login_is_good_for_docker_and_back() {
    let world = empty_world();
    let registry = Registry::with_password(&world);
    let address = registry.address();
    assert!(!docker_is_let_in(&world, &registry));

    let login = ["login", "--username", "alice", "--password-stdin", address];
    let output = world.hull_with_input(login, b"secret\n").success();
    assert_eq!(output.stdout, "Login Succeeded\n");
    assert!(output.stderr.contains("WARNING! Your credentials are stored unencrypted in '"), "{output}");
    let mode = fs::metadata(world.docker_config().join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert!(docker_is_let_in(&world, &registry));

    // What is there already is tried, and nothing is written or warned of again.
    let again = world.hull(["login", address]).success();
    assert!(
        again.stderr.contains("Authenticating with existing credentials... [Username: alice]"),
        "{again}"
    );
    assert!(!again.stderr.contains("unencrypted"), "{again}");

    let output = world.hull(["logout", address]).success();
    assert_eq!(output.text(), format!("Removing login credentials for {address}"));
    assert!(!docker_is_let_in(&world, &registry));
    world.hull(["login", address]).status(1).says("non TTY device");

    docker(&world, ["login", "-u", "alice", "-p", "secret", address]).success();
    world.hull(["login", address]).success();
    docker(&world, ["logout", address]).success();
    world.hull(["login", address]).status(1).says("non TTY device");
}

#[test]
fn a_wrong_password_is_refused_and_not_kept() {
    let world = empty_world();
    let registry = Registry::with_password(&world);
    let address = registry.address();
    let refused = world.hull(["login", "-u", "alice", "-p", "wrong", address]).status(1);
    assert!(refused.stderr.contains("failed with status: 401 Unauthorized"), "{refused}");
    assert!(refused.stderr.contains("WARNING! Using --password via the CLI is insecure."), "{refused}");
    assert!(refused.stdout.is_empty() && config(&world).is_empty(), "{refused}");
    let both = world.hull(["login", "-u", "a", "-p", "b", "--password-stdin", address]).status(1);
    both.says("conflicting options: cannot specify both --password and --password-stdin");
    let nobody = world.hull(["login", "--password-stdin", address]).status(1);
    nobody.says("the --password-stdin option requires --username to be set");
}

#[test]
fn a_helper_keeps_the_password_out_of_the_file() {
    let world = empty_world();
    let registry = Registry::with_password(&world);
    let address = registry.address();
    let vault = world.scratch().join("vault");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > {vault};;\nerase) cat > /dev/null; rm -f {vault};;\n\
         get) cat > /dev/null; [ -e {vault} ] || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat {vault};;\nesac\n",
        vault = vault.display()
    );
    let helper = world.file("bin/docker-credential-vault", &script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(world.docker_config()).unwrap();
    let settings = "{\"proxies\": {\"default\": {}}, \"credsStore\": \"vault\"}";
    fs::write(world.docker_config().join("config.json"), settings).unwrap();
    let path = format!("{}:/usr/bin:/bin", helper.parent().unwrap().display());
    let hull = |args: &[&str]| Output::of(world.command(args).env("PATH", &path));

    let output = hull(&["login", "-u", "alice", "-p", "secret", address]).success();
    assert!(!output.stderr.contains("unencrypted"), "{output}");
    let expected = format!(
        "{{\n\t\"proxies\": {{\n\t\t\"default\": {{}}\n\t}},\n\t\"credsStore\": \"vault\",\n\t\"auths\": {{\n\t\t\"{address}\": {{}}\n\t}}\n}}"
    );
    assert_eq!(config(&world), expected);
    assert!(fs::read_to_string(&vault).unwrap().contains("\"Secret\":\"secret\""));
    assert_eq!(hull(&["login", address]).success().stdout, "Login Succeeded\n");
    hull(&["logout", address]).success();
    assert!(!vault.exists());
    hull(&["login", address]).status(1).says("non TTY device");

    let unknown = world.hull(["login", "-u", "alice", "-p", "secret", address]).status(1);
    unknown.says("cannot run the credential helper docker-credential-vault");
}

#[test]
fn a_password_is_typed_unseen() {
    let world = empty_world();
    let registry = Registry::with_password(&world);
    let mut terminal = world.terminal(["login", registry.address()]);
    terminal.expect("Username: ");
    terminal.send("alice\r");
    terminal.expect("Password: ");
    terminal.send("secrex\u{7f}t\r");
    terminal.expect("Login Succeeded");
    let (status, printed) = terminal.finish();
    assert_eq!(status, Some(0), "{printed}");
    assert!(!printed.contains("secre"), "{printed}");

    let mut terminal = world.terminal(["login", "-u", "alice", registry.address()]);
    terminal.expect("Password: ");
    terminal.send("sec\u{3}");
    assert_eq!(terminal.finish().0, Some(130));
}

/// Answers one search with `body` and returns what was asked for.
fn index(body: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    count => request.extend_from_slice(&buffer[..count]),
                }
            }
            let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                .unwrap();
            if line.contains("/v1/search") {
                return line;
            }
        }
        unreachable!("a listener goes on for ever")
    };
    (address, std::thread::spawn(answer))
}

const RESULTS: &str = r#"{"num_pages":1,"num_results":3,"page":1,"page_size":25,"query":"web","results":[
    {"name":"some/web","description":"A server\nwhose description is longer than what a table has room for","star_count":7,"is_official":false,"is_automated":true},
    {"name":"web","description":"The server","star_count":120,"is_official":true,"is_automated":false},
    {"name":"other/web","description":null,"star_count":0,"is_official":false,"is_automated":false}]}"#;

#[test]
fn search_shows_the_best_first() {
    let world = empty_world();
    let (address, asked) = index(RESULTS);
    let output = world.hull(["search", "--limit", "7", &format!("{address}/team/web")]).success();
    let expected = "NAME        DESCRIPTION                                     STARS     OFFICIAL\n\
                    web         The server                                      120       [OK]\n\
                    some/web    A server whose description is longer than wh…   7         \n\
                    other/web                                                   0         \n";
    assert_eq!(output.stdout, expected, "{output}");
    assert_eq!(asked.join().unwrap(), "GET /v1/search?q=team%2Fweb&n=7 HTTP/1.1");

    let (address, _) = index(RESULTS);
    let flags = ["search", "--no-trunc", "--filter", "stars=5", "--filter", "is-official=false"];
    let format = ["--format", "{{.Name}} {{.IsAutomated}} {{.Description}}", &format!("{address}/web")];
    let output = world.hull([&flags[..], &format].concat()).success();
    assert_eq!(
        output.text(),
        "some/web true A server whose description is longer than what a table has room for"
    );

    let beyond = world.hull(["search", "--limit", "101", "web"]).status(1);
    beyond.says("limit 101 is outside the range of [1, 100]");
    world.hull(["search", "--filter", "colour=red", "web"]).status(1).says("invalid filter 'colour'");
}
