//! The binary `phoenix-cli`: an IT department in a box. What it does is in the library of this crate.

fn main() -> std::process::ExitCode {
    phoenix_cli::run()
}
