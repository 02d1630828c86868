//! The order of functions in the release binary: `cargo xtask order` finds it, [`SCRIPT`] keeps it.
//!
//! The kernel maps the pages around each one that is touched, so what frequent commands execute is laid out side by side. The
//! linker script that says so names sections, with wildcards for what changes with compilers and versions: a name that is gone
//! matches nothing, one that is new stays where it would be without the script. lld, which is Rust's own, and GNU ld read it; the
//! map by which the functions are found is lld's.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{HULL, RELEASE, cargo, run};

/// From the root of the workspace, where the linker is called, too.
pub const SCRIPT: &str = "crates/cli/order.ld";

const PREPARE: &str = r#"set -e
"$HULL" oci spec --bundle plain
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/' plain/config.json
cp -a plain users
ids='[{"containerID": 0, "hostID": 100000, "size": 65536}]'
sed -i "s/\"namespaces\": \[/\"uidMappings\": $ids, \"gidMappings\": $ids, &{\"type\": \"user\"}, /" users/config.json
tar -C plain/rootfs -c . | "$HULL" import - busybox"#;

/// What is called often, each of which begins when it is traced: a container's life under another engine, and a run with its
/// monitor.
const FREQUENT: [&str; 2] = [
    r#"read -r _; set -e
for bundle in plain users; do
    "$HULL" oci --root oci create --bundle $bundle order </dev/null >/dev/null 2>&1
    "$HULL" oci --root oci state order >/dev/null
    "$HULL" oci --root oci start order
    "$HULL" oci --root oci delete --force order
    "$HULL" oci --root oci run --bundle $bundle order
done"#,
    r#"read -r _; set -e
"$HULL" run --rm --network none busybox true
"$HULL" run --rm busybox true"#,
];

const MAP: &str = "target/order.map";

/// Builds the binary with a map of it, traces what is frequent, and writes [`SCRIPT`].
pub fn main() -> Result<(), String> {
    cargo(&[&RELEASE[..], &["-C", &format!("link-arg=-Wl,-Map={MAP}")]].concat())?;
    let directory = PathBuf::from(format!("/var/tmp/hull-order-{}", std::process::id()));
    let hull = std::path::absolute(HULL).map_err(|error| format!("{HULL}: {error}"))?;
    testkit::busybox_rootfs(&directory.join("plain/rootfs"));
    let shell = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(&directory).env("HULL", &hull);
        shell.env("HULL_ROOT", directory.join("root")).env("HULL_RUN_ROOT", directory.join("run"));
        shell
    };
    let written = run(&mut shell(PREPARE)).and_then(|()| write(&hull, FREQUENT.map(shell)));
    let reset = run(&mut shell(r#""$HULL" system reset --force"#));
    let removed = fs::remove_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()));
    written.and(reset).and(removed)
}

/// A configuration that is another for another script: cargo links again when its arguments change, not when a script does.
pub fn version() -> Result<String, String> {
    let script = fs::read(SCRIPT).map_err(|error| format!("{SCRIPT}: {error}"))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&script);
    Ok(format!("order=\"{:x}\"", hasher.finish()))
}

fn write(hull: &Path, frequent: [Command; 2]) -> Result<(), String> {
    let functions = sections(MAP)?;
    let mut seen = HashSet::new();
    let mut lines = String::new();
    for mut commands in frequent {
        for address in Trace::new(hull, &functions)?.run(&mut commands)? {
            let pattern = &functions[&address];
            if seen.insert(pattern) {
                lines.extend(["    ", pattern, "\n"]);
            }
        }
    }
    let script = format!(
        "/* Written by `cargo xtask order`: what frequent commands execute. */\n\
         SECTIONS {{\n  {SECTION} : {{\n{lines}  }}\n}} INSERT BEFORE .text;\n"
    );
    println!("{SCRIPT}: {} functions", seen.len());
    fs::write(SCRIPT, script).map_err(|error| format!("{SCRIPT}: {error}"))
}

const SECTION: &str = ".text.frequent";

