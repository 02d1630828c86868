//! What a client says about a build, attribute by attribute, as the builder's request.

use std::collections::{BTreeMap, HashMap};

use api::buildkit::{Status, code};
use build::{BuildRequest, CacheSource, NamedContext, RunNetwork};
use engine::model::Limits;
use engine::parse;
use image::PullPolicy;
use oci::image::Platform;
use serde::Deserialize;

use super::grpc::failure;
use crate::classic::Context;

/// A build as its client describes it.
pub struct Attributes {
    /// The name of the client's directory, unless the context is elsewhere.
    pub context: String,
    pub remote: Option<Context>,
    /// The name of the client's directory with the Dockerfile, if it was given one. Else a remote context has the Dockerfile, too.
    pub dockerfile: Option<String>,
    /// Further directories of the client's, by the names the Dockerfile has for them.
    pub directories: BTreeMap<String, String>,
    /// The Dockerfile's path in its directory.
    pub file_name: String,
    /// Everything but context and Dockerfile.
    pub request: BuildRequest,
}

fn invalid(key: &str, value: &str, reason: impl std::fmt::Display) -> Status {
    failure(code::UNKNOWN, format!("invalid value {value:?} for {key}: {reason}"))
}

fn unsupported(key: &str, value: &str, reason: &str) -> Status {
    failure(code::UNKNOWN, format!("{key}={value} is not supported: {reason}"))
}

/// `CacheOptionsEntry` in an attribute.
#[derive(Deserialize)]
struct CacheImport {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default, rename = "Attrs")]
    attributes: BTreeMap<String, String>,
}

impl Attributes {
    /// A build of the client's usual directories.
    pub fn new(file_name: String, request: BuildRequest) -> Self {
        let context = "context".to_owned();
        let directories = BTreeMap::new();
        Self { context, remote: None, dockerfile: None, directories, file_name, request }
    }

    /// Adds a cache to read; clients name the same one in several places.
    pub fn import(&mut self, source: CacheSource) {
        if !self.request.cache_from.contains(&source) {
            self.request.cache_from.push(source);
        }
    }

    /// Takes the attributes of frontend `dockerfile.v0`.
    ///
    /// # Errors
    /// One that is wrong, or that hull does not honour.
    pub fn parse(attributes: &HashMap<String, String>, entitlements: &[String]) -> Result<Self, Status> {
        let mut all = Self::new("Dockerfile".to_owned(), BuildRequest::default());
        // In the same order every time, so that the same mistake is told first.
        for (key, value) in attributes.iter().collect::<BTreeMap<_, _>>() {
            all.add(key, value, entitlements)?;
        }
        Ok(all)
    }

