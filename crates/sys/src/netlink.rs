//! A synchronous route netlink socket and the messages hull sends through it.
