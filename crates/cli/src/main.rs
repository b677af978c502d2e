//! The binary `phoenix-cli`: an IT department in a box. What it does is in the library of this crate.

/// Plans of many guests are made of many small texts, which glibc's allocator is slow with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    phoenix_cli::run()
}