    fn add(&mut self, key: &str, value: &str, entitlements: &[String]) -> Result<(), Status> {
        let request = &mut self.request;
        match key {
            "filename" => value.clone_into(&mut self.file_name),
            "contextkey" => value.clone_into(&mut self.context),
            "dockerfilekey" => self.dockerfile = Some(value.to_owned()),
            // The host is the client's session.
            "context" if value.starts_with("http://buildkit-session/") => {
                let reason = "unpack the archive first, then build the directory";
                return Err(unsupported(key, value, reason));
            }
            "context" => {
                let place = Context::at(value).map_err(|error| failure(code::UNKNOWN, error.to_string()))?;
                let reason = "must be the address of a git repository, an archive or a Dockerfile";
                self.remote = Some(place.ok_or_else(|| invalid(key, value, reason))?);
            }
            "target" => request.target = Some(value.to_owned()).filter(|target| !target.is_empty()),
            "platform" => {
                let platform = Platform::parse(value).map_err(|error| invalid(key, value, error))?;
                if platform != Platform::host() {
                    let reason = "images are built for this machine's own platform only";
                    return Err(unsupported(key, value, reason));
                }
            }
            "no-cache" if value.is_empty() => request.no_cache = true,
            "no-cache" => {
                return Err(unsupported(key, value, "the cache is used for all stages or for none"));
            }
            "image-resolve-mode" => {
                request.pull = match value {
                    "pull" => PullPolicy::Always,
                    "" | "default" | "local" => PullPolicy::Missing,
                    _ => return Err(invalid(key, value, "must be one of default, pull, local")),
                };
            }
            "force-network-mode" => {
                request.network = match value {
                    "" | "sandbox" => RunNetwork::Default,
                    "none" => RunNetwork::None,
                    "host" if entitlements.iter().any(|given| given == "network.host") => RunNetwork::Host,
                    "host" => return Err(invalid(key, value, "entitlement network.host is missing")),
                    _ => return Err(invalid(key, value, "must be one of sandbox, none, host")),
                };
            }
            "add-hosts" => {
                for entry in value.split(',').filter(|entry| !entry.is_empty()) {
                    let (host, address) =
                        entry.split_once('=').ok_or_else(|| invalid(key, entry, "must be host=address"))?;
                    let address = address.parse().map_err(|error| invalid(key, entry, error))?;
                    request.add_hosts.push((host.to_owned(), address));
                }
            }
            "ulimit" => {
                let ulimits = value.split(',').map(parse::ulimit).collect::<Result<_, _>>();
                let ulimits = ulimits.map_err(|error| invalid(key, value, error))?;
                let limits = Limits { ulimits, ..Limits::default() };
                request.rlimits = limits.of_steps().map_err(|error| invalid(key, value, error))?.1;
            }
            "cgroup-parent" => request.cgroup_parent = Some(value.to_owned()).filter(|path| !path.is_empty()),
            "hostname" => {
                request.build_args.insert("BUILDKIT_SANDBOX_HOSTNAME".to_owned(), value.to_owned());
            }
            "shm-size" => {
                request.shm_size_bytes = Some(value.parse().map_err(|error| invalid(key, value, error))?);
            }
            "cache-from" => {
                for reference in value.split(',').filter(|reference| !reference.is_empty()) {
                    let source = CacheSource::new("registry", [("ref", reference)]);
                    self.import(source.map_err(|error| invalid(key, value, error))?);
                }
            }
            "cache-imports" => {
                let imports: Option<Vec<CacheImport>> =
                    serde_json::from_str(value).map_err(|error| invalid(key, value, error))?;
                for CacheImport { kind, attributes } in imports.unwrap_or_default() {
                    let attributes = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    let source = CacheSource::new(&kind, attributes);
                    self.import(
                        source.map_err(|error| failure(code::UNKNOWN, format!("cache-from: {error}")))?,
                    );
                }
            }
            // That named contexts are forwarded; and where the sources come from, which only attestations tell of.
            "frontend.caps"
                if value.split(',').all(|cap| cap == "moby.buildkit.frontend.contexts+forward") => {}
            _ if key.starts_with("vcs:") => {}
            "multi-platform" if value == "false" => {}
            "build-arg:BUILDKIT_MULTI_PLATFORM" if matches!(value, "0" | "false") => {}
            "build-arg:BUILDKIT_SYNTAX" => {
                if !build::dockerfile::is_own_syntax(value) {
                    return Err(unsupported(
                        "syntax",
                        value,
                        "hull has no frontend but its own, docker/dockerfile",
                    ));
                }
            }
            _ => match key.split_once(':') {
                Some(("build-arg", name)) => {
                    request.build_args.insert(name.to_owned(), value.to_owned());
                }
                Some(("context", name)) => {
                    let name = name.to_owned();
                    if let Some(directory) = value.strip_prefix("local:") {
                        self.directories.insert(name, directory.to_owned());
                    } else {
                        let place = NamedContext::elsewhere(value)
                            .map_err(|error| failure(code::UNKNOWN, error.to_string()))?;
                        let reason = "a context is a directory of the client's, docker-image://reference or a git \
                                      repository";
                        let place = place.ok_or_else(|| unsupported(key, value, reason))?;
                        request.contexts.insert(name, place);
                    }
                }
                Some(("label", name)) => {
                    request.labels.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(unsupported(key, value, "hull does not know this attribute of builds")),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(attributes: &[(&str, &str)], entitlements: &[&str]) -> Result<Attributes, String> {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let entitlements: Vec<String> = entitlements.iter().map(|text| (*text).to_owned()).collect();
        Attributes::parse(&attributes, &entitlements).map_err(|status| status.message)
    }

    #[test]
    fn attributes_become_a_request() {
        let all = parse(
            &[
                ("filename", "a.Dockerfile"),
                ("target", "tests"),
                ("build-arg:A:B", "1"),
                ("label:x.y", "z"),
                ("no-cache", ""),
                ("image-resolve-mode", "pull"),
                ("add-hosts", "one=10.0.0.1,two=::1"),
                ("shm-size", "65536"),
                ("cgroup-parent", "/builds"),
                ("force-network-mode", "host"),
                ("vcs:revision", "abc"),
            ],
            &["network.host"],
        )
        .unwrap();
        let request = all.request;
        assert_eq!((all.file_name.as_str(), request.target.as_deref()), ("a.Dockerfile", Some("tests")));
        assert_eq!(request.build_args["A:B"], "1");
        assert_eq!(request.labels["x.y"], "z");
        assert!(request.no_cache && request.pull == PullPolicy::Always);
        assert_eq!(request.add_hosts.len(), 2);
        assert_eq!(request.cgroup_parent.as_deref(), Some("/builds"));
        assert_eq!((request.shm_size_bytes, request.network), (Some(65536), RunNetwork::Host));
    }

    #[test]
    fn contexts_are_elsewhere() {
        let all = parse(
            &[("context", "https://u:p@x/y.git#main:a"), ("context:z", "git@x:z"), ("dockerfilekey", "own")],
            &[],
        )
        .unwrap();
        assert_eq!(
            format!("{:?}", all.remote.unwrap()),
            "Repository(Repository(https://xxxxx:xxxxx@x/y.git#main:a))"
        );
        assert_eq!(format!("{:?}", all.request.contexts["z"]), "Repository(Repository(git@x:z))");
        assert_eq!(all.dockerfile.as_deref(), Some("own"));
        let web = parse(&[("context", "https://x/y.tar")], &[]).unwrap().remote;
        assert_eq!(web, Some(Context::Remote("https://x/y.tar".to_owned())));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        for (key, value, expected) in [
            ("attest:sbom", "", "attest:sbom="),
            ("context:x", "https://example.com/x.tar", "context:x=https://"),
            ("context:x", "https://example.com/x.git#-x", "invalid git repository"),
            ("context:x", "target:y", "context:x=target:y"),
            ("ulimit", "nofile=1,wat=2", "invalid ulimit type: wat"),
            ("no-cache", "stage", "no-cache=stage"),
            ("context", "https://example.com/x.git#-x", "invalid git repository"),
            ("context", "ftp://example.com/x.git", "must be the address of"),
            ("context", "http://buildkit-session/x", "unpack the archive first"),
            ("platform", "linux/s390x", "platform=linux/s390x"),
            ("requestid", "frontend.outline", "requestid="),
            ("force-network-mode", "host", "entitlement network.host"),
            ("image-resolve-mode", "never", "must be one of"),
            ("add-hosts", "x", "must be host=address"),
            ("shm-size", "1g", "invalid value"),
            ("build-arg:BUILDKIT_SYNTAX", "example.com/frontend", "syntax=example.com/frontend"),
        ] {
            let error = parse(&[(key, value)], &[]).err().unwrap_or_else(|| panic!("{key} is taken"));
            assert!(error.contains(expected), "{key}: {error}");
        }
    }
}
