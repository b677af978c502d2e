//! What the lab leaves on the machine outside its folder, each thing with its way back: one veth pair, one nft table,
//! the forwarding switch, a record of the lab.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::error::{Error, run};
use super::spec::{Names, PREFIX};

/// The records of all labs of this machine. Gone after a reboot, as is everything else outside the folders.
pub(crate) const RECORDS: &str = "/run/phoenix-lab";
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const QUICK: Duration = Duration::from_secs(20);

/// A lab that was started on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub folder: Utf8PathBuf,
    pub names: Names,
}

/// Held while something shared by all labs is read and written.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] fs::File);

/// Waits for the lock of that name among the records, at most a minute.
pub(crate) async fn lock(name: &str) -> Result<Lock, Error> {
    lock_file(&Utf8Path::new(RECORDS).join(format!("{name}.lock")), Duration::from_secs(60)).await
}

/// Waits for a lock on a file, which is made when missing.
pub(crate) async fn lock_file(path: &Utf8Path, limit: Duration) -> Result<Lock, Error> {
    let end = tokio::time::Instant::now() + limit;
    loop {
        match try_lock(path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if tokio::time::Instant::now() < end => {
                // flock(2) cannot be waited for with a limit; it is asked again.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(None) => return Err(Error::Busy { folder: path.to_owned() }),
            Err(error) => return Err(Error::io(format!("locking `{path}`"))(error)),
        }
    }
}

/// Takes the lock if nobody holds it.
pub(crate) fn try_lock(path: &Utf8Path) -> io::Result<Option<Lock>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        // The one who held it may have removed the file: a lock on that would keep nobody out.
        Ok(())
            if fs::metadata(path)
                .is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino())) =>
        {
            Ok(Some(Lock(file)))
        }
        Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// All records.
pub(crate) fn records() -> Vec<Record> {
    let Ok(entries) = fs::read_dir(RECORDS) else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().ends_with(".json"))
        .filter_map(|e| serde_json::from_slice(&fs::read(e.path()).ok()?).ok())
        .collect()
}

fn record_path(id: &str) -> Utf8PathBuf {
    Utf8Path::new(RECORDS).join(format!("{id}.json"))
}

/// The names of the lab in `folder`, recorded so that whatever happens to the folder the lab can be found. Two folders
/// whose names collide get different ones.
pub(crate) async fn claim(folder: &Utf8Path) -> Result<Names, Error> {
    let _lock = lock("all").await?;
    let others = records();
    if let Some(own) = others.iter().find(|r| r.folder == folder) {
        return Ok(own.names.clone());
    }
    let free =
        |names: &Names| others.iter().all(|r| r.names.id != names.id && r.names.outside != names.outside);
    let names = (0..64).map(|attempt| Names::of(folder, attempt)).find(free).ok_or_else(|| {
        Error::Folder { folder: folder.to_owned(), why: "finds no free name among the labs of this machine" }
    })?;
    let record = Record { folder: folder.to_owned(), names: names.clone() };
    let text = serde_json::to_vec(&record).map_err(|e| Error::io("recording the lab")(e.into()))?;
    fs::write(record_path(&names.id), text).map_err(Error::io("recording the lab"))?;
    Ok(names)
}

/// Turns forwarding on, and remembers what it was when this is the first lab.
pub(crate) async fn forwarding_on() -> Result<(), Error> {
    let _lock = lock("all").await?;
    let saved = Utf8Path::new(RECORDS).join("ip_forward.before");
    let now = fs::read_to_string(FORWARDING).map_err(Error::io("reading the forwarding switch"))?;
    if !saved.exists() {
        fs::write(&saved, &now).map_err(Error::io("recording the forwarding switch"))?;
    }
    if now.trim() != "1" {
        fs::write(FORWARDING, "1").map_err(Error::io("turning forwarding on"))?;
    }
    Ok(())
}

/// Forgets a lab, and puts forwarding back when it was the last one.
pub(crate) async fn release(id: &str) -> Result<(), Error> {
    let _lock = lock("all").await?;
    match fs::remove_file(record_path(id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("forgetting the lab")(error));
        }
        _ => {}
    }
    let saved = Utf8Path::new(RECORDS).join("ip_forward.before");
    if records().is_empty() && saved.exists() {
        let before = fs::read_to_string(&saved).map_err(Error::io("reading the forwarding switch"))?;
        let now = fs::read_to_string(FORWARDING).unwrap_or_default();
        if now.trim() != before.trim() {
            fs::write(FORWARDING, before.trim()).map_err(Error::io("putting the forwarding switch back"))?;
        }
        fs::remove_file(&saved).map_err(Error::io("forgetting the forwarding switch"))?;
        // LXC leaves an empty cgroup of its own in each hierarchy; one that is in use cannot be removed.
        let root = Utf8Path::new("/sys/fs/cgroup");
        for hierarchy in root.read_dir_utf8().into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join("lxc.pivot"));
        }
        let _ = fs::remove_dir(root.join("lxc.pivot"));
    }
    Ok(())
}

