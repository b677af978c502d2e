//! The firewall on real packets: between guests, to the node, and from outside.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// What the tests' files say of the node: whoever manages it may, from wherever.
const CLUSTER: &str =
    "[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nIN ACCEPT -p tcp -dport 22,8006 # phoenix:t:way-in\n";

impl Lab {
    /// Writes a file on the node, whole.
    fn put(&self, path: &str, text: &str) {
        let line = format!(
            "mkdir -p $(dirname {path}) && printf '%s' '{text}' > {path}.new && mv {path}.new {path}"
        );
        self.on_node(&line);
    }

    /// Waits until what the files say is in force.
    fn in_force(&self, word: &str) {
        self.until(&format!("pve-firewall status | grep -x 'Status: {word}/running'"));
    }

    /// Whether a guest gets an answer of an sshd: its greeting.
    fn greeted(&self, from: u32, to: &str, port: u16) -> bool {
        let line =
            format!("pct exec {from} -- timeout 2 bash -c 'exec 3<>/dev/tcp/{to}/{port} && head -c 4 <&3'");
        text(&self.ssh(&line).stdout) == "SSH-"
    }

    /// Whether it gets one, sooner or later: a machine with much to do is slow to greet, and closes nothing.
    fn reaches(&self, from: u32, to: &str, port: u16) -> bool {
        (0..10).any(|_| self.greeted(from, to, port))
    }

