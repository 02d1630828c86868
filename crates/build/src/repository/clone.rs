//! Clones of git repositories, made by the host's own git: it knows all transports, and whoever builds by hand has his keys, helpers and
//! proxies in its configuration. BuildKit does the same.
//!
//! A clone has no history but its commit. Nothing is asked for at a terminal, no hook of anybody's runs, and no transport is used but those an address
//! may name, not for submodules either.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use store::{Store, TempDir};
use sys::event::PollFlags;

use super::Repository;
use crate::agent::Agent;
use crate::error::BuildError;
use crate::progress::{Event, Progress, StepId};
use crate::request::Attachments;
use crate::run::GLANCE;
use crate::run::output::Output;
use crate::scope::PREDEFINED;
use crate::stop::Stop;
use crate::tree::{Format, Last, Tree};

/// Whose configuration, keys and agent git has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitSetup {
    /// The caller's, as if he cloned himself.
    Own,
    /// None of this host's but its known hosts, certificates and proxies, for whoever is not its user: with ssh it is the agent `default` of the
    /// build's attachments that shows who asks.
    Bare,
}

/// Clones repositories for a build, each as a step of its own.
pub struct Cloner<'a> {
    pub store: &'a Store,
    pub setup: GitSetup,
    pub attachments: &'a Arc<dyn Attachments>,
    pub progress: &'a dyn Progress,
    pub stop: &'a Stop,
    /// Whether `.git` is part of the files.
    pub keep_history: bool,
    /// How many steps there were.
    pub steps: u32,
}

impl Cloner<'_> {
    /// Clones into a directory of the store's. Returns it, and in it the one whose files are wanted.
    ///
    /// # Errors
    /// There is no git, it fails (its own words are the reason), the directory is not in the repository, or the build is to stop.
    pub fn clone(&mut self, repository: &Repository) -> Result<(TempDir, PathBuf), BuildError> {
        self.steps += 1;
        let (step, start) = (StepId(self.steps), Instant::now());
        let name = format!("[internal] load git source {repository}");
        self.progress.event(Event::Started { step, name: &name });
        let cloned = self.fetch(repository, step, start);
        let took = start.elapsed();
        match &cloned {
            Ok(_) => self.progress.event(Event::Finished { step, took }),
            Err(BuildError::Cancelled) => self.progress.event(Event::Cancelled { step }),
            Err(error) => {
                self.progress.event(Event::Failed { step, took, error: &diag::with_sources(error) });
            }
        }
        cloned
    }

    /// As [`Cloner::clone`], in a step that has begun.
    ///
    /// # Errors
    /// As there.
    pub fn fetch(
        &self,
        repository: &Repository,
        step: StepId,
        start: Instant,
    ) -> Result<(TempDir, PathBuf), BuildError> {
        let tmp = self.store.tmp_dir("context").map_err(BuildError::storage("clone a repository"))?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::Read { what: "directory", path, source }
        };
        let (home, tree) = (tmp.path().join("home"), tmp.path().join("tree"));
        for directory in [&home, &tree] {
            fs::create_dir(directory).map_err(failed(directory))?;
        }
        // It is a directory of the image's when all of it is copied.
        let tree_dir = sys::fs::open_dir(&tree);
        tree_dir.and_then(|dir| sys::fs::chmod(&dir, 0o755)).map_err(failed(&tree))?;
        let agent = self.agent(&home)?;
        let agent = agent.as_ref().map(|(path, _)| path.as_path());
        let header = self.header(repository)?;
        let git = Git { cloner: self, repository, step, start, home: &home, tree: &tree, agent, header };
        if self.keep_history && repository.has_credentials() {
            return Err(git.failed("its history would tell the credentials of its address".to_owned()));
        }

        git.run(&["init", "--quiet"])?;
        git.run(&["remote", "add", "--", "origin", &repository.remote])?;
        let wanted = repository.reference.as_deref().unwrap_or("HEAD");
        let fetch = ["fetch", "--no-recurse-submodules"];
        let commit =
            match git.run(&[&fetch[..], &["--depth=1", "--no-tags", "--", "origin", wanted]].concat()) {
                Ok(()) => "FETCH_HEAD",
                // Not every server gives a commit to those who only know its id.
                Err(BuildError::Clone { .. }) if repository.is_commit() => {
                    git.run(&[&fetch[..], &["--tags", "--", "origin"]].concat())?;
                    wanted
                }
                Err(error) => return Err(error),
            };
        git.run(&["checkout", "--quiet", "--force", "--detach", commit, "--"])?;
        // Branches move: whoever reads the output of the build wants to know what was built.
        git.run(&["rev-parse", "HEAD"])?;
        if tree.join(".gitmodules").symlink_metadata().is_ok() {
            git.run(&["submodule", "update", "--init", "--recursive", "--depth=1"])?;
        }
        if !self.keep_history {
            let history = tree.join(".git");
            sys::fs::remove_tree(&history).map_err(failed(&history))?;
        }

        let wanted = &repository.subdirectory;
        let found = Tree::open(std::slice::from_ref(&tree), Format::Plain)
            .and_then(|files| files.resolve(wanted, Last::Follow))
            .map_err(failed(wanted))?;
        match found.entry {
            Some(entry) if entry.is_dir() => Ok((tmp, tree.join(entry.path))),
            _ => Err(git.failed(format!("it has no directory {}", wanted.display()))),
        }
    }

    /// What shows a server of the web who asks, a setting of git's and its value, if the build has a secret that is called as BuildKit
    /// wants it: a token, or the whole header; for this host, or for any.
    fn header(&self, repository: &Repository) -> Result<Option<(String, String)>, BuildError> {
        let Some((scope, host)) = repository.web() else { return Ok(None) };
        for name in ["GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"] {
            for id in [format!("{name}.{host}"), name.to_owned()] {
                let secret = self.attachments.secret(&id).map_err(|source| BuildError::Read {
                    what: "secret",
                    path: id.into(),
                    source,
                })?;
                let Some(secret) = secret else { continue };
                let secret = String::from_utf8_lossy(&secret);
                let value = match name {
                    "GIT_AUTH_HEADER" => secret.trim().to_owned(),
                    _ => format!("basic {}", STANDARD.encode(format!("x-access-token:{}", secret.trim()))),
                };
                return Ok(Some((format!("http.{scope}.extraHeader"), format!("Authorization: {value}"))));
            }
        }
        Ok(None)
    }

    /// The agent of the build's attachments on a socket in `home`, where git is to have no other.
    fn agent(&self, home: &Path) -> Result<Option<(PathBuf, Agent)>, BuildError> {
        let path = home.join("agent");
        let failed =
            |source| BuildError::Read { what: "socket of the SSH agent", path: path.clone(), source };
        if self.setup == GitSetup::Own || self.attachments.ssh_agent(AGENT).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let agent = Agent::serve(&path, AGENT, self.attachments.clone()).map_err(failed)?;
        Ok(Some((path, agent)))
    }
}

