//! A root filesystem of busybox and a container on it.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cgroup::Cgroup;
use oci::runtime::Spec;
use runtime::seccomp::Seccomp;
use runtime::{Created, Exec, Exit, Launch, LaunchError, Lifetime, Process, Rootfs, Stdio, UserSpec};

fn base_path(run: u32) -> PathBuf {
    std::env::temp_dir().join(format!("hull-runtime-test-{run}"))
}

/// Sandboxes of this test so far.
static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// The lower layer all tests share; removed when dropped.
pub struct Base {
    path: PathBuf,
}

impl Base {
    pub fn create() -> Self {
        let path = base_path(std::process::id());
        let lower = path.join("lower");
        for directory in ["bin", "etc", "tmp", "root", "srv"] {
            fs::create_dir_all(lower.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("busybox-static is installed");
        let applets = "sh true false cat id ls echo sleep kill hostname mount readlink stat env pwd touch stty grep ps mkdir \
                       wc head tty umask seq test ip mknod chroot dd rm tail cut tr setsid nohup ulimit sync sort find ionice uname unshare df";
        for applet in applets.split_whitespace() {
            symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        fs::write(lower.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
            .unwrap();
        fs::write(lower.join("etc/group"), "root:x:0:\nwww:x:34:\nadm:x:4:web\ntty:x:5:\n").unwrap();
        fs::write(lower.join("etc/script"), "#!/bin/none\n").unwrap();
        fs::write(lower.join("etc/garbage"), "garbage").unwrap();
        for file in ["etc/script", "etc/garbage"] {
            fs::set_permissions(lower.join(file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { path }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

/// A container to be: change the public parts, then run it.
pub struct Sandbox {
    pub spec: Spec,
    pub rootfs: Rootfs,
    pub user: UserSpec,
    pub extra_groups: Vec<String>,
    pub cgroup: Option<Cgroup>,
    pub seccomp: Seccomp,
    pub init: bool,
    pub no_pivot: bool,
    pub directory: PathBuf,
}

/// What a finished process left.
#[derive(Debug)]
pub struct Output {
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Sandbox {
    /// `command` run by the shell.
    pub fn shell(command: &str) -> Self {
        Self::new(&["sh", "-c", command])
    }

    pub fn new(args: &[&str]) -> Self {
        // This process is one test, a fork of the run.
        let base = base_path(std::os::unix::process::parent_id());
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = base.join(format!("{}-{number}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        for name in ["upper", "work"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        let mut spec = runtime::default_spec();
        spec.hostname = Some("box".to_owned());
        spec.process.as_mut().unwrap().args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self {
            spec,
            rootfs: Rootfs::Overlay {
                lower: vec![base.join("lower")],
                upper: directory.join("upper"),
                work: directory.join("work"),
                volatile: false,
            },
            user: UserSpec::Named(String::new()),
            extra_groups: Vec::new(),
            cgroup: None,
            seccomp: Seccomp::Default,
            init: false,
            no_pivot: false,
            directory,
        }
    }

    pub fn process(&mut self) -> &mut oci::runtime::Process {
        self.spec.process.as_mut().unwrap()
    }

    pub fn linux(&mut self) -> &mut oci::runtime::Linux {
        self.spec.linux.as_mut().unwrap()
    }

    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    pub fn create(&self, stdio: Stdio) -> Result<Created, LaunchError> {
        self.create_for(stdio, Lifetime::Caller)
    }

    pub fn create_for(&self, stdio: Stdio, lifetime: Lifetime) -> Result<Created, LaunchError> {
        runtime::create(self.launch(stdio, lifetime))
    }

    pub fn launch(&self, stdio: Stdio, lifetime: Lifetime) -> Launch<'_> {
        Launch {
            id: "test",
            spec: &self.spec,
            rootfs: &self.rootfs,
            user: &self.user,
            extra_groups: &self.extra_groups,
            cgroup: self.cgroup.as_ref(),
            seccomp: &self.seccomp,
            stdio,
            join: &[],
            init: self.init,
            bundle: &self.directory,
            lifetime,
            preserve_fds: 0,
            no_pivot: self.no_pivot,
        }
    }

    pub fn start(&self, stdio: Stdio) -> Result<Process, LaunchError> {
        self.create(stdio)?.start()
    }

    /// Runs it to the end.
    pub fn output(&self) -> Result<Output, LaunchError> {
        let (stdio, pipes) = pipes();
        Ok(pipes.finish(self.start(stdio)?))
    }

    /// Its standard output, trimmed; anything on standard error is a failure.
    pub fn text(&self) -> String {
        let output = self.output().unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(output.err, "", "standard error of {:?}", self.spec.process.as_ref().map(|p| &p.args));
        output.out.trim_end().to_owned()
    }

    pub fn error(&self) -> LaunchError {
        match self.output() {
            Ok(output) => panic!("it ran: {output:?}"),
            Err(error) => error,
        }
    }
}

pub fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

/// Runs `process` in the container whose first process is `container`.
pub fn exec(container: &Process, process: &oci::runtime::Process, user: &str) -> Result<Output, LaunchError> {
    let (stdio, pipes) = pipes();
    let process = start_exec(container, process, user, stdio)?;
    Ok(pipes.finish(process))
}

pub fn start_exec(
    container: &Process,
    process: &oci::runtime::Process,
    user: &str,
    stdio: Stdio,
) -> Result<Process, LaunchError> {
    runtime::exec(Exec {
        id: "test",
        container: container.pidfd(),
        process,
        linux: None,
        user: &UserSpec::Named(user.to_owned()),
        extra_groups: &[],
        cgroup: None,
        seccomp: &Seccomp::Default,
        state: None,
        stdio,
        preserve_fds: 0,
    })
}

pub struct Pipes {
    out: std::io::PipeReader,
    err: std::io::PipeReader,
}

pub fn pipes() -> (Stdio, Pipes) {
    let (out, stdout) = std::io::pipe().unwrap();
    let (err, stderr) = std::io::pipe().unwrap();
    let stdio =
        Stdio::Fds { stdin: None, stdout: Some(OwnedFd::from(stdout)), stderr: Some(OwnedFd::from(stderr)) };
    (stdio, Pipes { out, err })
}

impl Pipes {
    /// Reads to the end; the tests' outputs fit a pipe, so one after the other is fine.
    pub fn finish(mut self, process: Process) -> Output {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.err.read_to_string(&mut err).unwrap();
        Output { exit: process.wait().unwrap(), out, err }
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed().as_secs() < 10, "waited for {what}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}
