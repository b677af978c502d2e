//! The nodes of a cluster in one network: each bridge of the first node is joined with those of the others by a pair of
//! links, whose ends are in the two nodes and nowhere else. So they are gone with either.

use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use super::error::{Error, run};
use super::forward;
use super::process::Process;
use super::spec::{LabSpec, Names, NodePlan};

/// A bridge is there when the node's network is up; a machine under load takes its time.
const LIMIT: Duration = Duration::from_secs(60);
const QUICK: Duration = Duration::from_secs(20);

/// One end of a pair.
struct End<'a> {
    init: Process,
    /// The link: where it leads, and the number of the network.
    link: String,
    bridge: &'a str,
}

/// Joins what is not joined yet.
///
/// # Errors
/// When a node does not run, or its network does not come up.
pub(crate) async fn join(spec: &LabSpec, names: &Names) -> Result<(), Error> {
    let nodes = spec.nodes();
    let Some((first, others)) = nodes.split_first() else { return Ok(()) };
    let gone = || Error::NotRunning { folder: spec.folder.clone() };
    for other in others {
        for (number, network) in spec.networks.iter().enumerate() {
            let end = async |own: &NodePlan, there: &NodePlan| {
                let init = forward::node_init(&spec.folder, &own.container(names)).await;
                let link = format!("{}n{number}", there.name);
                init.map(|init| End { init, link, bridge: &network.bridge })
            };
            let near = end(first, other).await.ok_or_else(gone)?;
            let far = end(other, first).await.ok_or_else(gone)?;
            // The first byte says that they were made here, and is higher than that of any guest's: a bridge takes the lowest
            // address of its ports, and is not to change its own for these.
            let mac =
                |at: usize| format!("fe:{}:{:02x}", &names.mac[3..14], (other.at * 16 + number) * 2 + at);
            pair(&near, &far, &mac(0), &mac(1)).await?;
            for end in [&near, &far] {
                plug(end).await?;
            }
        }
    }
    Ok(())
}

impl End<'_> {
    fn device(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from(format!("/proc/{}/root/sys/class/net/{name}", self.init.pid()))
    }

    /// Runs this machine's `ip` in the node's network.
    async fn ip(&self, what: &str, arguments: &[&str]) -> Result<(), Error> {
        let pid = self.init.pid().to_string();
        let argv = [&["nsenter", "-t", &pid, "-n", "--", "ip"], arguments].concat();
        run(what, &argv, b"", QUICK).await.map(drop)
    }
}

async fn pair(near: &End<'_>, far: &End<'_>, near_mac: &str, far_mac: &str) -> Result<(), Error> {
    let there = [near, far].map(|end| end.device(&end.link).exists());
    if there == [true, true] {
        return Ok(());
    }
    // Half of a pair leads to a node that is gone.
    for end in [near, far].into_iter().zip(there).filter_map(|(end, there)| there.then_some(end)) {
        end.ip("removing half a pair of links", &["link", "del", &end.link]).await?;
    }
    let pid = far.init.pid().to_string();
    let words = [
        "link", "add", &near.link, "address", near_mac, "type", "veth", "peer", "name", &far.link, "address",
        far_mac, "netns", &pid,
    ];
    near.ip("joining the nodes' networks", &words).await
}

async fn plug(end: &End<'_>) -> Result<(), Error> {
    let what = format!("the bridge {} of a node", end.bridge);
    let began = Instant::now();
    while !end.device(end.bridge).join("bridge").exists() {
        if !end.init.alive() {
            return Err(Error::Ended { what, last: "its network was not up".to_owned() });
        }
        if began.elapsed() > LIMIT {
            return Err(Error::TimedOut { what, limit: LIMIT, last: "it was not there".to_owned() });
        }
        // Nothing tells from outside when the node has made it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    end.ip("joining the nodes' networks", &["link", "set", &end.link, "master", end.bridge, "up"]).await
}
