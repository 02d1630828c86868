//! Files beneath a root (openat2), locks, renames, extended attributes, device nodes, syncing.
