//! Cloning a container's first process into its namespaces.
//!
//! A namespace belongs to the user namespace it was made in, and may be joined only by who has rights there. So what is joined is
//! joined before the process is in another user namespace, by the caller, who goes back to its own at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sys::namespace::{Kind, KindSet};
use sys::process::{Clone, Cloned};

use crate::plan::{ContainerPlan, Users};

/// Clones the first process of `plan`, into the cgroup v2 directory `group` when there is one.
pub fn give_birth(plan: &ContainerPlan<'_>, group: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    let how = Clone { namespaces: plan.create, cgroup: group, sibling: false };
    // Where the users stay the same the child joins the rest by itself; a mount namespace always, or the caller would lose its
    // root and working directory.
    let early = |kind: Kind| kind == Kind::Pid || (plan.has_other_users() && kind != Kind::Mount);
    let early: Vec<_> =
        plan.join.iter().filter(|(kind, _)| early(*kind)).map(|(kind, fd)| (*kind, fd.as_fd())).collect();
    match &plan.users {
        Users::Joined(users) => {
            let joined = || join_all(&early).and_then(|()| sys::namespace::join(users.as_fd(), Kind::User));
            through_go_between(joined, how)
        }
        Users::Hosts | Users::New(_) if cannot_come_back(&early) => {
            through_go_between(|| join_all(&early), how)
        }
        Users::Hosts | Users::New(_) => in_namespaces(&early, || sys::process::clone(how)),
    }
}

fn join_all(namespaces: &[(Kind, BorrowedFd<'_>)]) -> io::Result<()> {
    namespaces.iter().try_for_each(|(kind, fd)| sys::namespace::join(*fd, *kind))
}

/// Whether the way back from these is barred: root of a user namespace lives in a pid namespace that is the host's, where he
/// has no right to go.
fn cannot_come_back(namespaces: &[(Kind, BorrowedFd<'_>)]) -> bool {
    sys::user::is_in_subordinate_namespace() && namespaces.iter().any(|(kind, _)| *kind == Kind::Pid)
}

/// Clones a further process for the container of the process behind `container`, in its pid namespace.
pub fn give_birth_beside(container: BorrowedFd<'_>, how: Clone<'_>) -> io::Result<Cloned> {
    let join = || sys::namespace::join_process(container, KindSet::EMPTY.with(Kind::Pid));
    if sys::user::is_in_subordinate_namespace() {
        return through_go_between(join, how);
    }
    and_back([Kind::Pid], join, || sys::process::clone(how), is_child)
}

/// The child stays where it was born.
fn is_child(cloned: &Cloned) -> bool {
    matches!(cloned, Cloned::Child)
}

/// Clones inside `namespaces`; for a pid namespace that is about children only.
fn in_namespaces(
    namespaces: &[(Kind, BorrowedFd<'_>)],
    clone: impl FnOnce() -> io::Result<Cloned>,
) -> io::Result<Cloned> {
    visit(namespaces, clone, is_child)
}

/// Does `work` inside `namespaces` and puts this process back into its own, unless it `stays`.
pub fn visit<T>(
    namespaces: &[(Kind, BorrowedFd<'_>)],
    work: impl FnOnce() -> io::Result<T>,
    stays: impl FnOnce(&T) -> bool,
) -> io::Result<T> {
    and_back(namespaces.iter().map(|(kind, _)| *kind), || join_all(namespaces), work, stays)
}

/// Joins namespaces of `kinds`, does `work` there and puts this process back into its own, unless it `stays`.
fn and_back<T>(
    kinds: impl IntoIterator<Item = Kind>,
    join: impl FnOnce() -> io::Result<()>,
    work: impl FnOnce() -> io::Result<T>,
    stays: impl FnOnce(&T) -> bool,
) -> io::Result<T> {
    let open = |kind| Ok((kind, sys::namespace::open_own(kind)?));
    let own: Vec<(Kind, OwnedFd)> = kinds.into_iter().map(open).collect::<io::Result<_>>()?;
    let done = join().and_then(|()| work());
    if !done.as_ref().is_ok_and(stays) {
        for (kind, fd) in &own {
            sys::namespace::join(fd.as_fd(), *kind)?;
        }
    }
    done
}

/// Clones inside namespaces nobody comes back from, such as a user namespace: a go-between joins them and clones the process
/// as its own sibling.
fn through_go_between(join: impl FnOnce() -> io::Result<()>, how: Clone<'_>) -> io::Result<Cloned> {
    let (ours, theirs) = UnixStream::pair()?;
    match sys::process::clone(Clone::default())? {
        Cloned::Child => {
            drop(ours);
            match join().and_then(|()| sys::process::clone(Clone { sibling: true, ..how })) {
                Ok(Cloned::Child) => Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    let sent =
                        sys::socket::send_with_fds(theirs.as_fd(), &pid.to_le_bytes(), &[pidfd.as_fd()]);
                    sys::process::exit(u8::from(sent.is_err()))
                }
                Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(EIO);
                    let _ = sys::socket::send_with_fds(theirs.as_fd(), &errno.to_le_bytes(), &[]);
                    sys::process::exit(1)
                }
            }
        }
        Cloned::Parent { pidfd: between, .. } => {
            drop(theirs);
            let mut number = [0; 4];
            let heard = sys::socket::recv_with_fds(ours.as_fd(), &mut number);
            sys::process::wait(between.as_fd())?;
            let (length, fds) = heard?;
            match (length, fds.into_iter().next()) {
                (4, Some(pidfd)) => Ok(Cloned::Parent { pid: i32::from_le_bytes(number), pidfd }),
                (4, None) => Err(io::Error::from_raw_os_error(i32::from_le_bytes(number))),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

const EIO: i32 = 5;

/// The namespaces of the process behind `pidfd` that a further process of its container joins.
///
/// The user namespace only where it is another: nobody may join the one he is in.
pub fn kinds_to_join(pid: i32) -> io::Result<KindSet> {
    let kinds = [Kind::Mount, Kind::Network, Kind::Ipc, Kind::Uts, Kind::Cgroup];
    let kinds = kinds.into_iter().fold(KindSet::EMPTY, KindSet::with);
    let link = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/user"));
    Ok(if link(&pid.to_string())? == link("self")? { kinds } else { kinds.with(Kind::User) })
}
