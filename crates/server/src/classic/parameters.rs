//! What a classic build is asked for.

use std::collections::{BTreeMap, HashMap};

use ::build::{BuildError, BuildRequest, CacheSource, Repository, RunNetwork};
use engine::model::Limits;
use engine::parse;
use image::PullPolicy;
use oci::image::Platform;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::containers::create::ulimit;
use crate::refusal::Refusal;
use crate::request::Query;

/// A build but for its context.
pub struct Wanted {
    pub request: BuildRequest,
    /// The Dockerfile's path in the context.
    pub file_name: String,
    pub context: Context,
    /// Whether BuildKit is to build, and the answer what BuildKit tells.
    pub is_buildkit: bool,
    /// What is to become of the result, for BuildKit alone.
    pub outputs: Vec<Output>,
}

/// Where the context is.
#[derive(Debug, PartialEq, Eq)]
pub enum Context {
    Body,
    /// At an address of the web.
    Remote(String),
    Repository(Repository),
    /// With the client, on its session.
    Session,
    /// In the body of another request, which names this build.
    Upload,
}

impl Context {
    /// What is at an address; `None` when it is no address of the web or of a repository.
    ///
    /// # Errors
    /// It means a repository, and is wrong.
    pub fn at(address: &str) -> Result<Option<Self>, BuildError> {
        if let Some(repository) = Repository::parse(address)? {
            return Ok(Some(Self::Repository(repository)));
        }
        let is_web = address.starts_with("http://") || address.starts_with("https://");
        Ok(is_web.then(|| Self::Remote(address.to_owned())))
    }
}

/// An entry of `outputs`.
#[derive(Debug, Deserialize)]
pub struct Output {
    #[serde(rename = "Type", alias = "type")]
    pub kind: String,
    #[serde(rename = "Attrs", alias = "attrs")]
    pub attributes: Option<HashMap<String, String>>,
}

/// Reads all parameters. `rm` and `forcerm` mean nothing here: there are no intermediate containers. Of BuildKit's clients alone anything is
/// asked on a `session`.
pub fn read(query: &Query) -> Result<Wanted, Refusal> {
    let is_buildkit = match query.get("version") {
        None | Some("1") => false,
        Some("2") => true,
        Some(other) => return Err(Refusal::invalid(format!("invalid version: {other:?}"))),
    };
    refuse(query)?;
    let outputs: Vec<Output> = document(query, "outputs")?.unwrap_or_default();
    if !is_buildkit && !outputs.is_empty() {
        return Err(unsupported("outputs", "the classic builder does not have it"));
    }
    let mut add_hosts = Vec::new();
    for entry in
        query.all("extrahosts").flat_map(|entries| entries.split(',')).filter(|entry| !entry.is_empty())
    {
        let wrong = || Refusal::invalid(format!("extrahosts: bad format for add-host: {entry:?}"));
        let (host, address) = parse::extra_host(entry).map_err(|_| wrong())?;
        add_hosts.push((host, address.parse().map_err(|_| wrong())?));
    }
    let network = match query.get("networkmode").unwrap_or_default() {
        "" | "default" | "bridge" => RunNetwork::Default,
        "none" => RunNetwork::None,
        "host" => RunNetwork::Host,
        other => {
            return Err(unsupported("networkmode", &format!("{other:?} is none of default, none and host")));
        }
    };
    let build_args: BTreeMap<String, Option<String>> = document(query, "buildargs")?.unwrap_or_default();
    let (resources, rlimits) = limits(query)?.of_steps()?;
    let cache_from: Vec<String> = document(query, "cachefrom")?.unwrap_or_default();
    let request = BuildRequest {
        tags: query.all("t").filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        target: query.get("target").map(str::to_owned),
        // One without a value is one that the client's environment does not have.
        build_args: build_args.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        labels: document(query, "labels")?.unwrap_or_default(),
        no_cache: query.flag("nocache"),
        cache_from: cache_from.into_iter().map(CacheSource::Image).collect(),
        pull: if query.flag("pull") { PullPolicy::Always } else { PullPolicy::Missing },
        network,
        add_hosts,
        shm_size_bytes: query.number("shmsize")?.filter(|bytes| *bytes != 0),
        resources,
        cgroup_parent: query.get("cgroupparent").map(str::to_owned),
        rlimits,
        ..BuildRequest::default()
    };
    let file_name = query.get("dockerfile").unwrap_or("Dockerfile").to_owned();
    Ok(Wanted { request, file_name, context: context(query, is_buildkit)?, is_buildkit, outputs })
}

fn context(query: &Query, is_buildkit: bool) -> Result<Context, Refusal> {
    let Some(address) = query.get("remote") else { return Ok(Context::Body) };
    match address {
        "client-session" if is_buildkit => Ok(Context::Session),
        "upload-request" if is_buildkit => Ok(Context::Upload),
        _ => Context::at(address)?
            .ok_or_else(|| Refusal::invalid(format!("remoteURL ({address}) could not be recognized as URL"))),
    }
}

