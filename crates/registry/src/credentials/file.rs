//! Docker's `config.json`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use serde::Serialize as _;
use serde_json::ser::PrettyFormatter;
use serde_json::value::RawValue;

use super::document::{Indented, Object};
use super::helper::{Helper, on_path};
use super::{Credential, Credentials, CredentialsError, entry, is_for, key};

/// Where the configuration of Docker's client is.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    directory: Option<PathBuf>,
}

/// Who keeps a credential that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Anybody who can read this file has it.
    Unencrypted(PathBuf),
    ByHelper,
    /// It was there already.
    Unchanged,
}

impl DockerConfig {
    /// `$DOCKER_CONFIG`, else `~/.docker`. Nothing is read yet.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
        Self { directory }
    }

    /// Where it is; `None` for who has neither variable.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The configuration in `directory`.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()) }
    }

    /// Keeps `credential` for `host`.
    ///
    /// # Errors
    /// [`CredentialsError`]; what was there before is still there then.
    pub fn store(&self, host: &str, credential: &Credential) -> Result<Kept, CredentialsError> {
        let directory = self.directory.as_deref().ok_or(CredentialsError::Nowhere)?;
        let _lock = lock(directory).map_err(|source| write_error(directory, source))?;
        let mut document = Document::read(directory)?;
        let helper = document.helper(host)?;
        if let Some(helper) = &helper {
            helper.store(key(host), credential)?;
        }
        if helper.is_none() && document.credential(host).is_ok_and(|known| known.as_ref() == Some(credential))
        {
            return Ok(Kept::Unchanged);
        }
        document.put(host, if helper.is_some() { None } else { Some(credential) })?;
        document.write()?;
        Ok(if helper.is_some() { Kept::ByHelper } else { Kept::Unencrypted(document.path) })
    }

    /// Forgets the credential for `host`, which need not be there.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn erase(&self, host: &str) -> Result<(), CredentialsError> {
        let directory = self.directory.as_deref().ok_or(CredentialsError::Nowhere)?;
        if !directory.is_dir() {
            return Ok(());
        }
        let _lock = lock(directory).map_err(|source| write_error(directory, source))?;
        let mut document = Document::read(directory)?;
        let helper = document.helper(host)?;
        if document.remove(host)? {
            document.write()?;
        }
        helper.map_or(Ok(()), |helper| helper.erase(key(host)))
    }
}

impl Credentials for DockerConfig {
    fn lookup(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let document = Document::read(directory)?;
        match document.helper(host)? {
            Some(helper) => helper.get(key(host)),
            None => document.credential(host),
        }
    }
}

/// The file as it was read.
struct Document {
    path: PathBuf,
    members: Object,
}

