//! What is for nodes: settings of the kernel, in the network namespace of the root alone, the clock, people, updates, disks,
//! language and logs.

use super::*;

/// A setting of the network namespace, 0 in a new one.
const MARTIANS: &str = "net.ipv4.conf.lo.log_martians";

fn settings(settings: &Value) -> Vec<u8> {
    apply(&[with(&built_in("sysctl"), json!({ "settings": settings }))])
}

#[test]
fn settings_of_the_kernel_are_in_force_and_stay_so() {
    let Some(root) = Root::new() else { return };
    let now = |name: &str| root.sh(&format!("sysctl -n {name}")).trim().to_owned();
    assert_eq!(now(MARTIANS), "0");
    let ports = "net.ipv4.ip_local_port_range";
    let first = settings(&json!({ MARTIANS: 1, ports: "40000 50000" }));
    let ran = root.run(&first);
    assert!(ran.ok().words().iter().any(|word| word.contains("put the settings in force")), "{ran:?}");
    assert_eq!((now(MARTIANS), now(ports)), ("1".to_owned(), "40000\t50000".to_owned()));
    root.run(&first).nothing_to_do();
    // Somebody changed it by hand, in the kernel alone.
    root.sh(&format!("sysctl -q -w {MARTIANS}=0"));
    assert_eq!(root.run(&first).ok().words().len(), 1);
    assert_eq!(now(MARTIANS), "1");
    // A name that the kernel has not: said, and what was there stays.
    let before = root.sh("cat /etc/sysctl.d/90-phoenix.conf");
    let ran = root.run(&settings(&json!({ MARTIANS: 1, "net.ipv4.no_such_setting": 1 })));
    assert!(format!("{:?}", ran.failed()).contains("no setting net.ipv4.no_such_setting"), "{ran:?}");
    assert_eq!(root.sh("cat /etc/sysctl.d/90-phoenix.conf"), before);
    root.run(&removal(&["sysctl".to_owned()], &[], Mode::Apply).text).ok();
    root.sh("test ! -e /etc/sysctl.d/90-phoenix.conf && test ! -e /usr/local/lib/phoenix/sysctl");
}

