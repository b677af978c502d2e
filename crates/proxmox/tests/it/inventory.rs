//! Both readers of the inventory, held against each other for the same guests.

use crate::support::{Scripted, data, refusal};
use camino::Utf8Path;
use proxmox::client::Reader;
use proxmox::config::GuestKind;
use proxmox::inventory::{FilesError, Guests, Look, read_by_api, read_by_files_below};
use serde_json::{Value, json};
use transport::Local;

const CONTAINER: &str = "\
#line one
#line two%3A %C3%BCn%C3%AFcode
#```phoenix {\"a\"%3A1}```
arch: amd64
cores: 2
cpulimit: 1.5
features: nesting=1
hostname: ct201
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:60:0C:00,ip=10.99.0.50/24,type=veth
onboot: 1
ostype: debian
rootfs: tank:201/vm-201-disk-0.raw,size=2G
searchdomain: workshop.internal
swap: 256
tags: a-tag;phoenix;web
unprivileged: 1
lxc.cgroup2.devices.allow: c 195:* rwm

[pve:pending]
delete: searchdomain
features: nesting=0
timezone: UTC

[before]
hostname: another
snaptime: 1795423105
";

const VM: &str = "\
#x
boot: order=scsi0;net0
cipassword: $5$salt$hash
cores: 1
memory: 512
name: vm301
net0: virtio=BC:24:11:04:5C:F4,bridge=vmbr0
scsi0: tank:301/vm-301-disk-0.qcow2,size=1500M

[PENDING]
memory: 1024

[special:cloudinit]
name: vm301
";

/// `/pending` of the same guests, in the form of a real node's: numbers for a container, strings for a virtual machine,
/// the raw entries and the snapshots left out.
fn pending(id: u32) -> Option<Value> {
    let plain = |key: &str, value: Value| json!({ "key": key, "value": value });
    Some(match id {
        201 => json!([
            plain("description", json!("line one\nline two: ünïcode\n```phoenix {\"a\":1}```\n")),
            plain("memory", json!(512)),
            plain("swap", json!(256)),
            plain("cores", json!(2)),
            plain("cpulimit", json!("1.5")),
            plain("onboot", json!(1)),
            plain("unprivileged", json!(1)),
            plain("arch", json!("amd64")),
            plain("hostname", json!("ct201")),
            plain("ostype", json!("debian")),
            plain("tags", json!("a-tag;phoenix;web")),
            plain("net0", json!("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:60:0C:00,ip=10.99.0.50/24,type=veth")),
            plain("rootfs", json!("tank:201/vm-201-disk-0.raw,size=2G")),
            { "key": "features", "value": "nesting=1", "pending": "nesting=0" },
            { "key": "searchdomain", "value": "workshop.internal", "delete": 1 },
            { "key": "timezone", "pending": "UTC" },
            plain("digest", json!(proxmox::config::digest(CONTAINER.as_bytes()))),
        ]),
        301 => json!([
            plain("description", json!("x")),
            plain("boot", json!("order=scsi0;net0")),
            plain("cipassword", json!("**********")),
            plain("cores", json!(1)),
            { "key": "memory", "value": "512", "pending": "1024" },
            plain("name", json!("vm301")),
            plain("net0", json!("virtio=BC:24:11:04:5C:F4,bridge=vmbr0")),
            plain("scsi0", json!("tank:301/vm-301-disk-0.qcow2,size=1500M")),
            plain("digest", json!(proxmox::config::digest(VM.as_bytes()))),
        ]),
        _ => return None,
    })
}

fn resources() -> Value {
    json!([
        { "id": "lxc/201", "type": "lxc", "node": "pve1", "vmid": 201, "status": "running", "template": 0 },
        { "id": "qemu/301", "type": "qemu", "node": "pve2", "vmid": 301, "status": "stopped" },
        // Destroyed since the list was made.
        { "id": "lxc/999", "type": "lxc", "node": "pve1", "vmid": 999, "status": "unknown" },
    ])
}

fn write(root: &Utf8Path, path: &str, text: &str) {
    let path = root.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, text).unwrap();
}

