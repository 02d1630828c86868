//! Help and usage errors: Docker's words and statuses, and nothing touched on the way.

use crate::empty_world;

#[test]
fn help_groups_commands_as_docker_does() {
    let world = empty_world();
    let help = world.hull(["--help"]).success().stdout;
    let places: Vec<_> = ["\nCommon Commands:\n  run ", "\nManagement Commands:\n", "\nCommands:\n  attach "]
        .iter()
        .map(|heading| help.find(heading).unwrap_or_else(|| panic!("{heading:?} is not in\n{help}")))
        .collect();
    assert!(places.is_sorted(), "{help}");
    for hidden in ["monitor", "build-step", "reap"] {
        assert!(!help.contains(&format!("\n  {hidden} ")), "{help}");
    }
    assert_eq!(world.hull(["help"]).success().stdout, help);
    assert_eq!(world.hull::<&str>([]).success().stdout, help);
}

#[test]
fn every_command_has_help() {
    let world = empty_world();
    let listed = |text: &str| -> Vec<String> {
        let commands = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let names = commands.filter_map(|line| line.split_whitespace().next());
        names.filter(|name| !name.starts_with('-')).map(str::to_owned).collect()
    };
    for command in listed(&world.hull(["--help"]).stdout) {
        let help = world.hull([command.as_str(), "--help"]).success();
        assert!(help.stdout.contains("Usage:"), "{help}");
        if help.stdout.contains("\nCommands:\n") && command != "compose" {
            for inner in listed(&help.stdout) {
                let help = world.hull([command.as_str(), inner.as_str(), "--help"]).success();
                assert!(help.stdout.contains("Usage:"), "{help}");
            }
        }
    }
}

#[test]
fn usage_errors_are_dockers() {
    let world = empty_world();
    world.hull(["frob"]).status(1).says("hull: 'frob' is not a hull command.");
    world.hull(["rnu"]).status(1).says("Did you mean 'hull run'?");
    world.hull(["imges"]).status(1).says("Did you mean 'hull images'?");
    world.hull(["ps", "--frob"]).status(125).says("unknown flag: --frob");
    world.hull(["ps", "--al"]).status(125).says("unknown flag: --al (did you mean --all?)");
    world.hull(["run", "--memry=1g", "x"]).status(125).says("unknown flag: --memry (did you mean --memory?)");
    world.hull(["create", "--frob", "x"]).status(125).says("unknown flag: --frob\n");
    world.hull(["run"]).status(1).says("\"hull run\" requires");
    world.hull(["run", "-m"]).status(125).says("flag needs an argument");
    world.hull(["container", "frob"]).status(1).says("unknown command \"frob\" for \"hull container\"");
    world.hull(["pull", "127.0.0.1:1/debian"]).status(1).says("cannot reach registry 127.0.0.1:1");
    world.hull(["swarm", "init"]).status(1).says("'swarm' is not a hull command");
    assert!(world.hull(["--version"]).success().text().starts_with("hull version "));
}

#[test]
fn called_as_docker_it_speaks_of_docker() {
    let world = empty_world();
    let docker = world.scratch().join("docker");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hull"), &docker).expect("our own directory");
    let output = std::process::Command::new(docker).arg("frob").output().expect("it is a program");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("docker: 'frob' is not a docker command."), "{text}");
}
