//! Capability sets of the calling thread; see capabilities(7).