/// The name of the agent that clients give when they give one without a name.
const AGENT: &str = "default";

/// Variables by which another repository than the one in its working directory would be meant, as when a build runs in a hook
/// (`git rev-parse --local-env-vars`).
const OF_REPOSITORIES: [&str; 9] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Variables that tell of the host, besides its proxies: where programs are, and whose certificates are believed.
const OF_HOST: [&str; 5] = ["PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_DIR", "SSL_CERT_FILE"];

/// The git of one clone.
struct Git<'a> {
    cloner: &'a Cloner<'a>,
    repository: &'a Repository,
    step: StepId,
    start: Instant,
    home: &'a Path,
    tree: &'a Path,
    agent: Option<&'a Path>,
    header: Option<(String, String)>,
}

impl Git<'_> {
    fn failed(&self, reason: String) -> BuildError {
        BuildError::Clone { repository: self.repository.to_string(), reason }
    }

    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "see the head of this file")]
        let mut command = Command::new("git");
        match self.cloner.setup {
            GitSetup::Own => {
                for name in OF_REPOSITORIES {
                    command.env_remove(name);
                }
            }
            GitSetup::Bare => {
                let kept = PREDEFINED.iter().chain(&OF_HOST);
                command.env_clear().envs(kept.filter_map(|name| Some((name, std::env::var_os(name)?))));
                command.env("HOME", self.home).env("GIT_CONFIG_NOSYSTEM", "1");
                command.env("GIT_SSH_COMMAND", "ssh -F none -o BatchMode=yes -o IdentityFile=none");
                command.envs(self.agent.map(|path| ("SSH_AUTH_SOCK", path)));
            }
        }
        command.envs([
            ("GIT_ALLOW_PROTOCOL", "https:http:git:ssh"),
            ("GIT_ASKPASS", ""),
            ("GIT_TERMINAL_PROMPT", "0"),
            // Its messages are looked at.
            ("LC_ALL", "C"),
            ("SSH_ASKPASS_REQUIRE", "never"),
        ]);
        if let Some((name, value)) = &self.header {
            command.envs([
                ("GIT_CONFIG_COUNT", "1"),
                ("GIT_CONFIG_KEY_0", name),
                ("GIT_CONFIG_VALUE_0", value),
            ]);
        }
        // Nothing is left at work in the background.
        let settings = [
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "gc.auto=0",
            "maintenance.auto=false",
            "submodule.recurse=false",
        ];
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        command.current_dir(self.tree).stdin(Stdio::null());
        command
    }

    /// Runs git once, its output the step's.
    fn run(&self, args: &[&str]) -> Result<(), BuildError> {
        let Cloner { progress, stop, .. } = *self.cloner;
        if stop.is_set() {
            return Err(BuildError::Cancelled);
        }
        let mut output = Output::new(progress, self.step, self.start).hiding_credentials();
        match self.supervise(args, &mut output) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BuildError::NoGit { repository: self.repository.to_string() })
            }
            Err(error) => Err(self.failed(format!("git cannot be run: {error}"))),
            Ok(None) => Err(BuildError::Cancelled),
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => {
                let lines = output.into_tail();
                Err(self.failed(reason(&lines).unwrap_or_else(|| format!("git {}: {status}", args[0]))))
            }
        }
    }

    /// How git ended; `None` when it was killed because the build is to stop.
    fn supervise(&self, args: &[&str], output: &mut Output<'_>) -> io::Result<Option<ExitStatus>> {
        let (reader, writer) = io::pipe()?;
        sys::event::set_nonblocking(reader.as_fd(), true)?;
        let mut command = self.command();
        command.args(args).stdout(writer.try_clone()?).stderr(writer);
        sys::spawn::set_apart(&mut command);
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).expect("pids are small");
        let mut watch = || -> io::Result<bool> {
            let pidfd = sys::process::open(pid)?;
            loop {
                let ended = sys::event::poll_one(pidfd.as_fd(), PollFlags::IN, Some(GLANCE))?;
                output.take(reader.as_fd())?;
                if ended || self.cloner.stop.is_set() {
                    return Ok(ended);
                }
            }
        };
        let ended = watch();
        if !matches!(ended, Ok(true)) {
            // All that git has started is in its group.
            let _ = sys::process::kill(-pid, SIGKILL);
        }
        let status = child.wait()?;
        // Not until its end: a helper that goes on, such as one that caches passwords, may have it open.
        output.drain(reader.as_fd())?;
        Ok(ended?.then_some(status))
    }
}

