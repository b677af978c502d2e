//! What guests said, recorded in containers with Debian 12.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A backend, its Nginx kept from its port by a program that somebody started by hand.
const TAKEN: &str = "\u{1e}clock\n1795540706.003664980\n\u{1e}uptime\n109.30 101.49\n\u{1e}system\ndegraded\n\
\u{1e}disk\nFilesystem     1024-blocks   Used Available Capacity Mounted on\n/dev/loop0         4128768 309820   3818948       8% /\n\
\u{1e}inodes\nFilesystem      Inodes IUsed   IFree IUse% Mounted on\n/dev/loop0     2097152  7946 2089206    1% /\n\
\u{1e}memory\nMemTotal 524288\nMemAvailable 509056\n\
\u{1e}hosts\n127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n\n# --- BEGIN PVE ---\n10.0.0.120 notes.workshop.internal notes\n\
# --- END PVE ---\n# BEGIN phoenix names\n10.0.0.153 gateway.workshop.internal notes.workshop.internal\n# END phoenix names\n\
\u{1e}resolvers\n10.255.255.53\n\
\u{1e}listeners\nLISTEN 0      5      0.0.0.0:80 0.0.0.0:* users:((\"perl\",pid=1910,fd=3))\n\
LISTEN 0      128    0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=133,fd=3)) \nLISTEN 0      128       [::]:22    [::]:* users:((\"sshd\",pid=133,fd=4)) \n\
\u{1e}owners\n133 ssh.service\n1910 \n\u{1e}certificate notes\n\u{1e}failed\nnginx.service\n\
\u{1e}units\nResult=exit-code\nId=nginx.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nStateChangeTimestamp=@1795540705\n\
\u{1e}journal nginx.service\nnginx.service: Deactivated successfully.\nStopped nginx.service - A high performance web server and a reverse proxy server.\n\
Starting nginx.service - A high performance web server and a reverse proxy server...\nnginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)\n\
nginx: [emerg] still could not bind()\nnginx.service: Control process exited, code=exited, status=1/FAILURE\nnginx.service: Failed with result 'exit-code'.\n\
Failed to start nginx.service - A high performance web server and a reverse proxy server.\n\u{1e}rules\n\u{1e}end\n1795540706.345648984\n";

#[test]
fn a_guest_tells_about_itself() {
    let seen = Seen::parse(TAKEN, at(1_795_540_706), at(1_795_540_707)).unwrap();
    assert_eq!((seen.system.as_str(), seen.up), ("degraded", Duration::from_millis(109_300)));
    assert_eq!(seen.disk.unwrap().percent(), 8);
    assert_eq!(seen.inodes, Some(Filled { all: 2_097_152, left: 2_089_206 }));
    assert_eq!(seen.memory.unwrap().percent(), 3);
    assert_eq!(seen.resolvers, [Ipv4Addr::new(10, 255, 255, 53)]);
    // The first line that speaks of a name wins; whose it is, is known.
    let lines: Vec<_> =
        seen.hosts_of("NOTES.workshop.internal").map(|l| (l.number, l.address.as_str(), l.by)).collect();
    assert_eq!(lines, [(5, "10.0.0.120", Writer::Proxmox), (8, "10.0.0.153", Writer::Phoenix)]);
    let holder = seen.listener(Ipv4Addr::new(10, 0, 0, 120), 80).unwrap();
    assert_eq!((holder.program.as_str(), holder.pid, holder.unit.as_deref()), ("perl", 1910, None));
    assert_eq!(seen.listener(Ipv4Addr::new(10, 0, 0, 120), 22).unwrap().unit.as_deref(), Some("ssh.service"));
    assert_eq!(seen.listener(Ipv4Addr::new(10, 0, 0, 120), 443), None);
    let [nginx] = seen.units.as_slice() else { panic!("{:?}", seen.units) };
    assert!(nginx.failed() && !nginx.fine());
    assert_eq!(nginx.since, Some(at(1_795_540_705)));
    assert_eq!(nginx.telling(), Some("bind() to 0.0.0.0:80 failed (98: Address already in use)"));
    assert_eq!(seen.certificates["notes"], OnDisk::default());
}

#[test]
fn clocks_are_compared_as_exactly_as_the_way_allows() {
    // 0.342 s of the second went by in the script: it began within 0.658 s of the question.
    let clock = |ahead: i64| {
        Seen::parse(TAKEN, at(1_795_540_706 - ahead), at(1_795_540_707 - ahead)).unwrap().clock.unwrap()
    };
    assert!(clock(0).off() == 0.0, "{:?}", clock(0));
    let hour = clock(3600);
    assert!((hour.ahead - 3600.0).abs() < 0.5 && (hour.give_or_take - 0.329).abs() < 0.01, "{hour:?}");
    assert!(hour.off() > 3599.0 && clock(-3600).off() < -3599.0);
}

