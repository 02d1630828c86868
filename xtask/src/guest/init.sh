#!/bin/busybox sh
# The guest's init: sets the machine up as systemd would, runs the tests of /guest/tests and powers off.
# The host reads lines that start with "@@ ".
# An emulated processor is that much slower.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root HULL_TEST_PATIENCE=8
busybox mount -t proc -o nosuid,nodev,noexec proc /proc
busybox mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
busybox mount -t devtmpfs -o nosuid dev /dev
busybox mkdir -p /dev/pts /dev/shm /dev/net
# Opening it loads the module.
busybox mknod -m 666 /dev/net/tun c 10 200
busybox mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
busybox mount -t tmpfs -o nosuid,nodev shm /dev/shm
busybox mount -t tmpfs -o nosuid,nodev,mode=755 run /run
busybox mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
busybox mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf /sys/fs/bpf
busybox ln -s /proc/self/fd /dev/fd
# Who wants a module while BusyBox loads it for somebody else is told that it is there, and then that it is not.
busybox modprobe overlay
# Opening its device loads it, where udev or systemd has made the device.
busybox modprobe fuse
busybox chmod 1777 /tmp /var/tmp
busybox mount --make-rshared /
busybox ip link set lo up
busybox hostname guest
ulimit -Hn 524288

# The controllers systemd enables for its slices, and a session's group for us.
session=/sys/fs/cgroup/user.slice/session-1.scope
busybox mkdir -p $session
echo "+cpu +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
echo "+memory +pids" >/sys/fs/cgroup/user.slice/cgroup.subtree_control
echo 1 >$session/cgroup.procs

echo "@@ booted $(busybox uname -r)"
set -o pipefail
filters=$(busybox cat /guest/filters)
# Name, directory and path of a test program, and its arguments.
run() {
    name=$1 directory=$2 program=$3
    shift 3
    echo "@@ began $name"
    cd "$directory" || return
    CARGO_MANIFEST_DIR=$directory busybox timeout -s KILL 2400 "$program" "$@" </dev/null 2>&1 | busybox tee /run/output
    status=$?
    echo "@@ ended $name $status"
    return $status
}
# The tests that the last program named as failed; nothing when it did not come to that.
failures() {
    busybox awk '/^failures:$/ { listed = 1; names = "" } listed && /^    [a-z0-9_:]+$/ { names = names " " $1 } /^test result:/ { print names }' /run/output
}
while read -r name directory program; do
    run "$name" "$directory" "$program" $filters || echo "$name $directory $program $(failures)" >>/run/failed
done </guest/tests
# A busy host stops an emulated processor for seconds, which some test takes for a failure, and that is no difference between
# kernels. Failed tests of up to three programs have another attempt; the verdict names them.
if [ -e /run/failed ] && [ "$(busybox wc -l </run/failed)" -le 3 ]; then
    while read -r name directory program failures; do
        run "$name" "$directory" "$program" ${failures:+--exact} ${failures:-$filters}
    done </run/failed
fi
cd /
left=$(busybox find /sys/fs/cgroup -name 'hull*' -o -name '*-test-*' | busybox tr '\n' ' ')
[ -z "$left" ] || echo "@@ left $left"
echo "@@ finished"
busybox sync
busybox poweroff -f
