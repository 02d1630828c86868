//! Installing seccomp programs; see seccomp(2).
