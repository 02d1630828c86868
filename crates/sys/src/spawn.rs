//! Starting a helper process without copying the caller's address space.