#[tokio::test]
async fn both_readers_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    write(root, "nodes/pve1/lxc/201.conf", CONTAINER);
    write(root, "nodes/pve2/qemu-server/301.conf", VM);
    // What else lies in such folders.
    write(root, "nodes/pve1/lxc/notes.txt", "end 0\n");
    write(root, "nodes/pve1/lxc/201.conf.tmp.123", "memory: 1\n");
    write(root, "firewall/201.fw", "[RULES]\n\nIN ACCEPT # é\n");
    write(root, "firewall/cluster.fw", "[OPTIONS]\nenable: 1");
    write(root, "firewall/cluster.fw.tmp.77", "");
    write(root, "nodes/pve1/host.fw", "");
    // In no encoding that could be written back.
    fs_err::write(root.join("firewall/301.fw"), b"[RULES]\nIN DROP # \xe9\n").unwrap();
    fs_err::os::unix::fs::symlink("nodes/pve1", root.join("local")).unwrap();
    let looks = [
        Look { name: "pools", script: r#"printf 'tank\n%s' "$0""# },
        Look { name: "links", script: "echo half; exit 3" },
        Look { name: "nothing", script: ":" },
    ];
    let by_files = read_by_files_below(&Local, root.as_str(), &looks).await.unwrap();
    let seen = [
        ("pools", Ok("tank\npools".to_owned())),
        ("links", Err("half\n".to_owned())),
        ("nothing", Ok(String::new())),
    ];
    assert_eq!(by_files.seen, seen.map(|(name, seen)| (name.to_owned(), seen)).into());
    assert_eq!(by_files.node.as_deref(), Some("pve1"));
    let container = &by_files.guests[&201];
    assert_eq!((container.node.as_str(), container.kind), ("pve1", GuestKind::Container));
    assert_eq!(container.config.to_string(), CONTAINER);
    assert_eq!(by_files.guests[&301].config.to_string(), VM);
    assert_eq!(by_files.firewall.keys().collect::<Vec<_>>(), ["201.fw", "cluster.fw", "host:pve1"]);
    assert_eq!(by_files.firewall["cluster.fw"], "[OPTIONS]\nenable: 1");
    assert_eq!(by_files.firewall_unread.keys().collect::<Vec<_>>(), ["301.fw"]);

    let exchange = Scripted::new(|request| {
        assert_eq!(request.method, proxmox::exchange::Method::Get);
        if request.path == "/cluster/resources" {
            return data(resources());
        }
        let parts: Vec<&str> = request.path.split('/').collect();
        let ["", "nodes", _, kind, id, "pending"] = parts[..] else { panic!("{}", request.path) };
        match pending(id.parse().unwrap()) {
            Some(entries) => data(entries),
            None => {
                let words = format!("Configuration file 'nodes/pve1/{kind}/{id}.conf' does not exist");
                refusal(500, &words, json!({ "data": null, "message": format!("{words}\n") }))
            }
        }
    });
    let by_api = read_by_api(&Reader::new(exchange)).await.unwrap();
    assert_eq!(by_api, by_files.as_the_api_shows());
}

#[tokio::test]
async fn no_guest_is_concluded_from_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(dir.path()).unwrap();
    // The cluster file system is not mounted: that is no empty cluster.
    let error = read_by_files_below(&Local, root.as_str(), &[]).await.unwrap_err();
    assert!(matches!(error, FilesError::Failed { .. }), "{error:?}");
    // A node without guests is.
    fs_err::create_dir_all(root.join("nodes/pve1")).unwrap();
    let empty = read_by_files_below(&Local, root.as_str(), &[]).await.unwrap();
    assert_eq!(empty.as_the_api_shows(), Guests::default());
    // A file that is there and cannot be read is told.
    fs_err::create_dir_all(root.join("nodes/pve1/lxc/101.conf")).unwrap();
    let guests = read_by_files_below(&Local, root.as_str(), &[]).await.unwrap();
    assert_eq!((guests.guests.len(), guests.unread.len()), (0, 1), "{guests:?}");

    let exchange = Scripted::new(|request| match request.path.as_str() {
        "/cluster/resources" => data(resources()),
        "/nodes/pve1/lxc/201/pending" => refusal(500, "some trouble", Value::Null),
        "/nodes/pve2/qemu/301/pending" => refusal(595, "No route to host", Value::Null),
        _ => refusal(500, "Configuration file 'nodes/pve1/lxc/999.conf' does not exist", Value::Null),
    });
    let guests = read_by_api(&Reader::new(exchange)).await.unwrap();
    assert_eq!(guests.unread.iter().map(|unread| unread.id).collect::<Vec<_>>(), [201, 301]);
}