    /// The same from the node itself.
    fn node_greeted(&self, to: &str, port: u16) -> bool {
        text(&self.ssh(&format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{to}/{port} && head -c 4 <&3'")).stdout)
            == "SSH-"
    }

    /// Two guests that run, with an sshd on 22 and on 8080, on links that are filtered.
    async fn two_guests(&self) {
        for (id, address) in [(120, "10.0.0.21"), (121, "10.0.0.22")] {
            self.create(id, address, false).await;
            let net = format!("name=eth0,bridge=vmbr0,ip={address}/24,gw=10.0.0.1,firewall=1");
            let config = format!("/nodes/pve1/lxc/{id}/config");
            self.call(Method::Put, &config, &[("net0", &net)]).await;
            self.on_node(&format!("pct start {id}"));
        }
        for id in [120, 121] {
            self.until(&format!("pct exec {id} -- systemctl is-active ssh"));
            self.on_node(&format!("pct exec {id} -- /usr/sbin/sshd -p 8080"));
        }
    }
}

/// Connects from this machine to the node's own address again and again, and counts what did not get through.
struct Watch {
    stop: Arc<AtomicBool>,
    tries: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Watch {
    fn of(node: Ipv4Addr) -> Self {
        let (stop, tries) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (stop.clone(), tries.clone());
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            for round in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                // An sshd turns people away while ten are at its door and say nothing (MaxStartups).
                for port in if round % 25 == 0 { &[22, 8006][..] } else { &[8006] } {
                    let address = SocketAddr::from((node, *port));
                    if let Err(error) = TcpStream::connect_timeout(&address, Duration::from_millis(900)) {
                        failed.push(format!("{address}: {error}"));
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            failed
        });
        Self { stop, tries, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.thread.take().unwrap().join().unwrap();
        let tries = self.tries.load(Ordering::Relaxed);
        assert_eq!(failed, [""; 0], "of {tries} connections to the node");
        assert!(tries > 100, "only {tries} connections were tried");
    }
}

/// P-20, P-59, P-66, P-73: what is allowed passes, what is not does not, whoever is connected stays so, and the node can
/// be reached at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn rules_are_in_force_on_real_packets() {
    if !real("rules_are_in_force_on_real_packets") {
        return;
    }
    let lab = Lab::new();
    lab.up().await;
    let outside = up::Names::of(lab.folder(), 0).inside;
    lab.two_guests().await;
    let watch = Watch::of(outside);
    let guest = |id: u32, text: &str| lab.put(&format!("/etc/pve/firewall/{id}.fw"), text);

    // Rules that are there and not switched on do nothing, neither the guest's nor the cluster's (P-73).
    guest(121, "[RULES]\nIN DROP\n");
    assert!(lab.reaches(120, "10.0.0.22", 22));
    guest(121, "[OPTIONS]\nenable: 1\n");
    lab.in_force("disabled");
    assert!(lab.reaches(120, "10.0.0.22", 22));

    lab.put("/etc/pve/firewall/cluster.fw", CLUSTER);
    lab.in_force("enabled");
    assert!(!lab.greeted(120, "10.0.0.22", 22) && !lab.node_greeted("10.0.0.22", 22));
    assert!(lab.reaches(121, "10.0.0.21", 22), "it may speak itself");
    let both =
        "[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT -source 10.0.0.21 -p tcp -dport 8080 # phoenix:t:a\n";
    guest(121, both);
    lab.in_force("enabled");
    assert!(lab.reaches(120, "10.0.0.22", 8080), "a rule added opens");
    assert!(!lab.greeted(120, "10.0.0.22", 22) && !lab.node_greeted("10.0.0.22", 8080));

    // Whoever is connected stays so when the rule goes; nobody new gets in.
    lab.on_node(
        "pct exec 120 -- sh -c 'nohup bash -c \"exec 3<>/dev/tcp/10.0.0.22/8080; head -c 8 <&3 >/tmp/got; \
         until [ -e /tmp/go ]; do sleep 0.1; done; printf \\\"SSH-2.0-test\\r\\n\\\" >&3; timeout 5 head -c 40 <&3 | wc -c >/tmp/after\" \
         >/dev/null 2>&1 &'",
    );
    lab.until("pct exec 120 -- test -s /tmp/got");
    guest(121, "[OPTIONS]\nenable: 1\n");
    lab.in_force("enabled");
    assert!(!lab.greeted(120, "10.0.0.22", 8080), "a rule removed closes");
    lab.on_node("pct exec 120 -- touch /tmp/go");
    assert_eq!(lab.until("pct exec 120 -- grep . /tmp/after").trim(), "40", "the connection did not survive");

    // The other end: what a guest may not send does not leave it, whatever the receiver would take.
    guest(121, "[OPTIONS]\nenable: 1\npolicy_in: ACCEPT\n");
    guest(
        120,
        "[OPTIONS]\nenable: 1\npolicy_in: ACCEPT\npolicy_out: DROP\n[RULES]\nOUT ACCEPT -dest 10.0.0.22 -p tcp -dport 22\n",
    );
    lab.in_force("enabled");
    assert!(lab.reaches(120, "10.0.0.22", 22) && !lab.greeted(120, "10.0.0.22", 8080));
    assert!(lab.reaches(121, "10.0.0.21", 8080), "answers leave all the same");
    assert!(!lab.greeted(120, "10.0.0.254", 22), "nor to the node");
    // A refusal is told at once, where a drop is silent.
    guest(120, "[OPTIONS]\nenable: 1\n[RULES]\nOUT REJECT -dest 10.0.0.22 -p tcp\n");
    lab.in_force("enabled");
    let refused = lab.ssh("pct exec 120 -- timeout 5 bash -c 'exec 3<>/dev/tcp/10.0.0.22/22'");
    assert!(text(&refused.stderr).contains("refused"), "{}", text(&refused.stderr));
    // Addresses of others are not believed.
    guest(120, "[OPTIONS]\nenable: 1\nipfilter: 1\n");
    lab.in_force("enabled");
    assert!(lab.reaches(120, "10.0.0.22", 22));
    lab.on_node("pct exec 120 -- ip addr add 10.0.0.77/24 dev eth0");
    let forged = "pct exec 120 -- ping -c 1 -W 1 -I 10.0.0.77 10.0.0.22";
    assert!(!lab.ssh(forged).status.success(), "a forged address got through");
    guest(120, "[OPTIONS]\nenable: 1\n");
    lab.in_force("enabled");
    assert!(lab.ssh(forged).status.success());

    // A rule means the addresses that the guest uses, though they are translated on the way, as its router's are.
    lab.on_node(
        "nft 'add table ip t; add chain ip t pre { type nat hook prerouting priority -100; }; \
         add rule ip t pre ip daddr 10.0.0.1 tcp dport 2222 dnat to 10.0.0.254:22'",
    );
    guest(
        120,
        "[OPTIONS]\nenable: 1\npolicy_out: DROP\n[RULES]\nOUT ACCEPT -dest 10.0.0.1 -p tcp -dport 2222\n",
    );
    lab.in_force("enabled");
    assert!(lab.reaches(120, "10.0.0.1", 2222) && !lab.greeted(120, "10.0.0.254", 22));
    lab.on_node("nft delete table ip t");

    // The node: the local network may manage it, others only what a rule says.
    assert!(lab.reaches(121, "10.0.0.254", 22));
    lab.on_node("systemd-run --quiet --unit t-8080 /usr/sbin/sshd -D -p 8080");
    let node = SocketAddr::from((outside, 8080));
    let open = || TcpStream::connect_timeout(&node, Duration::from_millis(900)).is_ok();
    assert!(!open() && !lab.greeted(121, "10.0.0.254", 8080));
    lab.put("/etc/pve/nodes/pve1/host.fw", "[RULES]\nIN ACCEPT -p tcp -dport 8080 # phoenix:t:b\n");
    lab.in_force("enabled");
    lab.until("timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080'");
    assert!(open() && lab.reaches(121, "10.0.0.254", 8080));

    // The watcher starts anew without a gap, is killed, loses its tables: what is in force stays so, or comes back.
    lab.on_node("pve-firewall restart && nft list table inet pve-firewall >/dev/null");
    lab.in_force("enabled");
    lab.on_node("systemctl kill -s KILL pve-firewall; nft list table inet pve-firewall >/dev/null");
    lab.in_force("enabled");
    lab.on_node("nft delete table inet pve-firewall");
    lab.until("nft list table inet pve-firewall");
    // Broken rules are left out, and said; what is no script of nft never replaces one that is.
    guest(121, "[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT -source +nope\nIN SSH(ACCEPT)\n");
    lab.in_force("enabled");
    let said = lab.ssh("pve-firewall compile");
    assert!(text(&said.stderr).contains("121.fw: `IN ACCEPT -source +nope`: no such ipset 'nope'"));
    assert!(text(&said.stdout).ends_with("no changes\n"));
    guest(120, "[OPTIONS]\nenable: 1\n");
    lab.in_force("enabled");
    assert!(lab.reaches(120, "10.0.0.22", 22) && !lab.greeted(120, "10.0.0.22", 8080));

    // A guest's rules go with it, and the table of addresses was never touched.
    lab.on_node("pct stop 121");
    lab.task(Method::Delete, "/nodes/pve1/lxc/121", &[]).await;
    assert!(!lab.ssh("test -e /etc/pve/firewall/121.fw").status.success());
    assert!(lab.on_node("nft list table ip lab").contains("masquerade"));
    lab.put("/etc/pve/firewall/cluster.fw", &CLUSTER.replace("enable: 1", "enable: 0"));
    lab.in_force("disabled");
    assert!(!lab.on_node("nft list tables").contains("pve-firewall"));
    watch.end();
    lab.down().await;
}
