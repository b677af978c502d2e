//! What a lab offers beside the API: ports of this machine, addresses, and templates.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::Duration;

use lab::up;
use proxmox::client::{Pace, Place, Writer};
use proxmox::exchange::Method;

use super::{Lab, ask, free_ports, text};

/// TCP services, each on a port of its own, which comes and goes while the same forwarder runs. A port that is published at the
/// end.
pub async fn tcp_services_are_published(lab: &Lab, target: SocketAddrV4) -> u16 {
    let service = |declared| up::TcpService { target, tls: false, declared };
    let publish = async |services: &[(&str, up::TcpService)]| {
        let services = services.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect();
        up::publish_services(lab.folder(), &services).await.unwrap();
        up::published(lab.folder())
    };
    let said = free_ports().api;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let busy = taken.local_addr().unwrap().port();
    let all = [("login", service(None)), ("said", service(Some(said))), ("busy", service(Some(busy)))];
    let now = publish(&all).await;
    assert_eq!(now["said"].port, said);
    assert_eq!((ask(now["login"].port), ask(said)), (b"SSH-".to_vec(), b"SSH-".to_vec()), "{now:?}");
    assert_eq!(now["login"].url(), format!("tcp://127.0.0.1:{}", now["login"].port));
    let why = now["busy"].trouble.as_deref().unwrap();
    assert!(why.contains(&format!("port {busy} on 127.0.0.1 is taken by")), "{why}");
    // The one that had it lets go, another is no longer wanted, and the third keeps its port.
    drop(taken);
    let then = publish(&[all[0], all[2]]).await;
    assert_eq!(then["login"], now["login"]);
    assert_eq!((&then["busy"].trouble, ask(busy)), (&None, b"SSH-".to_vec()));
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, said)).is_err(), "{said} is still open");
    busy
}

/// A guest with `ip=dhcp` gets an address of the upper half that nobody declared, a way out and a name server; the API shows
/// it as a real one does.
pub async fn an_address(lab: &Lab) {
    let net = "name=eth0,bridge=vmbr0,ip=dhcp,hwaddr=BC:24:11:00:01:23";
    lab.create_from("pve1", &lab.record().template.unwrap(), 123, net, false).await;
    lab.on_node("pct start 123");
    lab.until("pct exec 123 -- sh -c 'ip route | grep -q \"default via 10.0.0.1\"'");
    let interfaces = lab.call(Method::Get, "/nodes/pve1/lxc/123/interfaces", &[]).await;
    let device = interfaces.as_array().unwrap().iter().find(|i| i["name"] == "eth0").unwrap();
    let address = device["inet"].as_str().and_then(|a| a.strip_suffix("/24")).unwrap();
    let last: u8 = address.strip_prefix("10.0.0.").unwrap().parse().unwrap();
    // 128 is declared, 254 is the node's.
    assert!((129..254).contains(&last), "{interfaces:#}");
    assert_eq!(device["ip-addresses"][0]["ip-address"], address, "{interfaces:#}");
    assert!(lab.on_node("pct exec 123 -- cat /etc/resolv.conf").contains("nameserver 10.0.0.1"));
    let guests = up::status(lab.folder()).await.unwrap().guests;
    let shown = guests.iter().find(|g| g.id == 123).unwrap().address.as_deref();
    assert_eq!(shown, Some(address));
}

/// Debian 13, which the lab makes from Debian's packages when it is asked for: offered, downloaded, listed, and a guest of it
/// boots whole and gets its packages from its own release.
pub async fn another_release(lab: &Lab) {
    assert_eq!(lab.on_node("pveam update"), "update successful\n");
    let offered = lab.on_node("pveam available --section system");
    let line = offered.lines().find(|line| line.contains("debian-13-standard_")).unwrap();
    let name = line.split_whitespace().next_back().unwrap();
    assert_eq!(line, format!("system          {name}"));
    let index = lab.call(Method::Get, "/nodes/pve1/aplinfo", &[]).await;
    assert!(index.as_array().unwrap().iter().any(|one| one["template"] == name && one["type"] == "lxc"));
    // As recorded: `aplinfo: unknown template`, `aplinfo: to a missing storage`.
    let refused = lab.ssh("pveam download local nope.tar.zst");
    assert_eq!(
        (refused.status.code(), text(&refused.stderr).lines().nth(1)),
        (Some(255), Some("template: no such template"))
    );
    let refused = lab.ssh(&format!("pveam download nope {name}"));
    assert_eq!(text(&refused.stderr), "storage 'nope' does not exist\n");

    assert!(!lab.on_node("pveam list local").contains("debian-13"));
    lab.on_node(&format!("pveam download local {name}"));
    assert!(lab.on_node("pveam list local").contains(&format!("local:vztmpl/{name}")));
    let again = lab.on_node(&format!("pveam download local {name}"));
    assert_eq!(again, "OK, got correct file already, no need to download\n");

    let net = "name=eth0,bridge=vmbr0,ip=dhcp";
    lab.create_from("pve1", &format!("local:vztmpl/{name}"), 124, net, false).await;
    lab.on_node("pct start 124");
    lab.until("pct exec 124 -- systemctl is-system-running --wait");
    assert!(lab.on_node("pct exec 124 -- cat /etc/os-release").contains("VERSION_ID=\"13\""));
    let sources = lab.on_node("pct exec 124 -- sh -c 'cat /etc/apt/sources.list.d/*'");
    assert!(sources.contains(" trixie ") && !sources.contains("bookworm"), "{sources}");
    // It is this lab's alone: what was made stays for the next one that wants it.
    lab.on_node(&format!("pveam remove local:vztmpl/{name}"));
    assert!(!lab.on_node("pveam list local").contains("debian-13"));
    lab.on_node("pct exec 124 -- apt-get -qq update");
    lab.on_node("pct exec 124 -- sh -c 'apt-cache policy nginx-light | grep -q trixie'");
}

