//! `RUN --mount=...`.

/// One mount of a RUN step; paths are not expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub target: Option<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image; writes, where allowed, are thrown away.
    Bind {
        from: Option<String>,
        source: String,
        writable: bool,
    },
    /// A directory kept between builds.
    Cache {
        id: Option<String>,
        sharing: Sharing,
        read_only: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Tmpfs {
        size_bytes: Option<u64>,
    },
    /// A file, or with `env` a variable, holding one of the request's secrets.
    Secret {
        id: Option<String>,
        env: Option<String>,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// The socket of one of the request's SSH agents.
    Ssh {
        id: Option<String>,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

/// What a second user of a cache mount gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// The same directory at the same time.
    Shared,
    /// Another directory.
    Private,
    /// The same directory, when the first is done.
    Locked,
}

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    target: Option<String>,
    source: Option<String>,
    from: Option<String>,
    id: Option<String>,
    env: Option<String>,
    sharing: Option<Sharing>,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    required: bool,
    writable: Option<bool>,
}

/// Parses the value of one `--mount` flag.
pub fn parse(value: &str) -> Result<Mount, String> {
    let mut fields = Fields::default();
    for field in csv(value) {
        set(&mut fields, &field).map_err(|error| format!("--mount={value}: {error}"))?;
    }
    build(fields).map_err(|error| format!("--mount={value}: {error}"))
}

fn set(fields: &mut Fields, field: &str) -> Result<(), String> {
    let (key, value) = match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
        None => (field.to_ascii_lowercase(), None),
    };
    let flag = || match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    };
    match key.as_str() {
        "readonly" | "ro" => fields.writable = Some(!flag()?),
        "readwrite" | "rw" => fields.writable = Some(flag()?),
        "required" => fields.required = flag()?,
        _ => {
            let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
            let number = |radix| {
                u32::from_str_radix(value, radix).map_err(|_| format!("invalid value for {key}: {value}"))
            };
            let text = Some(value.to_owned());
            match key.as_str() {
                "type" => fields.kind = Some(value.to_ascii_lowercase()),
                "target" | "dst" | "destination" => fields.target = text,
                "source" | "src" => fields.source = text,
                "from" => fields.from = text,
                "id" => fields.id = text,
                "env" => fields.env = text,
                "mode" => fields.mode = Some(number(8)?),
                "uid" => fields.uid = Some(number(10)?),
                "gid" => fields.gid = Some(number(10)?),
                "size" => fields.size_bytes = Some(size(value)?),
                "sharing" => {
                    fields.sharing = Some(match value {
                        "shared" => Sharing::Shared,
                        "private" => Sharing::Private,
                        "locked" => Sharing::Locked,
                        other => return Err(format!("unsupported sharing value {other:?}")),
                    });
                }
                _ => return Err(format!("unexpected key '{key}' in '{field}'")),
            }
        }
    }
    Ok(())
}