#[test]
fn units_that_stopped_and_that_start_again_and_again() {
    let show = "Id=nginx.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nResult=success\nStateChangeTimestamp=@1\n\n\
                Id=traefik.service\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\n\
                StateChangeTimestamp=@1\n\nId=gone.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\n\
                StateChangeTimestamp=\n\nId=oneshot.service\nLoadState=loaded\nActiveState=active\nSubState=exited\nResult=success\n\n\
                Id=oneshot.service\nActiveState=failed\n";
    let all = units(show);
    let states: Vec<_> = all.iter().map(|u| (u.name.as_str(), u.fine(), u.failed())).collect();
    assert_eq!(
        states,
        [
            ("nginx.service", false, false),
            ("traefik.service", false, true),
            ("gone.service", false, false),
            ("oneshot.service", true, false)
        ]
    );
    assert_eq!(all[2].since, None);
}

#[test]
fn what_a_journal_tells() {
    let telling = |lines: &[&str]| {
        let unit = Unit {
            name: "nginx.service".into(),
            journal: lines.iter().map(|l| (*l).to_owned()).collect(),
            ..Unit::default()
        };
        unit.telling().map(str::to_owned)
    };
    let broken = [
        "2026/11/24 17:44:42 [emerg] 2410#2410: unknown directive \"bad\" in /etc/nginx/conf.d/x.conf:1",
        "nginx.service: Failed with result 'exit-code'.",
    ];
    assert_eq!(telling(&broken).as_deref(), Some("unknown directive \"bad\" in /etc/nginx/conf.d/x.conf:1"));
    let python = [
        "Traceback (most recent call last):",
        "  File \"/srv/app.py\", line 1",
        "OSError: [Errno 28] No space left on device",
    ];
    assert_eq!(telling(&python).as_deref(), Some("OSError: [Errno 28] No space left on device"));
    assert_eq!(telling(&["listening", "bye"]).as_deref(), Some("bye"));
    assert_eq!(telling(&["Stopped nginx.service - x."]), None);
}

#[test]
fn what_was_put_aside() {
    // Of the gateway's `nginx-guard --bad`, and with reasons over several lines.
    let text = "notes: 2026/11/24 17:17:01 [emerg] 1903#1903: cannot load certificate \"/etc/phoenix/certificates/notes/fullchain.pem\": \
                BIO_new_file() failed (SSL: error:80000002)\nnginx: configuration file /etc/nginx/nginx.conf test failed\n\
                status: port 443 is taken by perl (process 12)\n  and more\n";
    assert_eq!(
        aside(text),
        [
            (
                "notes".to_owned(),
                "cannot load certificate \"/etc/phoenix/certificates/notes/fullchain.pem\": BIO_new_file() failed (SSL: error:80000002)"
                    .to_owned()
            ),
            ("status".to_owned(), "port 443 is taken by perl (process 12)\n  and more".to_owned()),
        ]
    );
    assert_eq!(aside(""), []);
}

#[test]
fn what_a_guest_says_of_its_certificates() {
    let text = "\u{1e}clock\n1.5\n\u{1e}certificate notes\nkey other\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n\
                \u{1e}renewals\n{\"name\":\"notes\",\"names\":[\"notes.workshop.internal\"],\"issuer\":\"step-ca\",\"serial\":null,\"not_after\":1800000000,\
                \"renew_at\":1799990000,\"served\":[],\"failures\":3,\"error\":\"https://ca.workshop.internal did not answer within 60 s\"}\nnot json\n";
    let seen = Seen::parse(text, at(1), at(2)).unwrap();
    let disk = &seen.certificates["notes"];
    assert_eq!(disk.key, Some(Key::Other));
    assert!(disk.chain.starts_with("-----BEGIN CERTIFICATE-----\nMIIB"));
    let renewal = &seen.renewals["notes"];
    assert_eq!((renewal.failures, renewal.renew_at), (3, Some(1_799_990_000)));
    assert!(renewal.error.as_ref().unwrap().contains("did not answer"));
}

#[test]
fn what_never_began_is_nothing() {
    assert_eq!(Seen::parse("sh: 1: not found\n", at(1), at(2)), None);
    assert_eq!(Seen::parse("", at(1), at(2)), None);
    assert!(Seen::parse("\u{1e}clock\n1.0\n", at(1), at(2)).is_some());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text in "(\u{1e}(clock|disk|listeners|units|hosts|aside x|certificate y|owners)\n|[0-9. a-z:=\"(),]{0,30}\n){0,12}") {
        let _ = Seen::parse(&format!("\u{1e}clock\n1\n{text}"), at(0), at(1));
    }
}
