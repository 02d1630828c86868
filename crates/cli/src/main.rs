//! The `hull` binary.

fn main() -> std::process::ExitCode {
    cli::main()
}