fn build(fields: Fields) -> Result<Mount, String> {
    let kind = fields.kind.as_deref().unwrap_or("bind").to_owned();
    let target = fields.target;
    let needs_target = || match &target {
        Some(target) if !target.is_empty() => Ok(()),
        _ => Err("target is required".to_owned()),
    };
    if fields.env.is_some() && kind != "secret" {
        return Err("env is only for secret mounts".to_owned());
    }
    if fields.from.as_deref().is_some_and(|from| from.contains('$')) {
        return Err("'from' doesn't support variable expansion, define alias stage instead".to_owned());
    }
    let kind = match kind.as_str() {
        "bind" => {
            needs_target()?;
            MountKind::Bind {
                from: fields.from,
                source: fields.source.unwrap_or_else(|| "/".to_owned()),
                writable: fields.writable.unwrap_or(false),
            }
        }
        "cache" => {
            needs_target()?;
            if fields.from.is_some() || fields.source.is_some() {
                return Err("a cache mount filled by from= or source= is not supported".to_owned());
            }
            MountKind::Cache {
                id: fields.id,
                sharing: fields.sharing.unwrap_or(Sharing::Shared),
                read_only: !fields.writable.unwrap_or(true),
                mode: fields.mode.unwrap_or(0o755),
                uid: fields.uid.unwrap_or(0),
                gid: fields.gid.unwrap_or(0),
            }
        }
        "tmpfs" => {
            needs_target()?;
            MountKind::Tmpfs { size_bytes: fields.size_bytes }
        }
        "secret" => MountKind::Secret {
            id: fields.id.or(fields.source),
            env: fields.env,
            required: fields.required,
            mode: fields.mode.unwrap_or(0o400),
            uid: fields.uid.unwrap_or(0),
            gid: fields.gid.unwrap_or(0),
        },
        "ssh" => MountKind::Ssh {
            id: fields.id.or(fields.source),
            required: fields.required,
            mode: fields.mode.unwrap_or(0o600),
            uid: fields.uid.unwrap_or(0),
            gid: fields.gid.unwrap_or(0),
        },
        other => return Err(format!("unsupported mount type {other:?}")),
    };
    if matches!(&kind, MountKind::Secret { id: None, .. }) && target.is_none() {
        return Err("a secret needs an id or a target".to_owned());
    }
    Ok(Mount { kind, target })
}

fn size(text: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("invalid size: {text}")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("invalid size: {text}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("invalid size: {text}"))
}

/// Fields at commas; a field in double quotes may hold commas.
fn csv(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().expect("starts with one field").push(c),
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: MountKind, target: Option<&str>) {
        assert_eq!(parse(value), Ok(Mount { kind: expected, target: target.map(str::to_owned) }), "{value}");
    }

    #[test]
    fn kinds() {
        let bind = |from: Option<&str>, source: &str, writable| MountKind::Bind {
            from: from.map(str::to_owned),
            source: source.to_owned(),
            writable,
        };
        check("target=/x", bind(None, "/", false), Some("/x"));
        check("type=bind,src=a,dst=/x,rw", bind(None, "a", true), Some("/x"));
        check("type=bind,from=b,source=a,target=/x,readonly=false", bind(Some("b"), "a", true), Some("/x"));
        let cache = |sharing, id: Option<&str>| MountKind::Cache {
            id: id.map(str::to_owned),
            sharing,
            read_only: false,
            mode: 0o755,
            uid: 0,
            gid: 0,
        };
        check("type=cache,target=/c", cache(Sharing::Shared, None), Some("/c"));
        check("type=cache,target=/c,sharing=locked,id=a", cache(Sharing::Locked, Some("a")), Some("/c"));
        check("type=tmpfs,target=/t,size=1m", MountKind::Tmpfs { size_bytes: Some(1 << 20) }, Some("/t"));
        check(
            "type=secret,id=s,required,mode=0444,uid=5",
            MountKind::Secret {
                id: Some("s".into()),
                env: None,
                required: true,
                mode: 0o444,
                uid: 5,
                gid: 0,
            },
            None,
        );
    }

    #[test]
    fn agents() {
        let ssh = |id: Option<&str>, required| MountKind::Ssh {
            id: id.map(str::to_owned),
            required,
            mode: 0o600,
            uid: 0,
            gid: 0,
        };
        check("type=ssh", ssh(None, false), None);
        check("type=ssh,id=a,required=true,target=/agent", ssh(Some("a"), true), Some("/agent"));
    }

    #[test]
    fn errors() {
        let fails = |value: &str, expected: &str| {
            let error = parse(value).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        };
        fails("type=bind", "target is required");
        fails("type=x,target=/y", "unsupported mount type \"x\"");
        fails("target", "invalid field 'target' must be a key=value pair");
        fails("colour=red", "unexpected key 'colour'");
        fails("type=cache,target=/x,sharing=odd", "unsupported sharing value");
        fails("target=/x,from=$a", "doesn't support variable expansion");
        fails("type=secret", "needs an id");
        fails("type=tmpfs,target=/x,size=1q", "invalid size");
        fails("type=cache,target=/x,mode=9", "invalid value for mode");
    }
}