/// Says so when the script matches less than half of what it did when it was written, 2.5 MiB.
pub fn verify() -> Result<(), String> {
    const EXPECTED_KIB: u64 = 1280;
    let listed = Command::new("readelf").args(["--sections", "--wide", HULL]).output();
    let listed = listed.map_err(|error| format!("readelf: {error}"))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    // Name, type, address, offset, size.
    let size = listed.lines().find_map(|line| line.split_once(SECTION)?.1.split_whitespace().nth(3));
    let kib = size.and_then(|size| u64::from_str_radix(size, 16).ok()).unwrap_or(0) / 1024;
    if kib < EXPECTED_KIB {
        eprintln!(
            "xtask: {SCRIPT} orders only {kib} KiB of {HULL}, which will run, but in more memory: renew it with `cargo xtask order`"
        );
    }
    Ok(())
}

/// How the script names `section` of `object`: with its archive and member where it is the C library's, whose sections have no
/// names of their own. In Rust's names, wildcards stand for what is another for the next compiler, or version of a crate: the
/// disambiguators of crates (`Cs…_`), the back references (`B…_`) that count bytes of which these differ in number, and the
/// suffix of a function that is called from other objects.
///
/// Spec: rustc book, "v0 Symbol Format".
fn pattern(object: &str, section: &str) -> String {
    let file = object.rsplit('/').next().unwrap_or(object);
    if let Some((archive, member)) = file.strip_suffix(')').and_then(|file| file.split_once(".a(")) {
        return format!("*{archive}.a:{member}({section})");
    }
    if !section.contains("._R") {
        return format!("*({section})");
    }
    let name = section.split(".llvm.").next().unwrap_or(section);
    let pieces = name.split('_').map(|piece| {
        // A back reference has two digits at most: names are shorter than 62² bytes.
        let end = piece.len().saturating_sub(3);
        match (piece.find("Cs"), piece[end..].find('B')) {
            (Some(at), _) => format!("{}Cs*", &piece[..at]),
            (None, Some(at)) => format!("{}B*", &piece[..end + at]),
            (None, None) => piece.to_owned(),
        }
    });
    format!("*({}*)", pieces.collect::<Vec<_>>().join("_"))
}

/// The sections of text in the linker's map, as patterns by their addresses. A section is a function.
fn sections(map: &str) -> Result<HashMap<u64, String>, String> {
    let text = fs::read_to_string(map).map_err(|error| format!("{map}: {error}"))?;
    let mut sections = HashMap::new();
    for line in text.lines() {
        // Address, load address, size, alignment, `OBJECT:(SECTION)`.
        let mut words = line.split_whitespace();
        let (Some(address), Some(size), Some(input)) = (words.next(), words.nth(1), words.nth(1)) else {
            continue;
        };
        if let Some((object, section)) = input.strip_suffix(')').and_then(|input| input.rsplit_once(":("))
            && (section.starts_with(".text.") || object.ends_with(')'))
            && section.starts_with(".text")
            && size != "0"
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            sections.insert(address, pattern(object, section));
        }
    }
    match sections.is_empty() {
        true => Err(format!("{map} is not a map as lld writes it")),
        false => Ok(sections),
    }
}

/// A breakpoint at the beginning of every function, in every process that executes the binary.
struct Trace<'a> {
    /// Address of the text, its bytes, and the same with the breakpoints.
    start: u64,
    text: Vec<u8>,
    armed: Vec<u8>,
    functions: &'a HashMap<u64, String>,
    executed: Vec<u64>,
}

