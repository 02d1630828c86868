//! A copy of the example to run on ports and with data of its own, and asking what is served.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Copies the example to `directory`, with settings that keep its data in `data`.
pub fn copy(directory: &Path, data: &Path, https: u16, ftp: u16) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/inception");
    for part in ["bonus", "mariadb", "nginx", "wordpress", "compose.yaml", "setup.sh"] {
        fs::create_dir_all(directory).expect("the directory is ours");
        let copy = Command::new("cp").arg("-a").arg(example.join(part)).arg(directory).status();
        assert!(copy.expect("cp is part of Debian").success());
    }
    let settings = fs::read_to_string(example.join(".env.example")).expect("the example has settings");
    let settings = settings.lines().map(|line| match line.split_once('=') {
        Some(("DATA_DIR", _)) => format!("DATA_DIR={}\n", data.display()),
        Some(("HTTPS_PORT", _)) => format!("HTTPS_PORT={https}\n"),
        Some(("FTP_PORT", _)) => format!("FTP_PORT={ftp}\n"),
        _ => format!("{line}\n"),
    });
    fs::write(directory.join(".env"), settings.collect::<String>()).expect("the directory is ours");
}

/// The first of `count` neighbouring ports nobody uses now, outside the range the kernel gives to clients.
pub fn free_ports(count: u16) -> u16 {
    /// Where to look next: what another test of this program has been given is free until it gets to using it.
    static TAKEN: Mutex<u16> = Mutex::new(0);
    let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let start = 20_000 + u16::try_from(std::process::id() % 1_000).expect("it is small") * 10;
    let mut taken = TAKEN.lock().expect("nobody panics here");
    let mut candidates = (start.max(*taken)..32_000).step_by(10);
    let port = candidates.find(|port| (*port..port + count).all(free)).expect("some ports are free");
    *taken = port + 10;
    port
}

/// Writes other text in the place of some in a file.
pub fn replace(file: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(file).expect("the example has it");
    for (old, new) in changes {
        assert!(text.contains(old), "{} lost {old}", file.display());
        text = text.replace(old, new);
    }
    fs::write(file, text).expect("the scratch directory is ours");
}

/// The exit status and output of `curl`, which accepts our self-signed certificate.
pub fn curl(words: &[&str]) -> (Option<i32>, String) {
    let mut curl = Command::new("curl");
    curl.args(["--insecure", "--silent", "--show-error", "--max-time", "20"]).args(words);
    let output = curl.output().expect("curl is installed");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
