//! Through one host to another: how guests are entered.

use super::*;

#[tokio::test]
async fn through_a_host_to_another_with_everything_that_ssh_does() {
    let (node, guest) = (server!(), server!());
    let jump = Arc::new(node.ssh());
    let ssh = Ssh::through(jump.clone(), guest.options());
    let output = ssh.run(&sh("echo out; echo err >&2; exit 42")).await.unwrap();
    assert_eq!((output.status, &*output.text(), &*output.stderr), (42, "out\n", &b"err\n"[..]));
    // More than a guest agent takes in one call.
    let input: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let counted = ssh.run(&sh("sha256sum; printf x").stdin(input.clone())).await.unwrap();
    let here = ring::digest::digest(&ring::digest::SHA256, &input);
    let hex: String = here.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(counted.text().starts_with(&hex));
    // The connection to the host in between is lost, and made again.
    for pid in node.ssh_pids() {
        let _ = kill_process(pid, Signal::KILL);
    }
    until("noticed", || node.ssh_processes() == 0).await;
    assert_eq!(ssh.run(&sh("echo again")).await.unwrap().text(), "again\n");
    ssh.fresh().await.unwrap();
    // As a person goes, over connections of its own.
    let argv = ssh.login(Some("echo by hand")).unwrap();
    assert!(argv.windows(2).any(|two| two == ["-F", "none"]), "{argv:?}");
    let output =
        tokio::process::Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "by hand", "{output:?}");
    ssh.close().await;
    jump.close().await;
    until("all ended", || node.ssh_processes() + guest.ssh_processes() == 0).await;
}

/// Errors are told apart, and none of them is taken for the host in between.
#[tokio::test]
async fn what_is_wrong_is_said_of_the_right_host() {
    let (node, guest) = (server!(), server!());
    let jump = Arc::new(node.ssh());
    // Who is there is another one than was said: refused before anything is sent.
    let other = SshOptions { host_key: Some(node.host_key.clone()), ..guest.options() };
    let error = Ssh::through(jump.clone(), other).run(&sh("true")).await.unwrap_err();
    assert!(
        matches!(&error, Error::HostKey { place, .. } if place.contains(&guest.port.to_string())),
        "{error:?}"
    );
    // Nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = SshOptions { port, ..guest.options() };
    let error = Ssh::through(jump.clone(), nobody).run(&sh("true")).await.unwrap_err();
    assert!(error.to_string().contains("refused a connection to port"), "{error}");
    assert_eq!(error.sent(), Sent::Never);
    // The key is not known there.
    let stranger = SshOptions { identity: Some(node.dir().join("host")), ..guest.options() };
    let error = Ssh::through(jump.clone(), stranger).run(&sh("true")).await.unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    jump.close().await;
}
