//! Finding the program, with the answers Docker's users know.

use std::ffi::CString;
use std::io;
use std::path::Path;

use crate::channel::Fault;

/// The path to execute for `name`: itself when it has a slash, else the first executable file on `search`.
pub fn find(name: &str, search: Option<&str>) -> Result<CString, Fault> {
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => c_string(name),
            Err(Why::Missing(error)) => {
                Err(Fault::NotFound(format!("exec: {name:?}: stat {name}: {}", phrase(&error))))
            }
            Err(Why::Directory) => Err(Fault::NotExecutable(format!("exec: {name:?}: is a directory"))),
            Err(Why::Forbidden) => Err(Fault::NotExecutable(format!("exec: {name:?}: permission denied"))),
        };
    }
    for directory in search.unwrap_or(DEFAULT_SEARCH).split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let path = format!("{directory}/{name}");
        if !name.is_empty() && check(Path::new(&path)).is_ok() {
            return c_string(&path);
        }
    }
    Err(Fault::NotFound(format!("exec: {name:?}: executable file not found in $PATH")))
}

/// What execvp(3) searches without a PATH.
const DEFAULT_SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum Why {
    Missing(io::Error),
    Directory,
    Forbidden,
}

fn check(path: &Path) -> Result<(), Why> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Why::Forbidden,
        _ => Why::Missing(error),
    })?;
    if metadata.is_dir() {
        return Err(Why::Directory);
    }
    sys::process::may_execute(path).map_err(|_| Why::Forbidden)
}

/// The texts of the errors of execve(2) and stat(2), without Rust's "(os error 2)", because scripts match them.
pub fn phrase(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::NotADirectory => "not a directory",
        io::ErrorKind::IsADirectory => "is a directory",
        _ if error.raw_os_error() == Some(ENOEXEC) => "exec format error",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// The fault for a program that was found but did not start.
pub fn exec_fault(path: &str, error: &io::Error) -> Fault {
    let text = format!("exec {path}: {}", phrase(error));
    match error.kind() {
        // The file itself was there a moment ago: what is missing is its interpreter or loader.
        io::ErrorKind::NotFound => Fault::NotFound(text),
        _ => Fault::NotExecutable(text),
    }
}

const ENOEXEC: i32 = 8;

fn c_string(path: &str) -> Result<CString, Fault> {
    CString::new(path).map_err(|_| Fault::NotFound(format!("exec: {path:?}: the name contains a NUL byte")))
}