#[test]
fn chrony_takes_its_servers_and_who_may_ask() {
    let Some(root) = Root::new() else { return };
    // systemd is a stand-in there, and the clock is the machine's.
    let mut daemon = root.background("exec chronyd -x -n -F 0");
    root.sh("n=0; until chronyc -n sources >/dev/null; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done");
    let features = [with(&built_in("chrony"), json!({ "servers": ["10.0.0.1"], "allow": ["10.0.0.0/24"] }))];
    root.run(&apply(&features)).ok();
    let read = root.sh("chronyd -p -f /etc/chrony/chrony.conf; cat /etc/chrony/sources.d/phoenix.sources");
    assert!(
        ["allow 10.0.0.0/24", "server 10.0.0.1 iburst prefer"]
            .iter()
            .all(|line| read.lines().any(|it| it == *line)),
        "{read}"
    );
    root.run(&apply(&features)).nothing_to_do();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A key pair of the root's own; its public half.
fn key(root: &Root, name: &str) -> String {
    root.sh(&format!("ssh-keygen -q -t ed25519 -N '' -C {name} -f /root/{name} && cat /root/{name}.pub"))
        .trim()
        .to_owned()
}

#[test]
fn a_second_admin_gets_in_and_root_is_never_locked_out() {
    let Some(root) = Root::new() else { return };
    let ada = key(&root, "ada");
    let admins = |users: &Value, passwords: bool| {
        apply(&[with(&built_in("admins"), json!({ "users": users, "passwords": passwords }))])
    };
    let both = json!([{ "name": "ada", "keys": [ada], "sudo": true }, { "name": "ben", "keys": [ada] }]);
    // Without a key nobody could be root any more: nothing is changed.
    let ran = root.run(&admins(&both, false));
    assert!(format!("{:?}", ran.failed()).contains("nobody could log in as root"), "{ran:?}");
    root.sh("test ! -e /etc/ssh/sshd_config.d/00-phoenix.conf && ! id ada");
    root.run(&admins(&both, true)).ok();
    let said = |word: &str| root.sh(&format!("sshd -T | grep -i '^{word} '")).trim().to_owned();
    assert_eq!(said("passwordauthentication"), "passwordauthentication yes");
    root.sh("mkdir -p -m 0700 /root/.ssh && cp /root/ada.pub /root/.ssh/authorized_keys");
    let strict = admins(&both, false);
    root.run(&strict).ok();
    root.run(&strict).nothing_to_do();
    assert_eq!(said("passwordauthentication"), "passwordauthentication no");
    root.sh("ip link set lo up");
    let mut daemon = root.background("exec /usr/sbin/sshd -D -e -p 2222 -o ListenAddress=127.0.0.1");
    let as_user = |user: &str, command: &str| {
        root.sh(&format!(
            "n=0; until out=$(ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o LogLevel=ERROR -i /root/ada -p 2222 {user}@127.0.0.1 '{command}' 2>&1); do n=$((n + 1)); [ $n -lt 20 ] || break; \
             sleep 0.2; done; printf '%s' \"$out\""
        ))
    };
    // What sudo says of the machine's name may come amid the answer: ssh passes both outputs on as they come.
    assert_eq!(as_user("ada", "sudo -n id -u 2>/dev/null").trim(), "0");
    assert_eq!(as_user("ben", "sudo -n id -u 2>/dev/null || echo refused").trim(), "refused");
    assert_eq!(as_user("root", "id -un").trim(), "root");
    // Who is no longer in the list gets in no more, and keeps what is theirs.
    root.run(&admins(&json!([{ "name": "ben", "keys": [ada] }]), false)).ok();
    assert!(as_user("ada", "true").contains("Permission denied"));
    root.sh("id ada && test ! -e /etc/sudoers.d/phoenix");
    // What is no key is none.
    let ran = root.run(&admins(&json!([{ "name": "ben", "keys": ["ssh-ed25519 AAAA"] }]), false));
    assert!(format!("{:?}", ran.failed()).contains("no key"), "{ran:?}");
    root.run(&removal(&["admins".to_owned()], &[], Mode::Apply).text).ok();
    assert_eq!(said("passwordauthentication"), "passwordauthentication yes");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn security_updates_come_by_themselves_and_nothing_else_does() {
    let Some(root) = Root::new() else { return };
    let features = [with(&built_in("unattended-upgrades"), json!({ "except": ["^samba"] }))];
    root.run(&apply(&features)).ok();
    root.run(&apply(&features)).nothing_to_do();
    let config = root.sh("apt-config dump Unattended-Upgrade; apt-config dump APT::Periodic");
    let lines: Vec<&str> = config.lines().collect();
    let origins: Vec<&str> = lines
        .iter()
        .copied()
        .filter(|line| line.starts_with("Unattended-Upgrade::Origins-Pattern::"))
        .collect();
    assert_eq!(origins.len(), 2, "{config}");
    assert!(origins.iter().all(|line| line.contains("label=Debian-Security")), "{config}");
    for line in [
        "Unattended-Upgrade::Automatic-Reboot \"false\";",
        "Unattended-Upgrade::Package-Blacklist:: \"^samba\";",
        "Unattended-Upgrade::Mail \"root\";",
        "APT::Periodic::Unattended-Upgrade \"1\";",
    ] {
        assert!(lines.contains(&line), "{line} is not in {config}");
    }
    // The program itself takes it.
    let said = root.sh("unattended-upgrade --dry-run --debug 2>&1 || true");
    assert!(said.contains("origin=Debian,codename=bookworm-security,label=Debian-Security"), "{said}");
}

#[test]
fn disks_are_watched_by_rules_that_smartd_takes() {
    let Some(root) = Root::new() else { return };
    let features = [with(&built_in("smart"), json!({ "warm": 55, "mail": "ada@example.org" }))];
    root.run(&apply(&features)).ok();
    root.run(&apply(&features)).nothing_to_do();
    let rules = root.sh("cat /etc/smartd.conf");
    assert!(rules.contains("-s (S/../.././02|L/../../6/03) -W 4,55,60 -m ada@example.org"), "{rules}");
    // Debian's unit leaves itself out on a machine that is virtual, as a node may be.
    let unit =
        "cat /lib/systemd/system/smartmontools.service /etc/systemd/system/smartmontools.service.d/*.conf";
    let unit = root.sh(unit);
    let last = unit.lines().rfind(|line| line.starts_with("ConditionVirtualization"));
    assert_eq!(last, Some("ConditionVirtualization="), "{unit}");
}

#[test]
fn language_time_and_logs() {
    let Some(root) = Root::new() else { return };
    let of = |locale: &str, zone: &str| {
        apply(&[
            with(&built_in("locale"), json!({ "locale": locale })),
            with(&built_in("time-zone"), json!({ "zone": zone })),
            with(&built_in("journal"), json!({ "size": "500M", "days": 30 })),
        ])
    };
    let first = of("de_AT.UTF-8", "Europe/Vienna");
    root.run(&first).ok();
    root.run(&first).nothing_to_do();
    assert_eq!(
        root.sh(". /etc/default/locale; LC_ALL=$LANG locale -k d_fmt | head -n 1").trim(),
        "d_fmt=\"%Y-%m-%d\""
    );
    assert_eq!(root.sh("date -d @0 +%Z").trim(), "CET");
    let logs = root.sh("cat /etc/systemd/journald.conf.d/phoenix.conf");
    assert!(logs.contains("SystemMaxUse=500M\nMaxRetentionSec=30day"), "{logs}");
    // What is not there is said, and what was there stays.
    let ran = root.run(&of("xx_XX.UTF-8", "Europe/Vienna"));
    assert!(format!("{:?}", ran.failed()).contains("there is no locale xx_XX.UTF-8"), "{ran:?}");
    let ran = root.run(&of("de_AT.UTF-8", "Europe/Atlantis"));
    assert!(format!("{:?}", ran.failed()).contains("there is no time zone Europe/Atlantis"), "{ran:?}");
    assert_eq!(root.sh("date -d @0 +%Z; cat /etc/timezone"), "CET\nEurope/Vienna\n");
}
