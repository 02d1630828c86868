//! Files of the web, for ADD.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use oci::Digest;
use oci::digest::Hasher;

use crate::context::Context;
use crate::error::StepError;
use crate::ignore::Ignore;
use crate::select::{Item, Selected, Source};
use crate::solve::Solve;
use crate::tree::Last;

/// What the file is called while it is here.
const FILE: &str = "file";
/// Bytes fetched at once.
const PIECE: usize = 128 << 10;

/// A file of the web, here for as long as this lives.
pub struct Download {
    pub digest: Digest,
    /// As its server says, or else 1970.
    pub modified: SystemTime,
    files: Context,
}

impl Download {
    /// Fetches what is at `url` into a temporary directory of its own.
    ///
    /// # Errors
    /// It is not to be had as a whole, or is not what `expected` is the digest of.
    pub fn fetch(solve: &Solve<'_>, url: &str, expected: Option<Digest>) -> Result<Self, StepError> {
        let fetched = fetch(solve, url, expected);
        fetched.map_err(|error| if solve.stop.is_set() { StepError::Cancelled } else { error })
    }

    /// Where [`selected`](Self::selected) is.
    pub fn source(&self) -> Source<'_> {
        self.files.source()
    }

    /// The file, called `name`, unless `exclude` has it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn selected(&self, name: &OsStr, exclude: &Ignore) -> Result<Selected, StepError> {
        let found = self.source().tree.resolve(Path::new(FILE), Last::Keep);
        let entry = found.and_then(|found| found.entry.ok_or_else(|| io::ErrorKind::NotFound.into()));
        let entry = entry.map_err(StepError::io("read", name.display()))?;
        let mut items = Vec::new();
        if !exclude.excludes(&name.to_string_lossy()) {
            items.push(Item { path: name.into(), entry: entry.clone() });
        }
        Ok(Selected { name: name.to_owned(), entry, items })
    }
}

fn fetch(solve: &Solve<'_>, url: &str, expected: Option<Digest>) -> Result<Download, StepError> {
    let shown = registry::without_credentials(url);
    let what = || format!("download {shown}");
    let registries = solve
        .registries
        .ok_or_else(|| StepError::Unsupported(format!("{} in a build that asks nobody", what())))?;
    let client = registries.client().map_err(StepError::engine(what()))?;
    let mut document = solve.stop.bound(&client).download(url).map_err(StepError::engine(what()))?;
    let modified = document.modified().unwrap_or(SystemTime::UNIX_EPOCH);

    let dir = solve.store.tmp_dir("download").map_err(StepError::engine(what()))?;
    let path = &shown;
    let failed = |what| move |source| StepError::Io { what, path: path.clone(), source };
    let (broken, unwritten) = (failed("cannot download"), failed("cannot keep"));
    let file = File::options().write(true).create_new(true).mode(0o600).open(dir.path().join(FILE));
    let mut file = file.map_err(unwritten)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let length = document.read(&mut piece).map_err(broken)?;
        if length == 0 {
            break;
        }
        hasher.update(&piece[..length]);
        file.write_all(&piece[..length]).map_err(unwritten)?;
    }
    file.set_modified(modified).map_err(unwritten)?;
    let digest = hasher.finish();
    if let Some(expected) = expected.filter(|expected| *expected != digest) {
        // In the words of BuildKit.
        return Err(StepError::Invalid(format!(
            "digest mismatch for {shown}: {digest} (expected: {expected})"
        )));
    }
    let files = dir.path().to_owned();
    let files = Context::of_dir(dir, &files).map_err(unwritten)?;
    Ok(Download { digest, modified, files })
}
