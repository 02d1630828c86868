//! The per-container process: stdio, logs, health, restarts, names, exit; and the protocol it speaks.

#![forbid(unsafe_code)]
