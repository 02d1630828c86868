//! The options of an overlay mount.

/// mount(2) takes at most a page of options, its terminating zero included.
pub const OPTIONS_MAX: usize = 4095;

/// The options that mount `lower`, topmost first, with `over` as the writable and the work directory.
pub fn options(lower: &[Vec<u8>], over: Option<(&[u8], &[u8])>, volatile: bool) -> Vec<u8> {
    let mut options = sys::overlay::options().to_vec();
    if volatile {
        options.extend(b"volatile,");
    }
    options.extend(b"lowerdir=");
    for (n, name) in lower.iter().enumerate() {
        if n > 0 {
            options.push(b':');
        }
        escape(&mut options, name);
    }
    if let Some((upper, work)) = over {
        options.extend(b",upperdir=");
        escape(&mut options, upper);
        options.extend(b",workdir=");
        escape(&mut options, work);
    }
    options
}

fn escape(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
