//! `-v`, `--mount` and `--tmpfs`.

use super::{FlagError, boolean, idmap, size_bytes};
use crate::model::{BindPropagation, Labels, Mount, MountKind, MountSyntax, Owners};
use std::path::{Component, Path, PathBuf};

/// `[source:]target[:options]`; a source starting with `/`, `.` or `~` is a host path (relative ones are resolved against `directory`).
pub fn volume(text: &str, directory: &Path) -> Result<Mount, FlagError> {
    let invalid = || FlagError::new(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(invalid()),
    };
    if source == Some("") || target.is_empty() {
        return Err(invalid());
    }
    let target = container_path(target)?;
    let mut options_of = VolumeOptions::default();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        options_of.take(option, options)?;
    }
    let kind = match source {
        Some(source) if source.starts_with(['/', '.', '~']) => MountKind::Bind {
            source: host_path(source, directory),
            propagation: options_of.propagation,
            recursive: true,
            create_source: true,
            owners: options_of.owners.unwrap_or_default(),
        },
        name => {
            if let Some(name) = name {
                volume_name(name)?;
            }
            if options_of.propagation.is_some() {
                return Err(FlagError::new(format!("invalid mode: {options}")));
            }
            MountKind::Volume {
                name: name.map(str::to_owned),
                no_copy: options_of.no_copy,
                subpath: None,
                driver: None,
                driver_opts: Labels::new(),
                labels: Labels::new(),
                owners: options_of.owners.unwrap_or_default(),
            }
        }
    };
    Ok(Mount { target, kind, read_only: options_of.read_only, syntax: MountSyntax::Volume })
}

#[derive(Default)]
struct VolumeOptions {
    read_only: bool,
    no_copy: bool,
    propagation: Option<BindPropagation>,
    owners: Option<Owners>,
}

impl VolumeOptions {
    fn take(&mut self, option: &str, all: &str) -> Result<(), FlagError> {
        if let ("idmap", value) = option.split_once('=').unwrap_or((option, "")) {
            self.owners = Some(idmap::owners(value)?);
            return Ok(());
        }
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.no_copy = true,
            // SELinux relabelling: Docker ignores it on hosts without SELinux, and hull supports only such hosts.
            "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            other => {
                let invalid = || FlagError::new(format!("invalid mode: {all}"));
                self.propagation = Some(propagation(other).ok_or_else(invalid)?);
            }
        }
        Ok(())
    }
}

fn propagation(text: &str) -> Option<BindPropagation> {
    Some(match text {
        "private" => BindPropagation::Private,
        "rprivate" => BindPropagation::RPrivate,
        "shared" => BindPropagation::Shared,
        "rshared" => BindPropagation::RShared,
        "slave" => BindPropagation::Slave,
        "rslave" => BindPropagation::RSlave,
        _ => return None,
    })
}

/// `type=…,source=…,target=…,…`, fields separated by commas, a field quoted when it contains one.
pub fn mount(text: &str, directory: &Path) -> Result<Mount, FlagError> {
    let mut fields = MountFields::default();
    for field in split_fields(text) {
        fields.take(&field).map_err(FlagError::new)?;
    }
    fields.finish(directory).map_err(FlagError::new)
}

#[derive(Default)]
struct MountFields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<BindPropagation>,
    not_recursive: bool,
    create_source: bool,
    owners: Option<Owners>,
    no_copy: bool,
    subpath: Option<String>,
    driver: Option<String>,
    driver_opts: Labels,
    labels: Labels,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    /// Fields that only one type has: type and field name.
    special: Vec<(&'static str, String)>,
}

