//! hull as a client: `--host`, contexts, and what its commands do at another hull and at Docker's engine.

mod containers;
mod contexts;
mod dockerd;
mod elsewhere;
mod objects;
mod streams;
mod transports;

use std::fs;

use testkit::{Api, Output, World};

const HULL: &str = env!("CARGO_BIN_EXE_hull");

/// Two hulls: one that has nothing, and another that is served and has busybox.
struct Two {
    here: World,
    there: Api,
}

impl Two {
    fn new() -> Self {
        Self { here: World::new(HULL), there: Api::serve(World::with_busybox(HULL)) }
    }

    /// The arguments that make hull a client of the other one.
    fn args(&self, args: &[&str]) -> Vec<String> {
        let host = ["-H".to_owned(), self.there.host()];
        host.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect()
    }

    /// Runs `hull -H` here.
    fn hull(&self, args: &[&str]) -> Output {
        self.here.hull(self.args(args))
    }

    /// The same command here, over the API, and there, without it: both succeed and print the same. A time may pass between the two
    /// (`5 seconds ago`): what differs is asked for again.
    #[track_caller]
    fn same(&self, args: &[&str]) -> String {
        let both = || (self.hull(args).success(), self.there.world.hull(args).success());
        let (mut over, mut at) = both();
        for _ in 0..5 {
            if over.stdout == at.stdout {
                break;
            }
            (over, at) = both();
        }
        assert_eq!(over.stdout, at.stdout, "{over}\n{at}");
        over.stdout
    }

    /// The same command fails here and there with the same words, but for hints, and the same status.
    #[track_caller]
    fn fails_alike(&self, args: &[&str]) -> Output {
        let (over, at) = (self.hull(args), self.there.world.hull(args));
        let words = |output: &Output| {
            output
                .stderr
                .lines()
                .filter(|line| !line.starts_with("  hint: "))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!((over.status, words(&over)), (at.status, words(&at)), "{over}\n{at}");
        assert_ne!(over.status, Some(0), "{over}");
        over
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            is_untouched(&self.here);
        }
    }
}

/// No engine was opened in this world: nothing was made in its roots.
#[track_caller]
fn is_untouched(world: &World) {
    for root in [world.data_root().as_path(), world.run_root()] {
        let made: Vec<_> = fs::read_dir(root)
            .map(|entries| entries.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        assert!(made.is_empty(), "an engine was opened: {made:?}");
    }
}

/// `PATH` with `directory` in front.
fn path_with(directory: &std::path::Path) -> String {
    format!("{}:{}", directory.display(), std::env::var("PATH").unwrap())
}
