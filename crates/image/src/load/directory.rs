//! OCI layouts in directories, as the archives they would be.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};

use crate::archive::{Entry, Writer};

/// Gives the layout `directory` as an archive, for [`crate::Images::load`]. Files that are no part of a layout are left out.
///
/// # Errors
/// Those of reading the directory; a file that cannot be read ends the archive early.
pub fn read_layout(directory: &Path) -> io::Result<PipeReader> {
    let mut files = vec![(directory.join("index.json"), "index.json".to_owned())];
    for entry in fs::read_dir(directory.join("blobs/sha256"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            let name = format!("blobs/sha256/{name}");
            files.push((path, name));
        }
    }
    let (reader, writer) = io::pipe()?;
    // Whoever reads too little of it ends the thread with a broken pipe.
    std::thread::Builder::new().name("layout".to_owned()).spawn(move || drop(write(&files, writer)))?;
    Ok(reader)
}

fn write(files: &[(PathBuf, String)], output: PipeWriter) -> io::Result<()> {
    let mut archive = Writer::new(output);
    for (path, name) in files {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            archive.append(&Entry::file(name, metadata.len()), file)?;
        }
    }
    archive.finish().map(drop)
}
