//! The node's network with real programs: ifupdown2, nftables, and the kernel's bridges, in a network of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::time::{Duration, Instant};

use proxmox::guard::{self, Applied, Confirmed, FileChange};
use proxmox::network::{FILE, NETWORK, SCRIPT, SeenNetwork, parse_seen};
use transport::Command;

use crate::root::Root;

/// As a node has it whose only card is the way in. The end of a pair stands for the card.
const BEFORE: &str = "auto lo\niface lo inet loopback\n\niface enp5s0 inet manual\n\n# the way in\nauto vmbr0\niface vmbr0 inet static\n\
    \taddress 10.0.0.13/24\n\tbridge-ports enp5s0\n\tbridge-stp off\n\tbridge-fd 0\n";

const INNER: &str = "\nauto vmbr1\niface vmbr1 inet static\n\taddress 10.1.0.1/24\n\tbridge-ports none\n\tbridge-stp off\n\tbridge-fd 0\n\
    \tmtu 1400\n\tpost-up echo 1 >/proc/sys/net/ipv4/ip_forward\n\
    \tpost-up nft 'add table ip phoenix-nat-vmbr1; flush table ip phoenix-nat-vmbr1; add chain ip phoenix-nat-vmbr1 out { type nat \
    hook postrouting priority 100; }; add rule ip phoenix-nat-vmbr1 out ip saddr 10.1.0.0/24 ip daddr != 10.1.0.0/24 masquerade'\n\
    \tpost-down nft delete table ip phoenix-nat-vmbr1\n";

fn node() -> Option<Root> {
    let root = Root::new()?;
    root.put(FILE, BEFORE.as_bytes());
    // The links of these namespaces, and not of the machine around them.
    root.sh("mount -t sysfs sysfs /sys");
    // What a node's network is brought up by, as it starts.
    root.sh("mkdir -p /run/network; ip link set lo up");
    root.sh("ip link add enp5s0 type veth peer name cable && ip link set cable up");
    root.sh("ip link add veth101i0 type veth peer name inside && ip link set veth101i0 up");
    root.sh("ifreload -a && ip link set veth101i0 master vmbr0");
    Some(root)
}