const SIGKILL: i32 = 9;

/// Why git failed, in its own words: what it first called fatal, or else its last line.
fn reason(lines: &[String]) -> Option<String> {
    let first = |mark: &str| lines.iter().position(|line| line.starts_with(mark));
    let at = first("fatal: ").or_else(|| first("error: ")).or_else(|| lines.len().checked_sub(1))?;
    // What ssh says it says before, and git has no words for it.
    let is_vague = at > 0 && lines[at].ends_with("Could not read from remote repository.");
    let line = &lines[if is_vague { at - 1 } else { at }];
    Some(line.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_words_are_the_reason() {
        let reason = |text: &str| reason(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(reason(""), None);
        assert_eq!(
            reason("From x\nfatal: couldn't find remote ref y").unwrap(),
            "couldn't find remote ref y"
        );
        assert_eq!(
            reason("fatal: transport 'file' not allowed\nfatal: clone of 'x' failed").unwrap(),
            "transport 'file' not allowed"
        );
        let ssh = "git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure";
        assert_eq!(reason(ssh).unwrap(), "git@host: Permission denied (publickey).");
        assert_eq!(
            reason("fatal: Could not read from remote repository.").unwrap(),
            "Could not read from remote repository."
        );
        assert_eq!(reason("one\ntwo").unwrap(), "two");
    }
}