impl<'a> Trace<'a> {
    fn new(hull: &Path, functions: &'a HashMap<u64, String>) -> Result<Self, String> {
        let file = fs::read(hull).map_err(|error| format!("{}: {error}", hull.display()))?;
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"));
        // Program headers begin at 64 and have 56 bytes: type and flags, offset, address, physical address, size.
        let count = u16::from_le_bytes([file[56], file[57]]);
        let header = (0..usize::from(count)).map(|index| 64 + index * 56);
        let header =
            header.into_iter().find(|at| word(*at) == (5 << 32) + 1).ok_or("no executable segment")?;
        let (offset, start, size) = (word(header + 8), word(header + 16), word(header + 32));
        let text = file[offset as usize..(offset + size) as usize].to_vec();
        let mut armed = text.clone();
        for address in functions.keys() {
            if let Some(byte) = armed.get_mut(address.wrapping_sub(start) as usize) {
                *byte = 0xcc;
            }
        }
        Ok(Self { start, text, armed, functions, executed: Vec::new() })
    }

    /// The addresses of functions that were executed, in the order of their first execution.
    fn run(mut self, commands: &mut Command) -> Result<Vec<u64>, String> {
        let failed = |error: nix::Error| format!("ptrace: {error}");
        let mut child = commands.stdin(Stdio::piped()).spawn().map_err(|error| format!("sh: {error}"))?;
        let pid = Pid::from_raw(child.id() as i32);
        let options = Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(pid, options).map_err(failed)?;
        drop(child.stdin.take());
        let mut status = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(ended, code)) if ended == pid => status = Some(code),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {}
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                    if event == Event::PTRACE_EVENT_EXEC as i32 {
                        self.arm(pid);
                    }
                    let _ = ptrace::cont(pid, None);
                }
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    let ours = signal == Signal::SIGTRAP && self.step_over(pid);
                    let _ = ptrace::cont(pid, (!ours).then_some(signal));
                }
                Ok(_) => {}
                Err(nix::Error::ECHILD) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        match status {
            Some(0) => Ok(self.executed),
            other => Err(format!("what is traced ended with {other:?}")),
        }
    }

    /// Sets the breakpoints, where `pid` executes hull.
    fn arm(&self, pid: Pid) {
        let Ok(memory) = memory(pid) else { return };
        let mut there = vec![0; self.text.len()];
        if memory.read_exact_at(&mut there, self.start).is_ok() && there == self.text {
            let _ = memory.write_all_at(&self.armed, self.start);
        }
    }

    /// Notes the function whose breakpoint stopped `pid` and lets it begin; false when it is another trap.
    fn step_over(&mut self, pid: Pid) -> bool {
        let Ok(mut registers) = ptrace::getregs(pid) else { return false };
        let address = registers.rip - 1;
        if !self.functions.contains_key(&address) {
            return false;
        }
        if !self.executed.contains(&address) {
            self.executed.push(address);
        }
        let byte = self.text[(address - self.start) as usize];
        registers.rip = address;
        memory(pid).is_ok_and(|memory| memory.write_all_at(&[byte], address).is_ok())
            && ptrace::setregs(pid, registers).is_ok()
    }
}

fn memory(pid: Pid) -> std::io::Result<File> {
    File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn patterns_leave_out_what_the_next_build_calls_otherwise() {
        let check = |object, section, expected: &str| assert_eq!(pattern(object, section), expected);
        check("/usr/lib/libc.a(memcpy.o)", ".text.avx", "*libc.a:memcpy.o(.text.avx)");
        check("deps/libzstd_sys-0d05503dd4866c65.rlib(huf.o)", ".text.HUF_read", "*(.text.HUF_read)");
        check(
            "deps/hull-4af7.oci-3ff7.oci.9931-cgu.0.rcgu.o",
            ".text.unlikely._RNvMs_NtCsk9OUFhYz1bW_3oci6digestNtB4_6Digest5parse.llvm.1234",
            "*(.text.unlikely._RNvMs_NtCs*_3oci6digestNtB*_6Digest5parse*)",
        );
        check(
            "deps/hull-4af7.oci-3ff7.oci.9931-cgu.1.rcgu.o",
            ".text._RINvCs6yKCRsABsV4_4core4dropNtCsh0_3oci8ConfigTtE_EB1a_",
            "*(.text._RINvCs*_4core4dropNtCs*_3oci8ConfigTtE_EB*_*)",
        );
    }
}