async fn apply(root: &Root, old: &str, new: &str, seconds: u64, about: &str) -> Applied {
    let own = |text: &str| Some(text.to_owned());
    let change = FileChange { name: "interfaces".into(), old: own(old), new: own(new) };
    let command = NETWORK.apply("workshop", &[change], Duration::from_secs(seconds), &[about.to_owned()]);
    let output = root.node().run(&command).await.unwrap();
    guard::applied(&output).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

async fn seen(root: &Root) -> SeenNetwork {
    let output = root.node().run(&Command::new("looking", ["sh", "-c", SCRIPT, "network"])).await.unwrap();
    parse_seen(&output.text()).unwrap_or_else(|why| panic!("{why}: {output:?}"))
}

/// What the file says once nothing lies over it: with what a node starts anew that loses its power now.
fn on_disk(root: &Root) -> String {
    root.sh(&format!(
        "mkdir -p /run/under && mount --bind /etc /run/under && cat /run/under{}; umount /run/under",
        &FILE[4..]
    ))
}

fn addresses(seen: &SeenNetwork, link: &str) -> String {
    let all = seen.links.get(link).into_iter().flat_map(|it| &it.addresses);
    all.filter(|(it, _)| it.is_ipv4())
        .map(|(it, length)| format!("{it}/{length}"))
        .collect::<Vec<_>>()
        .join(" ")
}

async fn until(root: &Root, what: &str, is: impl Fn(&SeenNetwork) -> bool) -> SeenNetwork {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = seen(root).await;
        if is(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// An inner bridge comes with what lets its guests out, stays once it is confirmed, and goes again without a trace; the guest on
/// the other bridge is never cut off.
#[tokio::test]
async fn an_inner_network_comes_and_goes() {
    let Some(root) = node() else { return };
    let before = seen(&root).await;
    assert_eq!(
        (addresses(&before, "vmbr0").as_str(), before.tool.as_deref()),
        ("10.0.0.13/24", Some("ifupdown2"))
    );
    assert_eq!(before.links["enp5s0"].master.as_deref(), Some("vmbr0"), "{before:#?}");
    let after = format!("{BEFORE}{INNER}");
    let Applied::Armed(token) = apply(&root, BEFORE, &after, 120, "vmbr1").await else { panic!("not armed") };
    let then = seen(&root).await;
    assert_eq!(then.text.as_deref(), Some(after.as_str()));
    assert_eq!((addresses(&then, "vmbr1").as_str(), then.links["vmbr1"].mtu), ("10.1.0.1/24", 1400));
    assert_eq!(then.links["vmbr1"].bridge, Some(false));
    assert_eq!(then.unconfirmed.as_deref(), Some("workshop"));
    assert!(then.tables.unwrap().contains(&"phoenix-nat-vmbr1".to_owned()));
    assert_eq!(
        on_disk(&root),
        BEFORE,
        "a node that loses its power now starts with another network than it had"
    );
    let confirmed = root.node().run(&NETWORK.confirm(&token)).await.unwrap();
    assert_eq!(guard::confirmed(&confirmed), Ok(Confirmed::Yes));
    assert_eq!(on_disk(&root), after);
    let stays = seen(&root).await;
    assert_eq!((stays.unconfirmed, stays.text.as_deref()), (None, Some(after.as_str())));

    // Nobody is let out any more, and the bridge stays: what was there is taken away though nothing goes down.
    let shut: String =
        after.lines().filter(|line| !line.contains("post-")).map(|line| format!("{line}\n")).collect();
    let Applied::Armed(token) = apply(&root, &after, &shut, 120, "vmbr1").await else { panic!("not armed") };
    let then = seen(&root).await;
    assert!(!then.tables.unwrap().contains(&"phoenix-nat-vmbr1".to_owned()));
    root.node().run(&NETWORK.confirm(&token)).await.unwrap();

    let Applied::Armed(token) = apply(&root, &shut, BEFORE, 120, "vmbr1").await else { panic!("not armed") };
    root.node().run(&NETWORK.confirm(&token)).await.unwrap();
    let gone = seen(&root).await;
    assert!(!gone.links.contains_key("vmbr1"), "{gone:#?}");
    assert_eq!(addresses(&gone, "vmbr0"), "10.0.0.13/24");
    assert_eq!(gone.links["veth101i0"].master.as_deref(), Some("vmbr0"), "a guest was cut off");
}

/// P-20: a change that cuts the way in is taken back by the node itself, with nobody there; so is one that is given up.
#[tokio::test]
async fn what_cuts_the_way_in_is_taken_back() {
    let Some(root) = node() else { return };
    let cut = BEFORE.replace("10.0.0.13", "10.9.9.9").replace("bridge-ports enp5s0", "bridge-ports none");
    let Applied::Armed(token) = apply(&root, BEFORE, &cut, 3, "vmbr0").await else { panic!("not armed") };
    let then = seen(&root).await;
    assert_eq!(addresses(&then, "vmbr0"), "10.9.9.9/24");
    let back = until(&root, "it does not come back", |it| addresses(it, "vmbr0") == "10.0.0.13/24").await;
    let back = if back.unconfirmed.is_some() {
        until(&root, "it does not end", |it| it.unconfirmed.is_none()).await
    } else {
        back
    };
    assert_eq!(back.text.as_deref(), Some(BEFORE));
    assert_eq!(back.links["enp5s0"].master.as_deref(), Some("vmbr0"), "{back:#?}");
    assert_eq!(back.links["veth101i0"].master.as_deref(), Some("vmbr0"), "a guest was cut off");
    let late = root.node().run(&NETWORK.confirm(&token)).await.unwrap();
    assert_eq!(guard::confirmed(&late), Ok(Confirmed::Restored));
    assert_eq!(on_disk(&root), BEFORE);

    let Applied::Armed(token) = apply(&root, BEFORE, &cut, 300, "vmbr0").await else { panic!("not armed") };
    let given_up = root.node().run(&NETWORK.cancel(&token)).await.unwrap();
    assert_eq!(guard::confirmed(&given_up), Ok(Confirmed::Restored));
    let back = seen(&root).await;
    assert_eq!((addresses(&back, "vmbr0").as_str(), back.text.as_deref()), ("10.0.0.13/24", Some(BEFORE)));
}

/// Sent again when its answer is lost, it goes on from what is there, and what comes back is what was there first.
#[tokio::test]
async fn it_may_be_sent_again() {
    let Some(root) = node() else { return };
    let after = format!("{BEFORE}{INNER}");
    let Applied::Armed(first) = apply(&root, BEFORE, &after, 300, "vmbr1").await else { panic!("not armed") };
    let Applied::Armed(second) = apply(&root, BEFORE, &after, 3, "vmbr1").await else { panic!("not armed") };
    assert_ne!(first, second);
    let back = until(&root, "it does not come back", |it| it.unconfirmed.is_none()).await;
    assert!(!back.links.contains_key("vmbr1"), "{back:#?}");
    assert_eq!((back.text.as_deref(), on_disk(&root).as_str()), (Some(BEFORE), BEFORE));
}

/// What ifupdown2 refuses is never in force for longer than it takes to say so.
#[tokio::test]
async fn what_is_refused_is_taken_back_at_once() {
    let Some(root) = node() else { return };
    let wrong = format!("{BEFORE}\nauto vmbr1\niface vmbr1 inet manual\n\tbridge-ports enp99\n");
    let applied = apply(&root, BEFORE, &wrong, 300, "vmbr1").await;
    assert!(
        matches!(&applied, Applied::Refused(said) if said.contains("enp99 does not exist")),
        "{applied:?}"
    );
    let back = seen(&root).await;
    assert_eq!((back.text.as_deref(), back.unconfirmed.as_deref()), (Some(BEFORE), None));
    assert_eq!(addresses(&back, "vmbr0"), "10.0.0.13/24");
    // Somebody else's file is not touched.
    let applied = apply(&root, "something else\n", &wrong, 300, "vmbr1").await;
    assert_eq!(applied, Applied::Modified("interfaces".into()));
}
