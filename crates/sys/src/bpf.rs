//! The cgroup v2 device program: assembled, loaded and attached with bpf(2).
