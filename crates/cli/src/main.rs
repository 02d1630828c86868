//! The `hull` binary.

fn main() -> std::process::ExitCode {
    #[cfg(panic = "unwind")]
    abort_on_panic();
    cli::main()
}

/// Ends a development build at a panic as a release ends: in whatever thread, and without unwinding a child into its parent's code.
#[cfg(panic = "unwind")]
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
