//! Pseudo-terminals, raw mode and window sizes.
