//! Commands on this machine: what they get, what comes back, and that none is left behind.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{Command, Error, Local, Runner, Sent};

fn sh(script: &str) -> Command {
    Command::new("testing", ["sh", "-c", script])
}

/// Waits, bounded, until no process with this number exists.
async fn gone(pid: &str) -> bool {
    let started = Instant::now();
    while std::path::Path::new("/proc").join(pid).exists() {
        if started.elapsed() > Duration::from_secs(5) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

#[tokio::test]
async fn what_is_streamed_is_told_and_not_kept() {
    let mut lines = Vec::new();
    let command = sh("printf 'a\\nb\\n\\nlast'; sleep 0.1; printf ' part\\n'; echo x >&2").streamed();
    let output = Local.run_lines(&command, &mut |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(lines, ["a", "b", "", "last part"]);
    assert_eq!((output.stdout, output.stderr), (Vec::new(), b"x\n".to_vec()));
}

#[tokio::test]
async fn output_and_status_come_back() {
    let output = Local.run(&sh("echo out; echo err >&2; exit 42")).await.unwrap();
    assert_eq!((output.status, &*output.stdout, &*output.stderr), (42, &b"out\n"[..], &b"err\n"[..]));
    assert_eq!(Local.run(&sh("kill -9 $$")).await.unwrap().status, 137);
}

/// P-76: content went through shells and argument lists, for everyone to read.
#[tokio::test]
async fn a_megabyte_goes_in_while_a_megabyte_comes_out() {
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = Local.run(&Command::new("copying", ["cat"]).stdin(bytes.clone())).await.unwrap();
    assert!(output.stdout == bytes);
    // Not reading the input is no failure.
    assert!(Local.run(&Command::new("ignoring", ["true"]).stdin(bytes)).await.unwrap().success());
}

#[tokio::test]
async fn lines_arrive_one_by_one() {
    let mut lines = Vec::new();
    let output = Local
        .run_lines(&sh("printf 'a\\nb\\n\\nlast'"), &mut |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(lines, ["a", "b", "", "last"]);
    assert_eq!(output.text(), "a\nb\n\nlast");
}

#[tokio::test]
async fn a_line_is_told_before_the_command_ends() {
    // The command waits for a file that is made only when its first line has been seen.
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("seen");
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.01; done", flag.display());
    let output = Local
        .run_lines(&sh(&script).limit(Duration::from_secs(10)), &mut |_| fs_err::write(&flag, "").unwrap())
        .await;
    assert!(output.unwrap().success());
}

#[tokio::test]
async fn a_program_that_is_not_there_was_never_sent() {
    let error = Local.run(&Command::new("testing", ["/nope/nothing"])).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }) && error.sent() == Sent::Never, "{error:?}");
    assert!(matches!(Local.run(&Command::new("testing", [""; 0])).await.unwrap_err(), Error::Start { .. }));
}

/// P-35: waits without an end.
#[tokio::test]
async fn the_whole_group_ends_at_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let error = Local.run(&sh(&script).limit(Duration::from_millis(500))).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }) && error.sent() == Sent::Maybe, "{error:?}");
    assert!(gone(fs_err::read_to_string(&file).unwrap().trim()).await, "a grandchild was left behind");
}

#[tokio::test]
async fn the_whole_group_ends_when_the_caller_stops_waiting() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        Local
            .run_lines(&sh("sleep 1000 & echo $!; wait"), &mut |line| told.send(line.to_owned()).unwrap())
            .await
    });
    let pid = heard.recv().await.unwrap();
    running.abort();
    assert!(gone(&pid).await, "a grandchild was left behind");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipes_is_not_waited_for() {
    let started = Instant::now();
    let output = Local.run(&sh("sleep 30 & echo $!")).await.unwrap();
    assert!(output.success() && started.elapsed() < Duration::from_secs(10));
    let pid = output.text().trim().to_owned();
    assert!(
        Local.run(&Command::new("ending it", ["kill", &pid])).await.unwrap().success(),
        "it was to live on"
    );
}

#[tokio::test]
async fn a_held_command_lives_until_its_guard_is_dropped() {
    let (first, guard) = Local.hold(&sh("echo $$; cat >/dev/null")).await.unwrap().unwrap();
    assert!(std::path::Path::new("/proc").join(&first).exists());
    drop(guard);
    assert!(gone(&first).await);
}

#[tokio::test]
async fn a_held_script_gets_its_input_and_keeps_it_open() {
    let script = Command::script("locking", "echo $$\nread -r rest\n");
    let (first, guard) = Local.hold(&script).await.unwrap().unwrap();
    assert!(std::path::Path::new("/proc").join(&first).exists());
    drop(guard);
    assert!(gone(&first).await);
}

#[tokio::test]
async fn what_ends_before_its_first_line_is_an_output() {
    let output = Local.hold(&sh("echo taken >&2; exit 3")).await.unwrap().unwrap_err();
    assert_eq!((output.status, output.tail(1).raw()), (3, "taken"));
    let slow = Local.hold(&sh("sleep 1000").limit(Duration::from_millis(200))).await.unwrap_err();
    assert!(matches!(slow, Error::TimedOut { .. }));
}

#[tokio::test]
async fn a_connection_is_made_or_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (near, far) =
        tokio::join!(Local.connect("127.0.0.1", port, Duration::from_secs(5)), listener.accept());
    let (mut near, (mut far, _)) = (near.unwrap(), far.unwrap());
    near.write_all(b"ping").await.unwrap();
    let mut buffer = [0; 4];
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    // Bound but not listening: nobody else takes the port meanwhile.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = silent.local_addr().unwrap().port();
    let error = Local.connect("127.0.0.1", port, Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.sent(), Sent::Never);
}
