//! Client libraries of the Engine API in other languages, each doing what it is used for: the programs in `tests/clients/`.
//!
//! A program gets `DOCKER_HOST`, and `REGISTRY`, the address of an empty registry; there is busybox. It ends with 0 when all went well.
//! Libraries are installed into the build directory, in the versions that are written beside the programs.

mod compose;
mod fuzz;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Api, Output, Registry, World, cached_directory};

/// Where the programs are.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients")
}

/// Runs a program against a world of its own.
fn check(command: Command) {
    let api = Api::serve(World::with_busybox(env!("CARGO_BIN_EXE_hull")));
    api.install_plugins();
    run(&api, command);
}

fn run(api: &Api, mut command: Command) {
    let registry = Registry::start();
    command.env("DOCKER_HOST", api.host()).env("DOCKER_CONFIG", api.world.docker_config());
    command.env("REGISTRY", registry.address()).current_dir(api.world.scratch());
    // Testcontainers reach published ports on this host even if it is a container; what cleans up behind them has no image here.
    command.env("TESTCONTAINERS_CONNECTION_MODE", "docker_host").env("TESTCONTAINERS_RYUK_DISABLED", "true");
    Output::of(&mut command).success();
}

/// A program of `tests/clients/python`, in an environment with the libraries of its `requirements.txt`.
fn python(program: &str) -> Command {
    let source = programs().join("python");
    let requirements = source.join("requirements.txt");
    let versions = fs::read_to_string(&requirements).unwrap();
    let environment = cached_directory("clients-python", &versions, |directory| {
        Output::of(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(directory)).success();
        let mut pip = Command::new(directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        Output::of(pip.arg(&requirements)).success();
    });
    let mut command = Command::new(environment.join("bin/python"));
    command.arg("-B").arg(source.join(program));
    command
}

/// A program of `tests/clients/node`, with the libraries of its `package.json`.
fn node(program: &str) -> Command {
    let source = programs().join("node");
    let package = fs::read_to_string(source.join("package.json")).unwrap();
    let directory = cached_directory("clients-node", &package, |directory| {
        fs::write(directory.join("package.json"), &package).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]);
        Output::of(npm.current_dir(directory)).success();
    });
    let mut command = Command::new("node");
    command.arg(source.join(program)).env("NODE_PATH", directory.join("node_modules"));
    command
}

/// The program of `tests/clients/rust`, which is built first.
fn rust() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(programs().join("rust/Cargo.toml"));
    command.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients"));
    command
}

#[test]
fn docker_py_handles_images() {
    check(python("images.py"));
}

#[test]
fn websocket_client_attaches() {
    check(python("attach.py"));
}

#[test]
fn docker_py_handles_containers() {
    check(python("containers.py"));
}

#[test]
fn docker_py_handles_networks_volumes_and_events() {
    check(python("networks.py"));
}

#[test]
fn testcontainers_for_python() {
    check(python("throwaway.py"));
}

#[test]
fn dockerode_handles_images() {
    check(node("images.js"));
}

#[test]
fn dockerode_handles_containers() {
    check(node("containers.js"));
}

#[test]
fn bollard_and_testcontainers_for_rust() {
    check(rust());
}
