//! The test programs, built by cargo.

use std::path::PathBuf;
use std::process::Command;

use super::output;

/// One executable that cargo made.
pub struct Program {
    /// Crate and target, such as `net/traffic`.
    pub name: String,
    /// Where cargo put it.
    pub path: PathBuf,
    /// Its crate's directory, which cargo runs tests in.
    pub directory: PathBuf,
    /// Whether it is a test, and not a program that tests run.
    pub is_test: bool,
}

impl Program {
    /// The crate it belongs to.
    fn package(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// Builds the tests of `crates` and what they run. All others are built, too: for some of the packages cargo would choose other
/// features of what they share, and build that again beside what the tests on this host have left.
pub fn build(crates: &[&str]) -> Result<Vec<Program>, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    eprintln!("xtask: {cargo:?}");
    let messages = output(&mut cargo)?;
    let mut programs: Vec<Program> =
        messages.lines().filter_map(program).filter(|program| crates.contains(&program.package())).collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// The executable that a message of cargo is about.
fn program(message: &str) -> Option<Program> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let directory = manifest.parent()?.to_owned();
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let name = format!("{package}/{}", message["target"]["name"].as_str()?);
    let is_test = message["profile"]["test"].as_bool()?;
    Some(Program { name, path: path.into(), directory, is_test })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, expected: Option<(&str, &str, bool)>) {
        let found = program(message);
        let found =
            found.as_ref().map(|p| (p.name.as_str(), p.directory.to_str().unwrap_or_default(), p.is_test));
        assert_eq!(found, expected, "{message}");
    }

    #[test]
    fn only_executables_count() {
        let artifact = |executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/net/Cargo.toml","target":{{"name":"dns"}},"profile":{{"test":true}},"executable":{executable}}}"#
            )
        };
        check(&artifact(r#""/t/dns-1""#), Some(("net/dns", "/w/crates/net", true)));
        check(&artifact("null"), None);
        check(r#"{"reason":"build-finished","success":true}"#, None);
        check("warning: not JSON", None);
    }
}