/// What steps may use.
fn limits(query: &Query) -> Result<Limits, Refusal> {
    let ulimits: Option<Vec<api::container::Ulimit>> = document(query, "ulimits")?;
    let set = |name| query.get(name).map(str::to_owned);
    Ok(Limits {
        memory_bytes: query.number("memory")?,
        memory_swap_bytes: query.number("memswap")?,
        cpu_shares: query.number("cpushares")?,
        cpu_period_us: query.number("cpuperiod")?,
        cpu_quota_us: query.number("cpuquota")?,
        cpuset_cpus: set("cpusetcpus"),
        cpuset_mems: set("cpusetmems"),
        ulimits: ulimits.unwrap_or_default().into_iter().map(ulimit).collect(),
        ..Limits::default()
    })
}

fn refuse(query: &Query) -> Result<(), Refusal> {
    let options: Option<Vec<String>> = document(query, "securityopt")?;
    if options.is_some_and(|options| !options.is_empty()) {
        return Err(unsupported("securityopt", "steps have the default profile"));
    }
    if query.flag("squash") {
        return Err(unsupported("squash", "layers are kept as they were made"));
    }
    if query.get("isolation").is_some_and(|isolation| isolation != "default") {
        return Err(unsupported("isolation", "it is for Windows"));
    }
    let platform = query.get("platform").map(Platform::parse).transpose();
    match platform.map_err(|error| Refusal::invalid(error.to_string()))? {
        Some(platform) if platform != Platform::host() => {
            Err(unsupported("platform", "images are built for this machine's own platform only"))
        }
        _ => Ok(()),
    }
}

fn unsupported(name: &str, why: &str) -> Refusal {
    Refusal::unsupported(format!("{name}: {why}"))
}

/// A parameter that is a JSON document.
fn document<T: DeserializeOwned>(query: &Query, name: &str) -> Result<Option<T>, Refusal> {
    let read = |text| serde_json::from_str::<Option<T>>(text);
    let document = query.get(name).map(read).transpose();
    document.map(Option::flatten).map_err(|error| Refusal::invalid(format!("error reading {name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dockers_client_sends_is_understood() {
        let query = Query::parse(Some(
            "buildargs=%7B%22A%22%3A%22b%22%2C%22NONE%22%3Anull%7D&cachefrom=%5B%22cached%22%5D&cgroupparent=%2Fbuilds&cpuperiod=0&cpuquota=0&cpusetcpus=\
             &cpusetmems=&cpushares=0&dockerfile=sub%2FDockerfile&extrahosts=a%3A1.2.3.4&labels=%7B%22k%22%3A%22v%22%7D&memory=16000000\
             &memswap=0&networkmode=none&rm=1&shmsize=0&t=one&t=two%3A2&target=&ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A9%2C%22Hard%22%3A9%7D%5D&version=1",
        ));
        let Wanted { request, file_name, context, .. } =
            read(&query).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert_eq!(request.tags, ["one", "two:2"]);
        assert_eq!(request.build_args, BTreeMap::from([("A".to_owned(), "b".to_owned())]));
        assert_eq!(request.resources.memory.and_then(|memory| memory.limit), Some(16_000_000));
        assert_eq!(request.rlimits.len(), 1);
        assert_eq!(request.cgroup_parent.as_deref(), Some("/builds"));
        assert_eq!(request.cache_from, [CacheSource::Image("cached".to_owned())]);
        assert_eq!(request.labels, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
        assert_eq!((request.network, request.shm_size_bytes, request.target), (RunNetwork::None, None, None));
        assert_eq!(request.add_hosts, [("a".to_owned(), [1, 2, 3, 4].into())]);
        assert_eq!((file_name.as_str(), context), ("sub/Dockerfile", Context::Body));
    }

    #[test]
    fn what_is_not_done_is_named() {
        for (query, name) in [
            ("outputs=%5B%7B%22Type%22%3A%22tar%22%7D%5D", "outputs: "),
            ("squash=1", "squash: "),
            ("platform=linux%2Fs390x", "platform: "),
            ("networkmode=container%3Ax", "networkmode: "),
        ] {
            let refusal = read(&Query::parse(Some(query))).err().unwrap_or_else(|| panic!("{query}"));
            assert!(refusal.status == 501 && refusal.message.starts_with(name), "{refusal:?}");
        }
        for query in [
            "memory=1000000",
            "ulimits=%5B%7B%22Name%22%3A%22wat%22%7D%5D",
            "buildargs=7",
            "labels=%7B",
            "memory=much",
            "extrahosts=here",
            "platform=a%2Fb%2Fc%2Fd",
            "version=3",
            "remote=file%3A%2F%2F%2Fetc%2Fpasswd",
            "remote=https%3A%2F%2Fx%2Fy.git%23-main",
            "remote=client-session",
            "remote=upload-request",
            "version=2&outputs=%5B%7B%7D%5D",
        ] {
            assert_eq!(
                read(&Query::parse(Some(query))).err().map(|refusal| refusal.status.as_u16()),
                Some(400),
                "{query}"
            );
        }
    }
}
