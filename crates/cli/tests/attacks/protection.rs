//! What hull says of the protection a container has given up, and the page that says which test proves what.

use std::fs;
use std::path::Path;

use crate::world;

#[test]
fn what_a_container_has_given_up_is_told() {
    let world = world();
    let inspect = |name: &str| world.inspect(name, "{{range .Protection.GivenUp}}{{println .}}{{end}}");
    let run = |name: &str, flags: &[&str]| {
        let run = ["run", "-d", "--name", name, "--stop-signal", "KILL"];
        world.hull([&run[..], flags, &["busybox", "sleep", "600"]].concat()).success();
    };
    run("plain", &["-v", "data:/data", "-v", "/usr:/u:ro"]);
    assert_eq!(inspect("plain"), "");
    let count = || world.hull(["info", "--format", "{{.Unprotected}}"]).success().text().to_owned();
    assert_eq!(count(), "0");
    run("open", &["--privileged"]);
    let said = inspect("open");
    for sentence in
        ["root in it is root on the host", "every device of the host", "no system call is filtered"]
    {
        assert!(said.contains(sentence), "{said}");
    }
    assert_eq!(count(), "1");
    let scratch = world.scratch().display().to_string();
    world.hull(["create", "--name", "later", "-v", &format!("{scratch}:/w"), "busybox", "true"]).success();
    assert_eq!(inspect("later"), format!("the host's {scratch} can be written to at /w"));
    let mut joined = world.command(["inspect", "-f", "{{json .Protection}}", "later"]);
    let output = joined.env("HULL_USERNS", "host").output().expect("it was built");
    assert!(String::from_utf8_lossy(&output.stdout).contains("HULL_USERNS=host"), "{output:?}");
    // What the host is set up for.
    let info = |policy: &str| {
        let mut command = world.command(["info"]);
        let output = command.env("HULL_USERNS", policy).output().expect("it was built");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(info("private").contains("name=seccomp,profile=builtin name=userns name=cgroupns"));
    let host = info("host");
    assert!(
        !host.contains("name=userns") && host.contains("WARNING: containers have no user ids of their own"),
        "{host}"
    );
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/cli lies two below");
    let page = fs::read_to_string(root.join("docs/security.md")).expect("it is part of the repository");
    let mut checked = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let (path, test) = word.split_once("::").unwrap_or((word, ""));
        if !path.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root.join("crates").join(path));
        let text = text.unwrap_or_else(|error| panic!("{path}, which the page names: {error}"));
        assert!(test.is_empty() || text.contains(&format!("fn {test}()")), "{word} is no test");
        checked += usize::from(!test.is_empty());
    }
    assert!(checked > 30, "{checked} tests are named");
}
