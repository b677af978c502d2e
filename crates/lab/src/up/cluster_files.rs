//! What the nodes of a cluster share: what lies in the folders of `/etc/pve`, which are folders of this machine that all of
//! them see, and whom they let in.

use camino::Utf8Path;
use fs_err as fs;
use std::time::Duration;

use super::error::{Error, run};
use super::neighbour::CLUSTER;
use super::node_files::Upper;
use super::spec::LabSpec;

/// The folders of `/etc/pve` that are the same on all nodes. Beside them each has the links to its own, as on a real one.
pub(super) const SHARED: [&str; 3] = ["firewall", "nodes", "priv"];

/// Writes it for all nodes of a lab that has more than one, once their own files are there.
pub(super) async fn fill(spec: &LabSpec) -> Result<(), Error> {
    if spec.others.is_empty() {
        return Ok(());
    }
    let nodes = spec.nodes();
    let pve = spec.folder.join(CLUSTER).join("pve");
    for part in SHARED.map(|part| pve.join(part)) {
        fs::create_dir_all(&part).map_err(Error::io(format!("making `{part}`")))?;
    }
    let mut keys = read(&spec.folder.join("id_ed25519.pub"))?;
    let uppers: Vec<Upper<'_>> =
        nodes.into_iter().map(|node| Upper { root: node.folder.join("upper"), spec, node }).collect();
    for upper in &uppers {
        let name = &upper.node.name;
        let own = pve.join("nodes").join(name);
        for kind in ["lxc", "qemu-server"] {
            let folder = own.join(kind);
            fs::create_dir_all(&folder).map_err(Error::io(format!("making `{folder}`")))?;
        }
        let key = upper.root.join("root/.ssh/id_ed25519");
        if !key.exists() {
            let comment = format!("root@{name}");
            let argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", key.as_str()];
            run("making a node's ssh key", &argv, b"", Duration::from_secs(30)).await?;
        }
        keys += &read(&key.with_extension("pub"))?;
        let host = read(&upper.root.join("etc/ssh/ssh_host_ed25519_key.pub"))?;
        // The key is known by the node's name, whatever its address is.
        let host: Vec<&str> = host.split_whitespace().take(2).collect();
        let known = own.join("ssh_known_hosts");
        fs::write(&known, format!("{name} {}\n", host.join(" ")))
            .map_err(Error::io(format!("writing `{known}`")))?;
        upper.own_links()?;
    }
    for upper in &uppers {
        upper.write("/root/.ssh/authorized_keys", &keys, 0o600)?;
    }
    Ok(())
}

fn read(path: &Utf8Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io(format!("reading `{path}`")))
}
