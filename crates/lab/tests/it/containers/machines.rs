//! Real virtual machines in the lab: QEMU with the lab's own image, from nothing to nothing.

use std::time::{Duration, Instant};

use lab::up;
use proxmox::exchange::{Exchange as _, Method, Request};
use serde_json::Value;

use super::{Lab, real};

const IMAGE: &str = "local:import/debian-12-lab-amd64.qcow2";

/// The longest that an emulated machine takes until its agent answers, several times over.
const BOOT: Duration = Duration::from_secs(480);

impl Lab {
    /// Waits until a call succeeds.
    async fn until_call(&self, method: Method, path: &str, limit: Duration) -> Value {
        let end = Instant::now() + limit;
        loop {
            let request = Request { method, path: path.to_owned(), params: Vec::new() };
            let answer = self.api().exchange(&request).await;
            if let Ok(answer) = &answer
                && answer.status == 200
            {
                return answer.body["data"].clone();
            }
            assert!(Instant::now() < end, "{path}: {answer:?}: {}", self.console());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The end of what the machine wrote to its console.
    fn console(&self) -> String {
        super::text(&self.ssh("tail -n 20 /run/qemu-server/301.console").stdout)
    }

    /// Runs a program in the machine by its agent: its output.
    async fn in_machine(&self, words: &[&str]) -> String {
        let base = "/nodes/pve1/qemu/301/agent";
        let command: Vec<(&str, &str)> = words.iter().map(|word| ("command", *word)).collect();
        let started = self.call(Method::Post, &format!("{base}/exec"), &command).await;
        let path = format!("{base}/exec-status?pid={}", started["pid"]);
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let now = self.call(Method::Get, &path, &[]).await;
            if now["exited"] == 1 {
                assert_eq!(now["exitcode"], 0, "{words:?}: {now}");
                return now["out-data"].as_str().unwrap_or_default().to_owned();
            }
            assert!(Instant::now() < end, "{words:?} still runs");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Changes that are taken.
    async fn set(&self, params: &[(&str, &str)]) {
        self.call(Method::Put, "/nodes/pve1/qemu/301/config", params).await;
    }

    fn taps(&self) -> String {
        self.on_node("ls /sys/class/net | grep ^tap || true")
    }
}

/// A machine from the lab's own image: made by the API, entered by its agent and by ssh, grown and given another disk and
/// another card while it runs, and gone whole. What still runs when the lab ends, ends with it.
#[tokio::test]
async fn a_machine_lives_and_leaves_nothing() {
    if !real("a_machine_lives_and_leaves_nothing") {
        return;
    }
    let before = super::machine();
    let lab = Lab::new();
    lab.up().await;
    let content = lab.call(Method::Get, "/nodes/pve1/storage/local/content?content=import", &[]).await;
    assert_eq!(content[0]["volid"], IMAGE, "{content}");
    lab.on_node("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/machine");
    let key = lab
        .on_node("cat /root/.ssh/machine.pub")
        .trim()
        .replace(' ', "%20")
        .replace('+', "%2B")
        .replace('@', "%40");
    let scsi0 = format!("local-zfs:0,import-from={IMAGE}");
    let params = [
        ("vmid", "301"),
        ("name", "web"),
        ("memory", "512"),
        ("scsihw", "virtio-scsi-single"),
        ("scsi0", scsi0.as_str()),
        ("ide2", "local:cloudinit"),
        ("boot", "order=scsi0"),
        ("net0", "virtio,bridge=vmbr0"),
        ("ipconfig0", "ip=10.0.0.31/24,gw=10.0.0.1"),
        ("nameserver", "10.0.0.1"),
        ("ciuser", "root"),
        ("ciupgrade", "0"),
        ("sshkeys", key.replace('/', "%2F").as_str()),
        ("agent", "1"),
    ]
    .map(|(key, value)| (key, value.to_owned()));
    let params: Vec<(&str, &str)> = params.iter().map(|(key, value)| (*key, value.as_str())).collect();
    lab.long_task(Method::Post, "/nodes/pve1/qemu", &params, Duration::from_secs(1200)).await;
    let machine = "/nodes/pve1/qemu/301";
    lab.task(Method::Post, &format!("{machine}/status/start"), &[]).await;
    assert_eq!(lab.taps().trim(), "tap301i0");
    lab.until_call(Method::Post, &format!("{machine}/agent/ping"), BOOT).await;
    assert_eq!(lab.in_machine(&["cat", "/etc/hostname"]).await, "web\n");
    // Its address is there when cloud-init is through with it; ssh when it has made its keys.
    let ssh = "ssh -i /root/.ssh/machine -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=5 root@10.0.0.31";
    let end = Instant::now() + BOOT;
    while !lab.ssh(&format!("{ssh} true")).status.success() {
        assert!(Instant::now() < end, "ssh never came: {}", lab.console());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(lab.on_node(&format!("{ssh} hostname")), "web\n");
    let links = lab.call(Method::Get, &format!("{machine}/agent/network-get-interfaces"), &[]).await;
    assert!(links.to_string().contains("\"10.0.0.31\""), "{links}");
    lab.on_node("qm guest exec 301 -- true");
    // While it runs: a larger disk, another one, another card.
    lab.task(Method::Put, &format!("{machine}/resize"), &[("disk", "scsi0"), ("size", "+1G")]).await;
    assert_eq!(lab.in_machine(&["cat", "/sys/class/block/sda/size"]).await.trim(), (3_u64 << 21).to_string());
    lab.set(&[("scsi1", "local-zfs:1"), ("net1", "virtio,bridge=vmbr0")]).await;
    let seen = "test -e /sys/class/block/sdb && test -e /sys/class/net/eth1 && echo both";
    let end = Instant::now() + Duration::from_secs(60);
    while lab.in_machine(&["sh", "-c", &format!("{seen} || true")]).await != "both\n" {
        assert!(Instant::now() < end, "what was plugged in never came");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    lab.set(&[("delete", "scsi1,net1")]).await;
    assert_eq!(lab.taps().trim(), "tap301i0");
    // The node's API is not what runs it.
    lab.on_node("systemctl kill -s KILL phoenix-lab.service");
    let status = lab.until_call(Method::Get, &format!("{machine}/status/current"), BOOT).await;
    assert_eq!((&status["status"], &status["qmpstatus"]), (&"running".into(), &"running".into()), "{status}");
    lab.task(Method::Post, &format!("{machine}/status/shutdown"), &[("timeout", "110")]).await;
    assert_eq!(lab.taps(), "");
    lab.task(Method::Delete, machine, &[("purge", "1"), ("destroy-unreferenced-disks", "1")]).await;
    let left = "ls /run/qemu-server | grep 301; ls -A /mnt/pve/local-zfs/images /var/lib/vz/images; pgrep qemu-system || true";
    let left = lab.on_node(left);
    assert!(!left.contains("301") && !left.contains("vm-"), "{left}");
    // One without anything to start from still runs when the lab is gone: it goes, too.
    let empty = [("vmid", "302"), ("scsi0", "local:1"), ("memory", "64"), ("start", "1")];
    lab.task(Method::Post, "/nodes/pve1/qemu", &empty).await;
    assert_eq!(lab.on_node("pgrep -c qemu-system").trim(), "1");
    up::down(lab.folder()).await.unwrap();
    assert_eq!(super::mine(lab.folder()), [""; 0], "left behind by `down`");
    assert_eq!(super::machine(), before, "the machine is not as it was");
}