/// Removes the folder of records when no lab is left. Lock files in it are held by nobody then.
pub(crate) async fn forget_records() -> Result<(), Error> {
    let lock = lock("all").await?;
    if records().is_empty() {
        fs::remove_dir_all(RECORDS).map_err(Error::io("removing the folder of records"))?;
    }
    drop(lock);
    Ok(())
}

/// The MTU of the way out of this machine.
pub(crate) async fn mtu() -> u32 {
    let routes =
        run("reading the default route", &["ip", "-o", "route", "show", "default"], b"", QUICK).await;
    let device = routes.ok().and_then(|text| {
        let mut words = text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter();
        words.find(|w| w == "dev")?;
        words.next()
    });
    device
        .and_then(|d| fs::read_to_string(format!("/sys/class/net/{d}/mtu")).ok())
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1500)
}

/// The name servers of this machine that can be reached from elsewhere. A resolver on the loopback device cannot:
/// then systemd-resolved's list of upstream servers is read.
pub(crate) fn resolvers() -> Vec<Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .map(|file| fs::read_to_string(file).unwrap_or_default())
        .map(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<Ipv4Addr>().ok())
                .filter(|address| !address.is_loopback())
                .collect::<Vec<_>>()
        })
        .find(|list| !list.is_empty())
        .unwrap_or_default()
}

/// The one nft table of a lab: its packets leave under this machine's address. When a name server of this machine has
/// an address that the lab's own networks hide, the node asks this machine's end of the uplink, which passes it on.
pub(crate) fn nft_table(names: &Names, pass_dns_to: Option<Ipv4Addr>) -> String {
    let id = &names.id;
    let uplink = names.uplink();
    let dns = pass_dns_to.map_or_else(String::new, |server| {
        let outside = names.outside;
        format!(
            "  chain pre {{\n    type nat hook prerouting priority -100;\n\
             \x20   iifname \"{id}\" ip daddr {outside} udp dport 53 dnat to {server}\n\
             \x20   iifname \"{id}\" ip daddr {outside} tcp dport 53 dnat to {server}\n  }}\n"
        )
    });
    // Created first so that deleting it never fails: the whole file is one transaction.
    format!(
        "table ip {id}\ndelete table ip {id}\ntable ip {id} {{\n  chain post {{\n    type nat hook postrouting \
         priority 100;\n    ip saddr {uplink} oifname != \"{id}\" masquerade\n  }}\n{dns}}}\n"
    )
}

/// Puts the table and this machine's end of the link in place; harmless when they are.
pub(crate) async fn connect(names: &Names, pass_dns_to: Option<Ipv4Addr>) -> Result<(), Error> {
    let table = nft_table(names, pass_dns_to);
    run("making the lab's address translation", &["nft", "-f", "-"], table.as_bytes(), QUICK).await?;
    let address = format!("{}/30", names.outside);
    run(
        "giving the lab's link its address",
        &["ip", "addr", "replace", &address, "broadcast", "+", "dev", &names.id],
        b"",
        QUICK,
    )
    .await?;
    run("bringing the lab's link up", &["ip", "link", "set", &names.id, "up"], b"", QUICK).await.map(drop)
}

/// Ids of labs that have something on this machine: links and records.
pub(crate) fn traces() -> std::collections::BTreeSet<String> {
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    links
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .chain(
            fs::read_dir("/sys/fs/cgroup")
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned()),
        )
        .filter(|name| {
            name.strip_prefix(PREFIX)
                .is_some_and(|hex| hex.len() == 6 && hex.chars().all(|c| c.is_ascii_hexdigit()))
        })
        .chain(records().into_iter().map(|r| r.names.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_rule_and_a_second_chain_only_where_it_is_needed() {
        let names = Names::of("/srv/lab".into(), 0);
        let plain = nft_table(&names, None);
        assert_eq!(plain.matches("masquerade").count(), 1);
        assert!(!plain.contains("dnat"));
        assert!(
            nft_table(&names, Some(Ipv4Addr::new(10, 0, 0, 1))).contains("udp dport 53 dnat to 10.0.0.1")
        );
    }
}
