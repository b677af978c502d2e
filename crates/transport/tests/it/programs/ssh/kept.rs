//! Connections that are kept for the next run.

use transport::{Keep, close_kept};

use super::*;

/// Prints the process of sshd that serves the connection.
const SERVED_BY: &str = "ps -o ppid= -p $PPID";

fn kept(server: &Server) -> SshOptions {
    let keep = Keep { owner: "/a/site".to_owned(), time: Some(Duration::from_secs(60)), watched: Vec::new() };
    SshOptions { keep: Some(keep), ..server.options() }
}

async fn served_by(ssh: &Ssh) -> Pid {
    let output = ssh.run(&sh(SERVED_BY)).await.unwrap();
    Pid::from_raw(output.text().trim().parse().unwrap()).unwrap()
}

async fn ended(server: &Server) {
    assert_eq!(close_kept(&server.dir().join("c"), "/a/site").await, 1);
    until("the kept connection ends", || server.ssh_processes() == 0).await;
}

#[tokio::test]
async fn the_next_run_finds_it_and_closing_ends_it() {
    let server = server!();
    let first = Ssh::new(kept(&server));
    let pid = served_by(&first).await;
    first.close().await;
    assert_eq!(server.ssh_processes(), 1, "it stays");
    let second = Ssh::new(kept(&server));
    assert_eq!(served_by(&second).await, pid, "the same connection");
    // Somebody else at the same time has one of their own, which goes with them.
    let other = Ssh::new(kept(&server));
    assert_ne!(served_by(&other).await, pid);
    assert_eq!(close_kept(&server.dir().join("c"), "/a/site").await, 0, "what is in use is left alone");
    other.close().await;
    second.close().await;
    assert_eq!(server.ssh_processes(), 1);
    assert_eq!(close_kept(&server.dir().join("c"), "/another").await, 0);
    ended(&server).await;
    // And one can begin anew.
    let third = Ssh::new(kept(&server));
    assert_ne!(served_by(&third).await, pid);
    third.close().await;
    ended(&server).await;
}

#[tokio::test]
async fn nobody_uses_it_for_a_while_and_it_ends_by_itself() {
    let server = server!();
    let mut options = kept(&server);
    options.keep.as_mut().unwrap().time = Some(Duration::from_secs(1));
    let ssh = Ssh::new(options);
    served_by(&ssh).await;
    ssh.close().await;
    until("its time is up", || server.ssh_processes() == 0).await;
}

#[tokio::test]
async fn who_keeps_nothing_closes_what_was_kept() {
    let server = server!();
    let ssh = Ssh::new(kept(&server));
    served_by(&ssh).await;
    ssh.close().await;
    let mut options = kept(&server);
    options.keep.as_mut().unwrap().time = None;
    let ssh = Ssh::new(options);
    served_by(&ssh).await;
    assert_eq!(server.ssh_processes(), 1, "one of its own");
    ssh.close().await;
    until("nothing stays", || server.ssh_processes() == 0).await;
}

#[tokio::test]
async fn another_target_closes_the_old_one() {
    let server = server!();
    let first = Ssh::new(kept(&server));
    let pid = served_by(&first).await;
    first.close().await;
    let other = Ssh::new(SshOptions { destination: format!("{}@localhost", user()), ..kept(&server) });
    assert_ne!(served_by(&other).await, pid);
    until("only the new one stays", || server.ssh_processes() == 1).await;
    other.close().await;
    // A host key that is no longer declared to be the same: nothing is believed because of what was kept.
    let wrong = keygen(&server.dir().join("other"));
    let ssh = Ssh::new(SshOptions { host_key: Some(wrong), ..kept(&server) });
    assert!(matches!(ssh.run(&sh("true")).await, Err(Error::HostKey { .. })));
    ssh.close().await;
    until("nothing stays", || server.ssh_processes() == 0).await;
}

/// A node that was rebooted, a network that is gone: the master answers, and nothing comes of it.
#[tokio::test]
async fn a_frozen_one_is_replaced_in_time() {
    let server = server!();
    let first = Ssh::new(kept(&server));
    let pid = served_by(&first).await;
    first.close().await;
    kill_process(pid, Signal::STOP).unwrap();
    let second = Ssh::new(kept(&server));
    let began = Instant::now();
    assert_ne!(served_by(&second).await, pid);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    kill_process(pid, Signal::KILL).unwrap();
    second.close().await;
    ended(&server).await;
}

#[tokio::test]
async fn a_dead_one_is_replaced_also_in_the_middle_of_a_run() {
    let server = server!();
    let first = Ssh::new(kept(&server));
    let pid = served_by(&first).await;
    first.close().await;
    kill_process(pid, Signal::KILL).unwrap();
    let second = Ssh::new(kept(&server));
    let pid = served_by(&second).await;
    // Its master is killed between two commands, and leaves its socket.
    let [master] = server.ssh_pids()[..] else { panic!("one shared connection and no more") };
    kill_process(master, Signal::KILL).unwrap();
    let command = sh("true");
    let (one, two) = tokio::join!(second.run(&command), second.run(&command));
    assert!(one.unwrap().success() && two.unwrap().success());
    assert_ne!(served_by(&second).await, pid);
    second.close().await;
    assert_eq!(server.ssh_processes(), 1);
    ended(&server).await;
}

/// Who was killed may have left commands running on it, and they count among its sessions.
#[tokio::test]
async fn what_a_killed_run_left_is_not_used_again() {
    let server = server!();
    let first = Ssh::new(kept(&server));
    let pid = served_by(&first).await;
    drop(first);
    let second = Ssh::new(kept(&server));
    assert_ne!(served_by(&second).await, pid);
    until("the old one ends", || server.ssh_processes() == 1).await;
    second.close().await;
    ended(&server).await;
}

/// A lock on the node is such a command: it ends with the run, and not with the connection.
#[tokio::test]
async fn a_held_command_ends_with_its_guard_though_the_connection_stays() {
    let server = server!();
    let ssh = Ssh::new(kept(&server));
    let (pid, guard) = ssh.hold(&sh("echo $$; cat >/dev/null")).await.unwrap().unwrap();
    let there = std::path::Path::new("/proc").join(&pid);
    assert!(there.exists());
    drop(guard);
    ssh.close().await;
    until("the held command ends", || !there.exists()).await;
    assert_eq!(server.ssh_processes(), 1);
    ended(&server).await;
}

#[tokio::test]
async fn a_fresh_connection_is_not_the_kept_one() {
    let Some(mut server) = server("").await else { return };
    let ssh = Ssh::new(kept(&server));
    ssh.fresh().await.unwrap();
    let listener = Pid::from_raw(server.child.id().unwrap() as i32).unwrap();
    kill_process(listener, Signal::KILL).unwrap();
    server.child.wait().await.unwrap();
    assert!(matches!(ssh.fresh().await, Err(Error::Connect { .. })));
    assert_eq!(ssh.run(&sh("echo still")).await.unwrap().text(), "still\n");
    ssh.close().await;
    ended(&server).await;
}

#[tokio::test]
async fn a_folder_where_others_could_put_a_socket_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = server!();
    let folder = server.dir().join("c");
    private::folder(&folder).unwrap();
    fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    for options in [kept(&server), server.options()] {
        let error = Ssh::new(options).run(&sh("true")).await.unwrap_err();
        assert!(error.to_string().contains("can be written by others"), "{error}");
    }
    assert_eq!(server.ssh_processes(), 0);
}