/// What a web server has on the node's loopback is fetched, checked, and left out where its sum is another; and what this
/// machine has is uploaded.
pub async fn files_on_a_storage(lab: &Lab) {
    let serve = r#"my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8931, Listen => 5, ReuseAddr => 1);
        while (my $c = $s->accept) {
            my $asked = <$c>; while (my $line = <$c>) { last if $line =~ /^\r?\n$/ }
            my ($status, $body) = $asked =~ m{ /x\.iso } ? ("200 OK", "hello") : ("404 Not Found", "");
            print $c "HTTP/1.1 $status\r\nContent-Length: ", length $body, "\r\nConnection: close\r\n\r\n$body"; close $c;
        }"#;
    lab.on_node(&format!("systemd-run --quiet --unit=lab-web perl -MIO::Socket::INET -e '{serve}'"));
    lab.until("perl -MIO::Socket::INET -e 'IO::Socket::INET->new(PeerAddr => q(127.0.0.1:8931)) or exit 1'");
    let writer = Writer::new(lab.api());
    let place = |file| Place { node: "pve1", storage: "local", content: "iso", file };
    let ended = async |upid: Result<proxmox::Upid, proxmox::error::Error>| {
        let upid = upid.unwrap();
        let end = writer.wait_task(&upid, Duration::from_secs(60), Pace::default(), &mut |_| {}).await;
        end.map(drop).map_err(|error| error.to_string())
    };
    let url = "http://127.0.0.1:8931/x.iso";
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(ended(writer.download(place("a.iso"), url, Some(hello)).await).await, Ok(()));
    let wrong = ended(writer.download(place("b.iso"), url, Some(&"0".repeat(64))).await).await.unwrap_err();
    assert!(wrong.contains("checksum mismatch: got '2cf24dba"), "{wrong}");
    let none =
        ended(writer.download(place("c.iso"), "http://127.0.0.1:8931/y", None).await).await.unwrap_err();
    assert!(none.contains("download failed") && none.contains("404"), "{none}");
    let again = ended(writer.download(place("a.iso"), url, None).await).await.unwrap_err();
    assert!(again.contains("refusing to override existing file '/var/lib/vz/template/iso/a.iso'"), "{again}");

    let own = lab.folder().join("own.iso");
    fs_err::write(&own, vec![b'x'; 3 << 20]).unwrap();
    let limit = Duration::from_secs(60);
    let upload = writer.upload(place("own.iso"), own.as_std_path(), None, limit, std::sync::Arc::default());
    assert_eq!(ended(upload.await).await, Ok(()));
    fs_err::remove_file(&own).unwrap();

    let there = writer.volumes("pve1", "local", Some("iso")).await.unwrap();
    let there: Vec<(&str, Option<u64>)> = there.iter().map(|it| (it.volid.as_str(), it.size)).collect();
    assert_eq!(there, [("local:iso/a.iso", Some(5)), ("local:iso/own.iso", Some(3 << 20))]);
    let files = lab.on_node("ls /var/lib/vz/template/iso; ls /var/tmp | grep pveupload || true");
    assert_eq!(files, "a.iso\nown.iso\n", "nothing else is left");
    lab.on_node("rm /var/lib/vz/template/iso/*; systemctl stop lab-web");
}

/// A container becomes a template, and has a linked and a full clone: copies that start, each with an identity and a network of its
/// own. About half a minute.
pub async fn templates_and_clones(lab: &Lab) {
    lab.create(124, "10.0.0.124", false).await;
    lab.on_node("pct start 124");
    lab.until("pct exec 124 -- sh -c 'test -s /etc/machine-id && echo kept >/root/kept'");
    lab.on_node("pct shutdown 124 && pct template 124");
    lab.until("pct config 124 | grep -q 'template: 1'");
    let config = lab.call(Method::Get, "/nodes/pve1/lxc/124/config", &[]).await;
    assert!(config["rootfs"].as_str().unwrap().contains("basevol-124-disk-0"), "{config:#}");
    let net = "name=eth0,bridge=vmbr0,ip=10.0.0.";
    for (id, full) in [("125", "0"), ("126", "1")] {
        let params = [("newid", id), ("full", full), ("hostname", "clone")];
        lab.task(Method::Post, "/nodes/pve1/lxc/124/clone", &params).await;
        lab.on_node(&format!("pct set {id} --net0 {net}{id}/24 && pct start {id}"));
    }
    let of = |id: u32| {
        lab.until(&format!("pct exec {id} -- sh -c 'test -s /etc/machine-id && grep -q kept /root/kept'"));
        lab.on_node(&format!("pct exec {id} -- cat /etc/machine-id"))
    };
    assert_ne!(of(125), of(126));
    assert_eq!(lab.on_node("pct exec 126 -- hostname").trim(), "clone");
    for id in [125, 126] {
        lab.on_node(&format!("pct stop {id} && pct destroy {id}"));
    }
    lab.on_node("pct destroy 124");
}
