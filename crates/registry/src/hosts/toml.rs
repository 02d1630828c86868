//! `hosts.toml`, as containerd reads it. What is not understood is an error: a mirror nobody asks is worse than none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::certificates::{self, Trust};
use super::{Abilities, Host, HostsError, Scheme};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    server: Option<String>,
    host: IndexMap<String, Section>,
    // The settings of `server`; serde does not check names through `flatten`.
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<Client>,
    skip_verify: bool,
    header: IndexMap<String, OneOrMore>,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<Client>,
    skip_verify: bool,
    header: IndexMap<String, OneOrMore>,
    override_path: bool,
    dial_timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::More(texts) => texts,
        }
    }
}

/// Files with a certificate and its key in them, or pairs of files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    Together(OneOrMore),
    Pairs(Vec<(String, String)>),
}

/// Reads the places to ask for `domain` from the file `path`.
pub fn read(path: &Path, domain: &str) -> Result<Vec<Host>, HostsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| HostsError::Read { path: path.to_owned(), source })?;
    Reader { path, domain }.hosts(&text)
}

struct Reader<'a> {
    path: &'a Path,
    domain: &'a str,
}

impl Reader<'_> {
    fn malformed(&self, why: impl std::fmt::Display) -> HostsError {
        HostsError::Malformed { path: self.path.to_owned(), why: why.to_string() }
    }

    fn hosts(&self, text: &str) -> Result<Vec<Host>, HostsError> {
        let file: File = ::toml::from_str(text).map_err(|e| self.malformed(e.to_string().trim_end()))?;
        let mut hosts = Vec::new();
        for (address, section) in file.host {
            let mirror = Some(self.domain.to_owned());
            hosts.push(self.settled(self.host(&address, section.override_path)?, section, mirror)?);
        }
        let section = Section {
            capabilities: file.capabilities,
            ca: file.ca,
            client: file.client,
            skip_verify: file.skip_verify,
            header: file.header,
            override_path: file.override_path,
            dial_timeout: file.dial_timeout,
        };
        let itself = match &file.server {
            Some(address) => {
                // However it is reached, credentials are kept under the name users know.
                Host { name: self.domain.to_owned(), ..self.host(address, section.override_path)? }
            }
            None => Host::itself(self.domain)?,
        };
        hosts.push(self.settled(itself, section, None)?);
        Ok(hosts)
    }

    /// A host at `address`, whose scheme may be missing and whose path is one above `/v2`.
    fn host(&self, address: &str, override_path: bool) -> Result<Host, HostsError> {
        let with_scheme = match address.contains("://") {
            true => address.to_owned(),
            false if super::is_loopback(address.split('/').next().unwrap_or_default()) => {
                format!("http://{address}")
            }
            false => format!("https://{address}"),
        };
        let wrong = || self.malformed(format_args!("{address:?} is no address of a registry"));
        let mut base = Url::parse(&with_scheme).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || !base.username().is_empty()
        {
            return Err(wrong());
        }
        let host = base.host_str().ok_or_else(wrong)?.to_owned();
        let name = base.port().map_or(host.clone(), |port| format!("{host}:{port}"));
        let path = base.path().trim_end_matches('/').to_owned();
        let tail = if override_path || path.ends_with("/v2") { "/" } else { "/v2/" };
        base.set_path(&format!("{path}{tail}"));
        Ok(Host {
            name,
            base,
            scheme: Scheme::Settled,
            can: Abilities::ALL,
            trust: Trust::default(),
            headers: HeaderMap::new(),
            connect_limit: None,
            mirrors: None,
        })
    }

    /// `host` with what is said about it.
    fn settled(&self, host: Host, section: Section, mirrors: Option<String>) -> Result<Host, HostsError> {
        let mut trust = Trust { verify: !section.skip_verify, ..Trust::default() };
        for file in section.ca.map(OneOrMore::into_vec).unwrap_or_default() {
            trust.authorities.extend(certificates::read(&self.beside(&file))?);
        }
        let pairs = match section.client {
            None => Vec::new(),
            Some(Client::Together(files)) => {
                files.into_vec().into_iter().map(|file| (file.clone(), file)).collect()
            }
            Some(Client::Pairs(pairs)) => pairs,
        };
        if pairs.len() > 1 {
            return Err(self.malformed("client: one certificate can be shown, and several are named"));
        }
        if let Some((certificate, key)) = pairs.first() {
            trust.identity = Some(certificates::identity(&self.beside(certificate), &self.beside(key))?);
        }
        Ok(Host {
            can: self.abilities(section.capabilities)?,
            trust,
            headers: self.headers(section.header)?,
            connect_limit: section.dial_timeout.map(|text| self.duration(&text)).transpose()?,
            mirrors,
            ..host
        })
    }

    /// A path as the file has it, relative to where the file is.
    fn beside(&self, file: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).join(file)
    }

    fn abilities(&self, names: Option<Vec<String>>) -> Result<Abilities, HostsError> {
        let Some(names) = names else { return Ok(Abilities::ALL) };
        let mut can = Abilities { pull: false, resolve: false, push: false };
        for name in names {
            match name.as_str() {
                "pull" => can.pull = true,
                "resolve" => can.resolve = true,
                "push" => can.push = true,
                other => return Err(self.malformed(format_args!("unknown capability {other:?}"))),
            }
        }
        Ok(can)
    }

    fn headers(&self, section: IndexMap<String, OneOrMore>) -> Result<HeaderMap, HostsError> {
        let mut headers = HeaderMap::new();
        for (name, values) in section {
            let wrong = || self.malformed(format_args!("{name:?} is no header"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            for value in values.into_vec() {
                let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
                value.set_sensitive(true);
                headers.append(header.clone(), value);
            }
        }
        Ok(headers)
    }

    /// `5s`, `500ms`, `1m`.
    fn duration(&self, text: &str) -> Result<Duration, HostsError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: Option<u64> = number.parse().ok();
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        number
            .zip(milliseconds)
            .and_then(|(number, unit)| number.checked_mul(unit))
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| self.malformed(format_args!("{text:?} is no time such as \"5s\"")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Result<Vec<Host>, String> {
        let reader = Reader { path: Path::new("/none/hosts.toml"), domain: "r.example" };
        reader.hosts(text).map_err(|e| e.to_string())
    }

    #[test]
    fn mirrors_come_in_their_order_and_the_registry_last() {
        let text = r#"
            [host."https://z.example"]
            capabilities = ["pull"]
            [host."http://a.example:5000/cache"]
            skip_verify = true
            dial_timeout = "5s"
            [host."http://a.example:5000/cache".header]
            X-Team = "blue"
            X-Key = ["1", "2"]
            [host."https://m.example/any/where"]
            override_path = true
            [host."https://n.example/v2"]
        "#;
        let hosts = hosts(text).unwrap();
        let bases: Vec<_> = hosts.iter().map(|host| host.base.as_str()).collect();
        let expected = [
            "https://z.example/v2/",
            "http://a.example:5000/cache/v2/",
            "https://m.example/any/where/",
            "https://n.example/v2/",
            "https://r.example/v2/",
        ];
        assert_eq!(bases, expected);
        assert_eq!(hosts[0].can, Abilities { pull: true, resolve: false, push: false });
        assert_eq!(hosts[1].headers.get_all("x-key").iter().count(), 2);
        assert_eq!(hosts[1].connect_limit, Some(Duration::from_secs(5)));
        assert!(!hosts[1].trust.verify && hosts[0].trust.verify);
        assert_eq!(
            (hosts[1].name.as_str(), hosts[1].mirrors.as_deref()),
            ("a.example:5000", Some("r.example"))
        );
        assert_eq!((hosts[4].name.as_str(), hosts[4].mirrors.as_deref()), ("r.example", None));
    }

    #[test]
    fn the_server_may_be_elsewhere() {
        let hosts =
            hosts("server = \"http://10.0.0.1:5000\"\ncapabilities = [\"pull\", \"resolve\"]").unwrap();
        assert_eq!(
            (hosts[0].name.as_str(), hosts[0].base.as_str()),
            ("r.example", "http://10.0.0.1:5000/v2/")
        );
        assert!(!hosts[0].can.push);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let check = |text: &str, why: &str| {
            let error = hosts(text).unwrap_err();
            assert!(error.contains("/none/") && error.contains(why), "{text}: {error}");
        };
        check("servr = \"x\"", "servr");
        check("[host.\"https://a\"]\ncapabilitys = []", "capabilitys");
        check("[host.\"https://a\"]\ncapabilities = [\"fly\"]", "fly");
        check("[host.\"ftp://a\"]", "ftp://a");
        check("[host.\"https://user:secret@a\"]", "no address");
        check("[host.\"https://a\"]\nca = \"missing.pem\"", "missing.pem");
        check("dial_timeout = \"soon\"", "soon");
        check("client = [\"a.pem\", \"b.pem\"]", "several are named");
        check("client = [[\"a.pem\", \"a.key\"], [\"b.pem\", \"b.key\"]]", "several are named");
        check("[host.\"https://a\".header]\n\"a b\" = \"x\"", "a b");
        check("= ", "malformed");
    }

    proptest::proptest! {
        #[test]
        fn any_file_is_an_answer(text in ".*", value in r#"[a-z"\[\]{}=,. 0-9/:]*"#) {
            let _ = hosts(&text);
            for key in ["server", "ca", "client", "header", "host.a.client", "host.\"http://b\".header", "dial_timeout"] {
                let _ = hosts(&format!("{key} = {value}"));
                let _ = hosts(&format!("{key} = \"{value}\""));
            }
        }
    }
}
