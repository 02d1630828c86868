//! The network of a stage's RUN steps: one namespace, made when the first step needs it and kept for the next ones.
//!
//! Steps of one stage follow each other, and nothing of a step outlives it, so they share addresses and interfaces without
//! meeting. The namespace has no name anywhere: it ends with the last descriptor, also when the build is killed.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use net::{EndpointPlan, EndpointSource, Netns};

use crate::RunNetwork;
use crate::error::StepError;
use crate::workspace::Workspace;

/// The namespaces of one stage.
pub struct StageNetwork<'a> {
    context: &'a net::Context,
    endpoints: &'a dyn EndpointSource,
    workspace: &'a Workspace,
    bridge: Option<Attached>,
    isolated: Option<OwnedFd>,
}

struct Attached {
    netns: OwnedFd,
    endpoint: EndpointPlan,
    note: PathBuf,
}

impl<'a> StageNetwork<'a> {
    pub fn new(
        context: &'a net::Context,
        endpoints: &'a dyn EndpointSource,
        workspace: &'a Workspace,
    ) -> Self {
        Self { context, endpoints, workspace, bridge: None, isolated: None }
    }

    /// The namespace to join; `None` is the host's.
    ///
    /// # Errors
    /// A lease that cannot be had, an interface that cannot be made.
    pub fn namespace(&mut self, network: RunNetwork) -> Result<Option<BorrowedFd<'_>>, StepError> {
        match network {
            RunNetwork::Host => Ok(None),
            RunNetwork::None => {
                if self.isolated.is_none() {
                    let netns = net::new_netns().map_err(StepError::io("make", "a network namespace"))?;
                    net::loopback_up(netns.as_fd()).map_err(StepError::engine("set up the network"))?;
                    self.isolated = Some(netns);
                }
                Ok(self.isolated.as_ref().map(AsFd::as_fd))
            }
            RunNetwork::Default => {
                if self.bridge.is_none() {
                    self.bridge = Some(self.attach()?);
                }
                Ok(self.bridge.as_ref().map(|attached| attached.netns.as_fd()))
            }
        }
    }

    fn attach(&self) -> Result<Attached, StepError> {
        let endpoint = self.endpoints.acquire().map_err(|failure| StepError::Engine {
            what: "lease an address".to_owned(),
            source: crate::error::Cause::from(failure),
        })?;
        let release = |error| {
            self.endpoints.release(&endpoint);
            error
        };
        let note = self.workspace.path().join(format!("endpoint-{}", self.workspace.next()));
        let json = serde_json::to_vec(&endpoint).unwrap_or_default();
        fs::write(&note, json).map_err(|error| release(StepError::io("write", note.display())(error)))?;
        let netns =
            net::new_netns().map_err(|error| release(StepError::io("make", "a network namespace")(error)))?;
        net::attach(self.context, netns.as_fd(), &endpoint)
            .map_err(|error| release(StepError::engine("set up the network")(error)))?;
        Ok(Attached { netns, endpoint, note })
    }
}

impl Drop for StageNetwork<'_> {
    fn drop(&mut self) {
        if let Some(Attached { netns, endpoint, note }) = self.bridge.take() {
            let _ = net::detach(self.context, &endpoint, Netns::Ending);
            drop(netns);
            self.endpoints.release(&endpoint);
            let _ = fs::remove_file(note);
        }
    }
}

/// What `/etc/resolv.conf` of RUN steps says; Docker's public servers where the host has none to reach.
pub fn resolv_conf(network: RunNetwork) -> String {
    if network == RunNetwork::Host
        && let Ok(text) = fs::read_to_string("/etc/resolv.conf")
    {
        return text;
    }
    let found = net::dns::host_resolvers();
    let mut text = String::new();
    for server in &found.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if found.servers.is_empty() {
        text.push_str("nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
    }
    if !found.search.is_empty() {
        text.push_str(&format!("search {}\n", found.search.join(" ")));
    }
    if !found.options.is_empty() {
        text.push_str(&format!("options {}\n", found.options.join(" ")));
    }
    text
}
