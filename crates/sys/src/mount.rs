//! The mount API: mount(2), fsopen, open_tree, move_mount, mount_setattr, pivot_root, umount2.
