//! NVIDIA's driver on the node: installed beside what runs, loaded where nothing is in its way, and otherwise from the node's next
//! start on. There is no card here: NVIDIA's installer and the programs around the kernel's modules are stood in for.

use managers::reboots;

use super::kernel::restarts;
use super::*;

const LOOK: &str = include_str!("../../../../src/reboots/read.sh");
const DRIVER: &str = "/usr/local/lib/phoenix/nvidia-driver";

/// A node with a kernel of Proxmox VE's, and NVIDIA's installers on a web server of its own.
struct Node {
    root: Root,
    server: std::process::Child,
}

impl Node {
    fn new() -> Option<Self> {
        let root = Root::new()?;
        root.put("/run/world.sh", include_str!("stand-in-for-nvidia-world.sh").as_bytes());
        root.sh("sh /run/world.sh && ip link set lo up");
        let server = root.background("cd /run/web && exec python3 -m http.server 8099 --bind 127.0.0.1");
        root.sh("n=0; until curl -fs -o /dev/null http://127.0.0.1:8099/; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1; done");
        Some(Self { root, server })
    }

    /// Installs this version.
    fn driver(&self, version: &str, more: Value) -> Vec<u8> {
        let sum = self.root.sh(&format!("sha256sum </run/web/{version}.run | cut -c 1-64"));
        let all = json!({
            "version": version, "url": format!("http://127.0.0.1:8099/{version}.run"), "sha256": sum.trim(),
            "power-limits": { "0000:01:00.0": 300 },
        });
        let mut driver = with(&built_in("nvidia-driver"), given::but(all, more));
        // A compiler is not part of the throw-away root, and nothing compiles here.
        driver.packages.clear();
        apply(&[with(&built_in("downloads"), json!({})), driver])
    }

    /// What was asked of the programs since the last time.
    fn asked(&self) -> Vec<String> {
        self.root.sh("cat /run/asked; : >/run/asked").lines().map(str::to_owned).collect()
    }

    fn loaded(&self) -> Option<String> {
        let text = self.root.sh("cat /proc/driver/nvidia/version 2>/dev/null || true");
        Some(text.split("x86_64").nth(1)?.split_whitespace().next()?.to_owned())
    }

    fn waits(&self) -> Vec<String> {
        self.root.put("/run/look.sh", LOOK.as_bytes());
        let seen = reboots::parse(&self.root.sh("sh /run/look.sh")).unwrap();
        seen.waiting().map(str::to_owned).collect()
    }