impl Document {
    /// Reads the file; one that is not there is empty.
    fn read(directory: &Path) -> Result<Self, CredentialsError> {
        let path = directory.join("config.json");
        let members = match fs::read(&path) {
            Ok(bytes) if bytes.trim_ascii().is_empty() => Object::default(),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| CredentialsError::Malformed { path: path.clone(), source })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Object::default(),
            Err(source) => return Err(CredentialsError::Read { path, source }),
        };
        Ok(Self { path, members })
    }

    fn malformed(&self, source: serde_json::Error) -> CredentialsError {
        CredentialsError::Malformed { path: self.path.clone(), source }
    }

    fn member(&self, name: &str) -> Result<Object, CredentialsError> {
        Ok(self.members.get(name).map_err(|e| self.malformed(e))?.unwrap_or_default())
    }

    /// Who has the credentials for `host`, unless the file has.
    fn helper(&self, host: &str) -> Result<Option<Helper>, CredentialsError> {
        let helpers = self.member("credHelpers")?;
        let name: Option<String> = match helpers.get(key(host)).map_err(|e| self.malformed(e))? {
            Some(name) => Some(name),
            None => self.members.get("credsStore").map_err(|e| self.malformed(e))?,
        };
        match name {
            Some(name) if name.is_empty() => Ok(None),
            Some(name) => Ok(Some(Helper::new(&name))),
            None => Ok(self.usual_helper()?),
        }
    }

    /// The helper Docker takes when the configuration says nothing at all about credentials.
    fn usual_helper(&self) -> Result<Option<Helper>, CredentialsError> {
        if !self.member("auths")?.is_empty() || !self.member("credHelpers")?.is_empty() {
            return Ok(None);
        }
        let helper = Helper::new(if on_path("pass") { "pass" } else { "secretservice" });
        Ok(helper.is_installed().then_some(helper))
    }

    /// The credential the file itself has for `host`.
    fn credential(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let auths = self.member("auths")?;
        let exact = auths.find(|name| name == key(host));
        let Some(name) = exact.or_else(|| auths.find(|name| is_for(name, host))) else { return Ok(None) };
        let entry: Option<&RawValue> = auths.get(name).map_err(|e| self.malformed(e))?;
        let Some(entry) = entry else { return Ok(None) };
        entry::read(entry.get()).map_err(|why| {
            let (path, key) = (self.path.clone(), name.to_owned());
            CredentialsError::Entry { path, key, why }
        })
    }

    /// Enters `credential` for `host`, or only that there is one.
    fn put(&mut self, host: &str, credential: Option<&Credential>) -> Result<(), CredentialsError> {
        let mut auths = self.member("auths")?;
        let old = auths.get(key(host)).map_err(|e| self.malformed(e))?;
        let changed = entry::write(old, credential)
            .and_then(|entry| auths.set(key(host), &entry))
            .and_then(|()| self.members.set("auths", &auths));
        changed.map_err(|e| self.malformed(e))
    }

    /// Removes what there is for `host`; returns whether there was anything.
    fn remove(&mut self, host: &str) -> Result<bool, CredentialsError> {
        let mut auths = self.member("auths")?;
        let removed = auths.remove(|name| is_for(name, host));
        if removed {
            self.members.set("auths", &auths).map_err(|e| self.malformed(e))?;
        }
        Ok(removed)
    }

    /// Replaces the file. Who reads it meanwhile sees the old or the new one; nobody but its owner sees either.
    fn write(&self) -> Result<(), CredentialsError> {
        // A link, as those who keep their dot files elsewhere have one, goes on leading there.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |source| write_error(&target, source);
        let mut text = Vec::new();
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
        Indented::new(&self.members).serialize(&mut serializer).map_err(|e| self.malformed(e))?;
        let unique = sys::random::hex::<6>().map_err(failed)?;
        let fresh = target.with_file_name(format!("config.json{unique}"));
        let written = write_new(&fresh, &text, fs::metadata(&target).ok().as_ref())
            .and_then(|()| fs::rename(&fresh, &target));
        written.map_err(|e| {
            let _ = fs::remove_file(&fresh);
            failed(e)
        })
    }
}

