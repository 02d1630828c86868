//! Unix sockets that pass descriptors and credentials; sockets made inside another network namespace.