impl MountFields {
    fn take(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        let flag = |key: &str| boolean(key, value.unwrap_or("")).map_err(|e| e.to_string());
        if value.is_none()
            && !matches!(
                key.as_str(),
                "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src" | "idmap"
            )
        {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        }
        let text = value.unwrap_or("").to_owned();
        match key.as_str() {
            "type" => self.kind = Some(text.to_ascii_lowercase()),
            "source" | "src" => self.source = Some(text),
            "target" | "dst" | "destination" => self.target = Some(text),
            "readonly" | "ro" => self.read_only = flag(&key)?,
            "consistency" => {}
            "bind-propagation" => {
                self.special.push(("bind", key));
                self.propagation =
                    Some(propagation(&text).ok_or_else(|| format!("invalid propagation mode: {text}"))?);
            }
            "bind-nonrecursive" => {
                self.not_recursive = flag(&key)?;
                self.special.push(("bind", key));
            }
            "bind-recursive" => {
                self.not_recursive = match text.as_str() {
                    "enabled" => false,
                    "disabled" => true,
                    other => return Err(format!("bind-recursive={other} is not supported yet")),
                };
                self.special.push(("bind", key));
            }
            "bind-create-src" => {
                self.create_source = flag(&key)?;
                self.special.push(("bind", key));
            }
            "idmap" => {
                self.owners = Some(idmap::owners(&text).map_err(|e| e.to_string())?);
            }
            "volume-nocopy" => {
                self.no_copy = flag(&key)?;
                self.special.push(("volume", key));
            }
            "volume-subpath" => {
                self.subpath = Some(text);
                self.special.push(("volume", key));
            }
            "volume-driver" => {
                self.driver = Some(text);
                self.special.push(("volume", key));
            }
            "volume-opt" | "volume-label" => {
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                let map = if key == "volume-opt" { &mut self.driver_opts } else { &mut self.labels };
                map.insert(name.to_owned(), value.to_owned());
                self.special.push(("volume", key));
            }
            "tmpfs-size" => {
                self.size_bytes =
                    Some(size_bytes(&text).map_err(|_| format!("invalid value for {key}: {text}"))?);
                self.special.push(("tmpfs", key));
            }
            "tmpfs-mode" => {
                self.mode = Some(
                    u32::from_str_radix(&text, 8).map_err(|_| format!("invalid value for {key}: {text}"))?,
                );
                self.special.push(("tmpfs", key));
            }
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn finish(self, directory: &Path) -> Result<Mount, String> {
        let kind = self.kind.as_deref().unwrap_or("volume");
        if !matches!(kind, "bind" | "volume" | "tmpfs") {
            return Err(format!("mount type '{kind}' is not supported"));
        }
        let target = self.target.ok_or("target is required")?;
        if let Some((owner, key)) = self.special.iter().find(|(owner, _)| *owner != kind) {
            return Err(format!("cannot mix '{owner}-*' options with mount type '{kind}' ({key})"));
        }
        let source = self.source.filter(|s| !s.is_empty());
        let kind = match kind {
            "bind" => MountKind::Bind {
                source: host_path(&source.ok_or("source is required for a bind mount")?, directory),
                propagation: self.propagation,
                recursive: !self.not_recursive,
                create_source: self.create_source,
                owners: self.owners.unwrap_or_default(),
            },
            "tmpfs" if self.owners.is_some() => return Err("idmap is for bind mounts and volumes".into()),
            "tmpfs" if source.is_some() => return Err("cannot specify source for a tmpfs mount".into()),
            "tmpfs" => MountKind::Tmpfs {
                size_bytes: self.size_bytes,
                mode: self.mode,
                options: Vec::new(),
                given: String::new(),
            },
            _ => {
                if let Some(name) = &source {
                    volume_name(name).map_err(|e| e.to_string())?;
                }
                MountKind::Volume {
                    name: source,
                    no_copy: self.no_copy,
                    subpath: self.subpath,
                    driver: self.driver,
                    driver_opts: self.driver_opts,
                    labels: self.labels,
                    owners: self.owners.unwrap_or_default(),
                }
            }
        };
        let target = container_path(&target).map_err(|e| e.to_string())?;
        Ok(Mount { target, kind, read_only: self.read_only, syntax: MountSyntax::Mount })
    }
}

/// One CSV record: commas separate, double quotes protect.
fn split_fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// Whether `option` is one of a tmpfs besides its size, its mode, `ro` and `rw`.
pub fn is_tmpfs_option(option: &str) -> bool {
    match option.split_once('=') {
        Some(("uid" | "gid" | "nr_inodes" | "nr_blocks", value)) => {
            value.trim_end_matches(['k', 'm', 'g']).parse::<u64>().is_ok()
        }
        Some(_) => false,
        None => matches!(
            option,
            "exec"
                | "noexec"
                | "suid"
                | "nosuid"
                | "dev"
                | "nodev"
                | "sync"
                | "async"
                | "dirsync"
                | "atime"
                | "noatime"
                | "diratime"
                | "nodiratime"
                | "relatime"
                | "norelatime"
                | "strictatime"
                | "nostrictatime"
        ),
    }
}

/// `target[:options]` with tmpfs's own options.
pub fn tmpfs(text: &str) -> Result<Mount, FlagError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let target = container_path(target)?;
    let (mut size, mut mode, mut read_only, mut rest) = (None, None, false, Vec::new());
    for option in options.split(',').filter(|o| !o.is_empty()) {
        let invalid = || FlagError::new(format!("invalid tmpfs option {option:?} in {text:?}"));
        match option.split_once('=') {
            Some(("size", value)) => size = Some(size_bytes(value).map_err(|_| invalid())?),
            Some(("mode", value)) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| invalid())?),
            None if option == "ro" => read_only = true,
            None if option == "rw" => read_only = false,
            _ if is_tmpfs_option(option) => rest.push(option.to_owned()),
            _ => return Err(invalid()),
        }
    }
    Ok(Mount {
        target,
        kind: MountKind::Tmpfs { size_bytes: size, mode, options: rest, given: options.to_owned() },
        read_only,
        syntax: MountSyntax::Tmpfs,
    })
}

