//! The `hdc` command: everything it does is in the library.

fn main() -> std::process::ExitCode {
    hdc::cli::main()
}
