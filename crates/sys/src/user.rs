//! Users and groups of the system hull runs on, read from /etc/passwd and /etc/group without NSS.