/// An absolute, cleaned path in the container that is not its root.
fn container_path(text: &str) -> Result<String, FlagError> {
    if !text.starts_with('/') {
        return Err(FlagError::new(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    let clean = clean(Path::new(text));
    if clean == Path::new("/") {
        return Err(FlagError::new("invalid specification: destination can't be '/'"));
    }
    Ok(clean.to_string_lossy().into_owned())
}

fn host_path(text: &str, directory: &Path) -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    match text.strip_prefix('~') {
        Some("") => home(),
        Some(rest) if rest.starts_with('/') => clean(&home().join(&rest[1..])),
        _ => clean(&directory.join(text)),
    }
}

/// Removes `.` and resolves `..` by name, as Go's `filepath.Clean`.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

fn volume_name(name: &str) -> Result<(), FlagError> {
    if crate::names::is_valid(name) {
        return Ok(());
    }
    Err(FlagError::new(crate::names::invalid_volume(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(mount: Result<Mount, FlagError>) -> String {
        match mount {
            Err(error) => error.to_string(),
            Ok(m) => {
                let map = |owners| match owners {
                    Owners::AsTheyAre => String::new(),
                    owners => format!(" idmap={owners}"),
                };
                let kind = match m.kind {
                    MountKind::Bind { source, create_source, owners, .. } => {
                        let create = if create_source { " create" } else { "" };
                        format!("bind {}{create}{}", source.display(), map(owners))
                    }
                    MountKind::Volume { name, no_copy, owners, .. } => {
                        let no_copy = if no_copy { " nocopy" } else { "" };
                        format!("volume {}{no_copy}{}", name.as_deref().unwrap_or("?"), map(owners))
                    }
                    MountKind::Tmpfs { size_bytes, mode, options, .. } => {
                        format!("tmpfs {size_bytes:?} {mode:?} {options:?}")
                    }
                };
                format!("{} <- {kind}{}", m.target, if m.read_only { " ro" } else { "" })
            }
        }
    }

    #[test]
    fn short_syntax() {
        fn check(text: &str, expected: &str) {
            assert_eq!(show(volume(text, Path::new("/home/me"))), expected, "{text}");
        }
        check("/data", "/data <- volume ?");
        check("data:/var/lib/", "/var/lib <- volume data");
        check("data:/var/lib:ro,nocopy", "/var/lib <- volume data nocopy ro");
        check("/srv:/x:ro", "/x <- bind /srv create ro");
        check("./site:/x", "/x <- bind /home/me/site create");
        check("../site:/x", "/x <- bind /home/site create");
        check("data:x", "invalid mount path: 'x' mount path must be absolute");
        check(":/x", "invalid volume specification: ':/x'");
        check("a:/b:c:d", "invalid volume specification: 'a:/b:c:d'");
        check("data:/", "invalid specification: destination can't be '/'");
        check("data:/x:wat", "invalid mode: wat");
        check("/srv:/x:ro,idmap=owner", "/x <- bind /srv create idmap=owner ro");
        check("/srv:/x:idmap", "/x <- bind /srv create");
        check("/srv:/x:idmap=wat", "invalid idmap \"wat\": \"wat\" is not one of owner, uids= and gids=");
        check("data:/x:nocopy,idmap=owner", "/x <- volume data nocopy idmap=owner");
    }

    #[test]
    fn long_syntax() {
        fn check(text: &str, expected: &str) {
            assert_eq!(show(mount(text, Path::new("/"))), expected, "{text}");
        }
        check("type=bind,src=/a,dst=/b,readonly", "/b <- bind /a ro");
        check("source=vol,target=/b", "/b <- volume vol");
        check("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=755", "/t <- tmpfs Some(1048576) Some(493) []");
        check("type=bind,src=/a,dst=/b,idmap=uids=0-7-1", "/b <- bind /a idmap=uids=0-7-1;gids=0-0-65536");
        let mixed = "type=tmpfs,dst=/b,idmap=owner";
        check(mixed, "idmap is for bind mounts and volumes");
        check("type=volume,src=vol,dst=/b,idmap=owner", "/b <- volume vol idmap=owner");
        check("type=bind,\"src=/a,b\",dst=/b", "/b <- bind /a,b");
        check("type=bind,dst=/b", "source is required for a bind mount");
        check("type=bind", "target is required");
        check("type=bind,wat=1", "unknown option 'wat' in 'wat=1'");
    }

    #[test]
    fn tmpfs_syntax() {
        fn check(text: &str, expected: &str) {
            assert_eq!(show(tmpfs(text)), expected, "{text}");
        }
        check("/run", "/run <- tmpfs None None []");
        check(
            "/run:size=64k,mode=700,exec,uid=33",
            "/run <- tmpfs Some(65536) Some(448) [\"exec\", \"uid=33\"]",
        );
        check("/run:wat", "invalid tmpfs option \"wat\" in \"/run:wat\"");
    }
}
