//! The network of a stage's RUN steps: one namespace, made when the first step needs it and kept for the next ones.
//!
//! Steps of one stage follow each other, and nothing of a step outlives it, so they share addresses and interfaces without
//! meeting. The namespace has no name anywhere: it ends with the last descriptor, also when the build is killed.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use net::{EndpointPlan, EndpointSource, Netns};
use runtime::ids::{Lease, Policy, Pool};

use crate::RunNetwork;
use crate::error::StepError;
use crate::workspace::Workspace;

/// The namespaces of one stage.
pub struct StageNetwork<'a> {
    context: &'a net::Context,
    endpoints: &'a dyn EndpointSource,
    workspace: &'a Workspace,
    policy: Policy,
    /// The user ids of the steps, once there are any.
    lease: Option<Lease>,
    bridge: Option<Attached>,
    isolated: Option<Namespaces>,
}

struct Attached {
    namespaces: Namespaces,
    endpoint: EndpointPlan,
    note: PathBuf,
}

/// A network namespace, and the user namespace it belongs to unless that is the host's.
struct Namespaces {
    netns: OwnedFd,
    users: Option<OwnedFd>,
}

/// What a step joins.
#[derive(Clone, Copy)]
pub struct Joined<'a> {
    pub netns: BorrowedFd<'a>,
    /// The user namespace, and the host's id of its root.
    pub users: Option<(BorrowedFd<'a>, u32)>,
}

impl<'a> StageNetwork<'a> {
    pub fn new(
        context: &'a net::Context,
        endpoints: &'a dyn EndpointSource,
        workspace: &'a Workspace,
        policy: Policy,
    ) -> Self {
        Self { context, endpoints, workspace, policy, lease: None, bridge: None, isolated: None }
    }

    /// The namespaces to join; `None` are the host's.
    ///
    /// # Errors
    /// A lease that cannot be had, an interface that cannot be made.
    pub fn namespace(&mut self, network: RunNetwork) -> Result<Option<Joined<'_>>, StepError> {
        let namespaces = match network {
            RunNetwork::Host => return Ok(None),
            RunNetwork::None => {
                if self.isolated.is_none() {
                    let made = self.new_namespaces()?;
                    net::loopback_up(made.netns.as_fd()).map_err(StepError::engine("set up the network"))?;
                    self.isolated = Some(made);
                }
                self.isolated.as_ref()
            }
            RunNetwork::Default => {
                if self.bridge.is_none() {
                    self.bridge = Some(self.attach()?);
                }
                self.bridge.as_ref().map(|attached| &attached.namespaces)
            }
        };
        let first = self.lease.as_ref().map(Lease::first);
        Ok(namespaces.map(|namespaces| Joined {
            netns: namespaces.netns.as_fd(),
            users: namespaces.users.as_ref().map(AsFd::as_fd).zip(first),
        }))
    }

    fn attach(&mut self) -> Result<Attached, StepError> {
        let endpoint = self.endpoints.acquire().map_err(|failure| StepError::Engine {
            what: "lease an address".to_owned(),
            source: crate::error::Cause::from(failure),
        })?;
        let note = self.workspace.path().join(format!("endpoint-{}", self.workspace.next()));
        let json = serde_json::to_vec(&endpoint).unwrap_or_default();
        let made = fs::write(&note, json)
            .map_err(StepError::io("write", note.display()))
            .and_then(|()| self.new_namespaces())
            .and_then(|namespaces| {
                net::attach(self.context, namespaces.netns.as_fd(), &endpoint)
                    .map(|()| namespaces)
                    .map_err(StepError::engine("set up the network"))
            });
        match made {
            Ok(namespaces) => Ok(Attached { namespaces, endpoint, note }),
            Err(error) => {
                self.endpoints.release(&endpoint);
                Err(error)
            }
        }
    }

    /// A network namespace in which the steps' root is root. Where that cannot be had it is the host's root's, and the step
    /// sees, and says, what that means for it.
    fn new_namespaces(&mut self) -> Result<Namespaces, StepError> {
        if self.policy != Policy::Host {
            if self.lease.is_none() {
                self.lease = Pool::of_host().and_then(Pool::lease).ok();
            }
            if let Some(lease) = &self.lease
                && let Ok((users, netns)) = crate::step::make_namespaces(lease.first())
            {
                return Ok(Namespaces { netns, users: Some(users) });
            }
        }
        let netns = net::new_netns().map_err(StepError::io("make", "a network namespace"))?;
        Ok(Namespaces { netns, users: None })
    }
}

impl Drop for StageNetwork<'_> {
    fn drop(&mut self) {
        if let Some(Attached { namespaces, endpoint, note }) = self.bridge.take() {
            let _ = net::detach(self.context, &endpoint, Netns::Ending);
            drop(namespaces);
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
