//! What the engine itself reports to the event log; starts, exits and health are reported by the monitors.

use crate::record::Container;
use monitor::events::Event;

/// An event of a container: name and image first, then its labels.
pub(crate) fn container(container: &Container, action: &str) -> Event {
    let mut event = Event::new("container", action, container.id.as_str());
    event.attributes.clone_from(&container.doc.spec.labels);
    event.with("name", &container.name).with("image", &container.doc.spec.image)
}

/// An event of an image, by its digest or by what it is called.
pub(crate) fn image(id: &str, name: &str, action: &str) -> Event {
    Event::new("image", action, id).with("name", name)
}

/// An event of a volume.
pub(crate) fn volume(name: &str, action: &str) -> Event {
    Event::new("volume", action, name).with("driver", "local")
}

/// What pruning objects of this kind came to.
pub(crate) fn prune(kind: &str, reclaimed_bytes: u64) -> Event {
    Event::new(kind, "prune", "").with("reclaimed", reclaimed_bytes.to_string())
}

/// An event of a network.
pub(crate) fn network(id: &str, name: &str, action: &str) -> Event {
    Event::new("network", action, id).with("name", name).with("type", "bridge")
}