/// Writes a file for its owner alone, who is that of `old`.
fn write_new(path: &Path, text: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Some(old) = old {
        // Root may be at work on another user's file. Where that is not allowed the file is the writer's, who may have it anyway.
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    file.write_all(text)?;
    file.sync_all()
}

/// Makes `directory` and holds it, so that of two changes at once none is lost.
fn lock(directory: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let directory = File::open(directory)?;
    directory.lock()?;
    Ok(directory)
}

fn write_error(path: &Path, source: io::Error) -> CredentialsError {
    CredentialsError::Write { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A configuration in a directory of its own, gone with it.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(text: &str) -> Self {
            let unique = sys::random::hex::<8>().unwrap();
            let directory = std::env::temp_dir().join(format!("hull-credentials-{unique}"));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("config.json"), text).unwrap();
            Self(directory)
        }

        fn config(&self) -> DockerConfig {
            DockerConfig::in_directory(&self.0)
        }

        fn text(&self) -> String {
            fs::read_to_string(self.0.join("config.json")).unwrap()
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn alice() -> Credential {
        Credential::Password { user: "alice".to_owned(), password: "secret".to_owned() }
    }

    #[test]
    fn what_is_not_ours_stays() {
        let before = "{\n\t\"psFormat\": \"table\",\n\t\"auths\": {\n\t\t\"b\": {\n\t\t\t\"auth\": \"YTpi\",\n\t\t\t\"email\": \"x\"\n\t\t}\n\t},\n\t\"HttpHeaders\": {\n\t\t\"Z\": \"1\",\n\t\t\"A\": \"2\"\n\t}\n}";
        let fixture = Fixture::new(before);
        let kept = fixture.config().store("r.example", &alice()).unwrap();
        assert_eq!(kept, Kept::Unencrypted(fixture.0.join("config.json")));
        let entry =
            ",\n\t\t\"r.example\": {\n\t\t\t\"auth\": \"YWxpY2U6c2VjcmV0\"\n\t\t}\n\t},\n\t\"HttpHeaders\"";
        assert_eq!(fixture.text(), before.replace("\n\t},\n\t\"HttpHeaders\"", entry));
        assert_eq!(fixture.config().lookup("r.example").unwrap(), Some(alice()));
        fixture.config().erase("r.example").unwrap();
        assert_eq!(fixture.text(), before);
    }

    #[test]
    fn the_file_is_for_its_owner_alone_and_a_link_stays_one() {
        let elsewhere = Fixture::new("{}");
        let fixture = Fixture::new("");
        let link = fixture.0.join("config.json");
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(elsewhere.0.join("config.json"), &link).unwrap();
        fixture.config().store("r.example", &alice()).unwrap();
        assert!(link.is_symlink());
        let file = elsewhere.0.join("config.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&elsewhere.0).unwrap().count(), 1);
        assert_eq!(elsewhere.config().lookup("r.example").unwrap(), Some(alice()));
    }

    #[test]
    fn old_keys_are_found_and_the_exact_one_first() {
        let fixture = Fixture::new(
            r#"{"auths":{"https://r.example/v1/":{"auth":"b2xkOm9sZA=="},"https://index.docker.io/v1/":{"auth":"aHViOmh1Yg=="}}}"#,
        );
        let user = |host| fixture.config().lookup(host).unwrap().map(|found| found.user().to_owned());
        assert_eq!(user("r.example").as_deref(), Some("old"));
        assert_eq!(user("docker.io").as_deref(), Some("hub"));
        assert_eq!(user("other.example"), None);
        fixture.config().store("r.example", &alice()).unwrap();
        assert_eq!(user("r.example").as_deref(), Some("alice"));
    }

    #[test]
    fn logins_at_once_are_all_kept() {
        let fixture = Fixture::new("{}");
        std::thread::scope(|threads| {
            for n in 0..8 {
                let config = fixture.config();
                threads.spawn(move || config.store(&format!("r{n}.example"), &alice()).unwrap());
            }
        });
        for n in 0..8 {
            assert_eq!(fixture.config().lookup(&format!("r{n}.example")).unwrap(), Some(alice()));
        }
    }

    #[test]
    fn a_file_that_is_not_docker_s_is_told_and_left_alone() {
        for text in ["[]", "{", "{\"auths\":7}", "{\"auths\":{\"r.example\":{\"auth\":\"?\"}}}"] {
            let fixture = Fixture::new(text);
            let error = fixture.config().lookup("r.example").unwrap_err();
            assert!(error.to_string().contains("config.json"), "{error}");
        }
        let fixture = Fixture::new("{\"auths\":");
        assert!(fixture.config().store("r.example", &alice()).is_err());
        assert_eq!(fixture.text(), "{\"auths\":");
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_an_answer(text in ".*", name in "auths|credHelpers|credsStore", value in r#"[{}\[\]":,a-z0-9.]*"#) {
            for text in [text, format!("{{\"{name}\":{value}}}")] {
                if let Ok(members) = serde_json::from_str(&text) {
                    let document = Document { path: PathBuf::from("config.json"), members };
                    let _ = document.credential("r.example");
                    let _ = document.helper("r.example");
                }
            }
        }
    }
}
