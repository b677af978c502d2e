//! The lab's commands without the rest of `phoenix-cli`, for the lab's own tests: `lab serve|forward|node|up|down|status`,
//! with or without the word `lab` before them.

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).skip_while(|a| a == "lab").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let code = match runtime {
        Ok(runtime) => runtime.block_on(lab::up::entry(&arguments)),
        Err(_) => 1,
    };
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
