//! What is put on the node for graphics cards: the scripts themselves, on a tree of files as the kernel has them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use blueprint::{Loaded, load_from_memory};
use camino::{Utf8Path, Utf8PathBuf};
use managers::features::renderer::Renderer;

use super::catalog;

/// A node's files.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn card(&self, address: &str, driver: Option<&str>) {
        let at = format!("sys/bus/pci/devices/{address}");
        self.put(&format!("{at}/class"), "0x030000\n");
        if let Some(driver) = driver {
            symlink(format!("../../../bus/pci/drivers/{driver}"), self.0.path().join(at).join("driver"))
                .unwrap();
        }
    }

    /// A stand-in for NVIDIA's program: it makes plain files where the real one makes device files.
    fn stand_in_for_nvidia_modprobe(&self) {
        let dev = self.0.path().join("dev");
        let text = format!(
            "#!/bin/sh\nmkdir -p {0}\ntouch {0}/nvidia$2 {0}/nvidiactl {0}/nvidia-uvm\n",
            dev.display()
        );
        self.put("bin/nvidia-modprobe", &text);
        let program = self.0.path().join("bin/nvidia-modprobe");
        fs_err::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Waits for these cards; what it says where it fails.
    fn waits(&self, cards: &[&str]) -> Result<(), String> {
        let script = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog/gpu-nodes/gpu-nodes");
        let path = format!("{}:/usr/bin:/bin", self.0.path().join("bin").display());
        let output = Command::new("sh")
            .arg(script)
            .args(cards)
            .env("ROOT", self.0.path())
            .env("WAIT", "0")
            .env("PATH", path)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// P-62: guests start when the files are there, and what is missing is said.
#[test]
fn device_files_are_there_before_guests_start() {
    let node = Node::new();
    node.card("0000:03:00.0", Some("amdgpu"));
    node.put("sys/bus/pci/devices/0000:03:00.0/drm/renderD129/dev", "226:129\n");
    assert_eq!(
        node.waits(&["0000:03:00.0"]),
        Err("the driver amdgpu has no render node for the card at 0000:03:00.0\n".to_owned())
    );
    node.put("dev/dri/renderD129", "");
    assert_eq!(node.waits(&["0000:03:00.0"]), Ok(()));

    node.card("0000:01:00.0", Some("nvidia"));
    node.put(
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t\t NVIDIA GeForce RTX 4090\nDevice Minor: \t 1\n",
    );
    let missing = node.waits(&["0000:03:00.0", "0000:01:00.0"]).unwrap_err();
    assert!(
        missing.contains("there is no /dev/nvidia1; what makes it, by hand: nvidia-modprobe -c 1 -u"),
        "{missing}"
    );
    node.stand_in_for_nvidia_modprobe();
    assert_eq!(node.waits(&["0000:03:00.0", "0000:01:00.0"]), Ok(()));

    node.card("0000:04:00.0", Some("vfio-pci"));
    node.card("0000:05:00.0", None);
    let missing = node.waits(&["0000:04:00.0", "0000:05:00.0", "0000:09:00.0"]).unwrap_err();
    assert_eq!(
        missing.lines().collect::<Vec<_>>(),
        [
            "the card at 0000:04:00.0 is left to virtual machines until the node's next start",
            "no driver has taken the card at 0000:05:00.0",
            "there is no card at 0000:09:00.0",
        ]
    );
}

/// P-22: of two cards of one kind the one is left alone that is passed through, by its place.
#[test]
fn a_card_is_left_alone_by_its_place() {
    let site = r#"{
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "hypervisor": { "gpus": {
            "card0": { "pci": "0000:01:00.0" },
            "card1": { "pci": "0000:04:00.0", "use": "pass" },
            "card2": { "pci": "0000:05:00.0", "use": "pass" }
        } },
        "containers": { "chat": { "gpu": "card0" } }
    }"#;
    let files: Vec<(Utf8PathBuf, Vec<u8>)> = vec![("site.json".into(), site.as_bytes().to_vec())];
    let Loaded { blueprint, .. } =
        load_from_memory(files, catalog()).unwrap_or_else(|e| panic!("{}", e.to_text()));
    let roots = plan::wire::Roots::one("root");
    let desired = plan::wire::wire(&blueprint, &roots, &Renderer::new(&blueprint)).unwrap();
    let names: Vec<&str> = desired.on_node.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["vfio", "gpu-nodes"]);
    let text = desired.on_node[0].payload.to_string();
    assert!(text.contains("install vfio-pci for slot in 0000:04:00 0000:05:00; do"), "{text}");
    assert!(!text.contains("0000:01:00") && !text.contains("ids="), "{text}");
    assert!(text.contains("softdep nouveau pre: vfio-pci"), "{text}");
    let text = desired.on_node[1].payload.to_string();
    assert!(text.contains("gpu-nodes 0000:01:00.0\\n"), "{text}");
}