    /// The next start of the node, in which whatever is installed is loaded.
    fn restarts(&self, number: u32) {
        restarts(&self.root, number);
        self.root.sh("rm -rf /sys/module/nouveau /run/phoenix-nvidia-*; modprobe nvidia; : >/run/asked");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn nvidias_driver_is_installed_loaded_kept_and_goes_again() {
    let Some(node) = Node::new() else { return };
    let first = node.driver("570.133.07", json!({}));
    node.root.run(&first).ok();
    let asked = node.asked();
    let at = |begin: &str| asked.iter().position(|line| line.starts_with(begin));
    let headers = "apt-get -qq -y -o DPkg::Lock::Timeout=60 --no-install-recommends install proxmox-default-headers \
                   proxmox-headers-6.14.8-2-pve";
    let install = "nvidia-installer --silent --dkms --no-x-check --no-nouveau-check --no-install-compat32-libs --install-libglvnd \
                   --skip-module-load";
    assert!(asked.contains(&headers.to_owned()) && asked.contains(&install.to_owned()), "{asked:#?}");
    // Before anybody loads it, so that the next start has no other driver.
    assert!(at("update-initramfs").unwrap() < at("modprobe nvidia").unwrap(), "{asked:#?}");
    assert_eq!(node.loaded().as_deref(), Some("570.133.07"));
    assert!(node.waits().is_empty());
    node.root.run(&first).nothing_to_do();
    node.root.sh(&format!("{DRIVER} started; test ! -e /var/cache/phoenix-nvidia/installer.run"));
    assert_eq!(node.asked(), ["nvidia-smi -pm 1", "nvidia-smi -i 0000:01:00.0 -pl 300"]);

    // Another module of the same version, and then a newer version: what runs goes on until the node's next start.
    let closed = node.driver("570.133.07", json!({ "module": "proprietary" }));
    node.root.run(&closed).ok();
    assert!(node.asked().iter().any(|line| line.ends_with(" --kernel-module-type=proprietary")));
    let second = node.driver("575.64.03", json!({ "module": "open" }));
    node.root.run(&second).ok();
    let asked = node.asked();
    let options = " --skip-module-load --allow-installation-with-running-driver --kernel-module-type=open";
    assert!(asked.iter().any(|line| line.ends_with(options)), "{asked:#?}");
    assert!(asked.contains(&"update-initramfs -u -k all".to_owned()), "{asked:#?}");
    assert_eq!(node.loaded().as_deref(), Some("570.133.07"));
    assert_eq!(node.waits(), ["nvidia-driver"]);
    node.root.run(&second).nothing_to_do();
    assert!(node.root.sh(&format!("{DRIVER} started")).contains("version 575.64.03 does not run: nvidia"));
    node.restarts(2);
    assert_eq!(node.loaded().as_deref(), Some("575.64.03"));
    assert!(node.waits().is_empty());
    node.root.run(&second).nothing_to_do();

    // One that does not fit the kernel: why is said, and nothing waits for a restart.
    let ran = node.root.run(&node.driver("600.1.1", json!({})));
    let said = format!("{:?}", ran.failed());
    for part in ["error: too many arguments to function", "600.1.1 was not built for the kernel 6.14.8-2-pve"]
    {
        assert!(said.contains(part), "{said}");
    }
    assert!(node.waits().is_empty());
    node.root.run(&second).ok();
    node.asked();
    node.root.run(&removal(&["nvidia-driver".to_owned()], &[], Mode::Apply).text).ok();
    let asked = node.asked();
    assert!(asked.contains(&"nvidia-uninstall --silent".to_owned()), "{asked:#?}");
    node.root.sh(
        "test ! -e /etc/modprobe.d/phoenix-nvidia.conf && test ! -e /usr/local/lib/phoenix/nvidia-driver",
    );
}

/// P-22: `nouveau` has the card, and nothing takes it away while the node runs.
#[test]
fn nouveau_goes_with_the_nodes_next_start() {
    let Some(node) = Node::new() else { return };
    node.root.sh("mkdir -p /sys/module/nouveau");
    let first = node.driver("570.133.07", json!({}));
    node.root.run(&first).ok();
    let asked = node.asked();
    assert!(!asked.iter().any(|line| line.starts_with("modprobe")), "{asked:#?}");
    assert_eq!(asked.iter().filter(|line| line.starts_with("update-initramfs")).count(), 1, "{asked:#?}");
    assert_eq!((node.loaded(), node.waits()), (None, vec!["nvidia-driver".to_owned()]));
    node.root.run(&first).nothing_to_do();
    node.restarts(2);
    assert!(node.waits().is_empty());
    node.root.run(&first).nothing_to_do();
}

/// Where it cannot be, nothing is done.
#[test]
fn a_driver_that_cannot_be_is_refused_before_anything_is_done() {
    let Some(node) = Node::new() else { return };
    let efi = "/sys/firmware/efi/efivars";
    node.root.sh(&format!(
        "mkdir -p {efi} && printf '\\006\\000\\000\\000\\001' >{efi}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    ));
    let first = node.driver("570.133.07", json!({}));
    let said = format!("{:?}", node.root.run(&first).failed());
    assert!(said.contains("Secure Boot is on"), "{said}");
    assert!(node.asked().is_empty());
    node.root.sh("rm -r /sys/firmware; : >/run/no-headers");
    let said = format!("{:?}", node.root.run(&first).failed());
    assert!(said.contains("there are no headers of the kernel that runs, 6.14.8-2-pve"), "{said}");
    node.root.sh("rm /run/no-headers");
    let other = node.driver("575.64.03", json!({ "sha256": "0".repeat(64) }));
    let said = format!("{:?}", node.root.run(&other).failed());
    assert!(said.contains("has another content than is declared"), "{said}");
    assert_eq!(node.loaded(), None);
}
