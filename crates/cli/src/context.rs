//! What every command is given: the global flags and, once asked for, the engine.

use std::cell::OnceCell;
use std::io::Write as _;

use engine::Engine;
use registry::Client;
use remote::Endpoint;
use store::Roots;

use crate::commands::Ended;
use crate::elsewhere::{Choice, ChoiceError};
use crate::globals::Globals;

/// The state of one invocation.
pub struct Context {
    /// The name this binary was called by: `hull` or `docker`.
    pub program: String,
    pub globals: Globals,
    engine: OnceCell<Engine>,
    endpoint: OnceCell<Option<Endpoint>>,
    remote: OnceCell<remote::Client>,
}

impl Context {
    pub fn new(program: String, globals: Globals) -> Self {
        let (engine, endpoint, remote) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { program, globals, engine, endpoint, remote }
    }

    /// Where the engine is that was chosen instead of this host's.
    pub fn endpoint(&self) -> Result<Option<&Endpoint>, Ended> {
        if self.endpoint.get().is_none() {
            let endpoint = Choice::of(&self.globals)?.endpoint()?;
            let _ = self.endpoint.set(endpoint);
        }
        Ok(self.endpoint.get().expect("it was just set").as_ref())
    }

    /// The engine that was chosen instead of this host's, connected to at the first call.
    pub fn remote(&self) -> Result<Option<&remote::Client>, Ended> {
        let Some(endpoint) = self.endpoint()? else { return Ok(None) };
        if self.remote.get().is_none() {
            let _ = self.remote.set(remote::Client::connect(endpoint.clone())?);
        }
        Ok(self.remote.get())
    }

    /// Refuses `command`, which is for this host's engine alone, when another one was chosen.
    pub fn refuse_elsewhere(&self, command: &str) -> Result<(), Ended> {
        match self.endpoint()? {
            None => Ok(()),
            Some(engine) => {
                Err(ChoiceError::NotThere { command: command.to_owned(), engine: engine.to_string() }.into())
            }
        }
    }

    /// The roots this invocation works in: flags over environment over defaults.
    pub fn roots(&self) -> Roots {
        let usual = Roots::from_env_or_default();
        match (&self.globals.root, &self.globals.run_root) {
            // A data root of its own must not share volatile state with another one.
            (Some(data), None) if std::env::var_os("HULL_RUN_ROOT").is_none() => {
                let name = format!("hull-{}", Roots::new(data, &usual.run).instance());
                Roots::new(data, usual.run.with_file_name(name))
            }
            (data, run) => Roots::new(data.clone().unwrap_or(usual.data), run.clone().unwrap_or(usual.run)),
        }
    }

    /// Executes this program again where its user is root, unless he is: see [`rootless`].
    pub fn go_home(&self) -> Result<(), Ended> {
        let roots = self.roots();
        let home = rootless::directory_below(&store::user_run_dir());
        Ok(rootless::enter(&home, &[("HULL_ROOT", &roots.data), ("HULL_RUN_ROOT", &roots.run)])?)
    }

    /// This host's engine, opened at the first call; never in place of another one that was chosen.
    pub fn engine(&self) -> Result<&Engine, Ended> {
        self.refuse_elsewhere(&self.program)?;
        self.go_home()?;
        if self.engine.get().is_none() {
            let engine = Engine::open(&self.roots())?;
            let _ = self.engine.set(engine);
        }
        Ok(self.engine.get().expect("it was just set"))
    }

    /// The client for registries, made at the first call.
    pub fn registry(&self) -> Result<&Client, Ended> {
        Ok(self.engine()?.registry()?)
    }
}

/// Writes `text` to standard output; a reader that has gone away is not an error of ours.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes `text` and a line end to standard output.
pub fn print_line(text: impl std::fmt::Display) {
    print(&format!("{text}\n"));
}

/// Writes `text` and a line end to standard error.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
