//! Cloning, waiting, pidfds, exec, credentials, limits, prctl.
