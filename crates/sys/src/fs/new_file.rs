//! Files that appear when they are complete.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::{CWD, OFlags, link_open_file, open};

/// A file that gets its name when it is complete, in place of what had that name before.
///
/// Until then it has none, so that whoever is killed leaves nothing. Where the filesystem has no such files it is called
/// `NAME.PID.partial`, and goes when this is dropped.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    is_named: bool,
}

impl NewFile {
    /// Begins a file that is to be called `path`.
    ///
    /// # Errors
    /// As open(2) for a file in that directory.
    pub fn create(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let unnamed = open(directory.unwrap_or(Path::new(".")), OFlags::TMPFILE | OFlags::WRONLY, 0o666);
        let (file, is_named) = match unnamed {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => (File::create(&partial)?, true),
            file => (file?.into(), false),
        };
        Ok(Self { file, path: path.to_owned(), partial, is_named })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// As link(2) and rename(2); nothing is left then, and what had the name before keeps it.
    pub fn commit(mut self) -> io::Result<()> {
        if !self.is_named {
            // A file without a name cannot take one that exists.
            link_open_file(&self.file, CWD, self.partial.as_path())?;
            self.is_named = true;
        }
        std::fs::rename(&self.partial, &self.path)?;
        self.is_named = false;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.is_named {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_there_stays_until_the_new_one_is_complete() {
        let directory = std::env::temp_dir().join(format!("hull-new-file-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("file");
        let names = || fs::read_dir(&directory).unwrap().count();
        for text in ["first", "second"] {
            let file = NewFile::create(&path).unwrap();
            file.file().write_all(b"dropped").unwrap();
            assert_eq!(names(), usize::from(text == "second"), "it has no name yet");
            drop(file);
            let file = NewFile::create(&path).unwrap();
            file.file().write_all(text.as_bytes()).unwrap();
            file.commit().unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), (text, 1));
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(NewFile::create(&path).unwrap().commit().is_err());
        assert_eq!(names(), 1, "nothing is left of what could not take the name");
        fs::remove_dir_all(&directory).unwrap();
    }
}
