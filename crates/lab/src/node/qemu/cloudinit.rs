//! What cloud-init reads in a machine: user, network and meta data, as Proxmox VE writes them (PVE::QemuServer::Cloudinit).

use std::fmt::Write as _;

use proxmox::config::GuestKind;
use sha1::{Digest as _, Sha1};

use super::change::check_lock;
use super::options::is_cloudinit;
use crate::node::error::{Answer, ApiError, Outcome};
use crate::node::etc::hex;
use crate::node::formats::list;
use crate::node::router::Call;
use crate::node::schema::{Property, decode};
use crate::runtime::Config;

/// The files of a NoCloud seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seed {
    /// `user-data`.
    pub user: String,
    /// `network-config`.
    pub network: String,
    /// `meta-data`.
    pub meta: String,
}

/// What the machine `id` is told. The name server and search domain of the node count where it has none of its own.
pub(crate) fn seed(id: u32, config: &Config) -> Seed {
    let user = user(id, config);
    let network = network(config);
    // Another text is another instance, so that cloud-init does its work again.
    let instance = hex(&Sha1::digest(format!("{user}{network}").as_bytes()));
    Seed { user, network, meta: format!("instance-id: {instance}\n") }
}

/// Where something is written to a text, which cannot fail.
macro_rules! put {
    ($out:expr, $($part:tt)*) => {{
        let _ = writeln!($out, $($part)*);
    }};
}

fn user(id: u32, config: &Config) -> String {
    let get = |key: &str| config.get(key).map(String::as_str).filter(|text| !text.trim().is_empty());
    let name = get("name").map_or_else(|| format!("VM{id}"), str::to_owned);
    // A name with a domain is a fully qualified one; else the search domain makes it one.
    let (host, fqdn) = match (name.split_once('.'), get("searchdomain")) {
        (Some((host, _)), _) => (host.to_owned(), name.clone()),
        (None, Some(domain)) => {
            (name.clone(), format!("{name}.{}", domain.split(' ').next().unwrap_or(domain)))
        }
        (None, None) => (name.clone(), name.clone()),
    };
    let mut out = String::from("#cloud-config\n");
    put!(out, "hostname: {host}");
    put!(out, "manage_etc_hosts: true");
    put!(out, "fqdn: {fqdn}");
    if let Some(user) = get("ciuser") {
        put!(out, "user: {user}");
        if user == "root" {
            put!(out, "disable_root: False");
        }
    }
    if let Some(password) = get("cipassword") {
        put!(out, "password: {password}");
    }
    if let Some(keys) = get("sshkeys") {
        put!(out, "ssh_authorized_keys:");
        let keys = decode(keys);
        for key in keys.lines().map(str::trim).filter(|key| !key.is_empty()) {
            put!(out, "  - {key}");
        }
    }
    out.push_str("chpasswd:\n  expire: False\n");
    if get("ciuser") != Some("root") {
        out.push_str("users:\n  - default\n");
    }
    put!(out, "package_upgrade: {}", get("ciupgrade") != Some("0"));
    out
}

fn network(config: &Config) -> String {
    let mut out = String::from("version: 1\nconfig:\n");
    for n in 0..32u32 {
        let key = format!("net{n}");
        let Some(net) = config.get(&key).and_then(|text| Property::parse("vmnet", &key, text).ok()) else {
            continue;
        };
        let ip = config.get(&format!("ipconfig{n}")).map(String::as_str).unwrap_or_default();
        let ip = Property::parse("vmipconfig", "ipconfig", ip).unwrap_or_default();
        put!(out, "    - type: physical");
        put!(out, "      name: eth{n}");
        put!(out, "      mac_address: '{}'", net.get("macaddr").unwrap_or_default().to_lowercase());
        put!(out, "      subnets:");
        match ip.get("ip") {
            Some("dhcp") => put!(out, "      - type: dhcp4"),
            Some(address) if address.contains('/') => fixed(&mut out, "static", address, ip.get("gw"), true),
            _ => {}
        }
        match ip.get("ip6") {
            Some("dhcp") => put!(out, "      - type: dhcp6"),
            Some("auto") => put!(out, "      - type: ipv6_slaac"),
            Some(address) if address.contains('/') => {
                fixed(&mut out, "static6", address, ip.get("gw6"), false);
            }
            _ => {}
        }
    }
    let servers: Vec<&str> = config.get("nameserver").map(|text| list(text).collect()).unwrap_or_default();
    let domains: Vec<&str> = config.get("searchdomain").map(|text| list(text).collect()).unwrap_or_default();
    if !servers.is_empty() || !domains.is_empty() {
        put!(out, "    - type: nameserver");
        for (word, all) in
            [("address", servers), ("search", domains)].iter().filter(|(_, all)| !all.is_empty())
        {
            put!(out, "      {word}:");
            all.iter().for_each(|one| put!(out, "      - '{one}'"));
        }
    }
    out
}

fn fixed(out: &mut String, kind: &str, address: &str, gateway: Option<&str>, four: bool) {
    put!(out, "      - type: {kind}");
    match address.split_once('/').filter(|_| four) {
        Some((address, length)) => {
            let length: u32 = length.parse().unwrap_or_default();
            let mask = u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0);
            put!(out, "        address: '{address}'");
            put!(out, "        netmask: '{}'", std::net::Ipv4Addr::from(mask));
        }
        None => put!(out, "        address: '{address}'"),
    }
    if let Some(gateway) = gateway {
        put!(out, "        gateway: '{gateway}'");
    }
}

/// `GET …/cloudinit/dump`.
pub(super) fn dump(call: &Call<'_>) -> Outcome {
    let stored = super::read::conf_of(call)?;
    let mut config = stored.conf.current.options.clone();
    config.extend(stored.conf.pending.options.clone());
    let seed = seed(call.vmid(), &config);
    let text = match call.text("type") {
        "user" => seed.user,
        "network" => seed.network,
        _ => seed.meta,
    };
    Ok(serde_json::Value::from(text).into())
}

/// `PUT …/cloudinit`: the drive is written as things are now.
pub(super) async fn regenerate(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    let _held = node.flock_vm(id).await.map_err(ApiError::die)?;
    let stored = node.guest_of(GuestKind::Vm, id).map_err(ApiError::die)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    let mut conf = stored.conf.clone();
    let waits: Vec<String> = conf.pending.options.keys().filter(|key| is_cloudinit(key)).cloned().collect();
    for key in waits {
        if let Some(value) = conf.pending.options.remove(&key) {
            conf.current.options.insert(key, value);
        }
    }
    let has_drive = super::drive::all(&conf.current.options).iter().any(super::drive::Drive::is_cloudinit);
    if has_drive && super::power::runs(node, id).await {
        node.runtime.seed(id, &conf.current.options).await.map_err(|error| ApiError::die(error.0))?;
    }
    conf.cloudinit = Default::default();
    node.write_guest(id, &conf).map_err(ApiError::die)?;
    Ok(Answer::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What a real node wrote (keys-qemu, "cloudinit dump").
    #[test]
    fn the_seed_is_what_a_real_node_writes() {
        let seed = seed(
            670,
            &config(&[
                ("name", "rec670"),
                ("ciuser", "other"),
                ("cipassword", "$5$LwvK5ZhG$lcP7eFYt0Ra5dniDrT10g3t06M21LgrMhFmIKmzlKKD"),
                ("net0", "virtio=BC:24:11:66:5C:18,bridge=vmbr0"),
                ("ipconfig0", "ip=dhcp"),
                ("nameserver", "10.255.255.53"),
            ]),
        );
        assert_eq!(
            seed.user,
            "#cloud-config\nhostname: rec670\nmanage_etc_hosts: true\nfqdn: rec670\nuser: other\npassword: \
             $5$LwvK5ZhG$lcP7eFYt0Ra5dniDrT10g3t06M21LgrMhFmIKmzlKKD\nchpasswd:\n  expire: False\nusers:\n  - \
             default\npackage_upgrade: true\n"
        );
        assert_eq!(
            seed.network,
            "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: 'bc:24:11:66:5c:18'\n      \
             subnets:\n      - type: dhcp4\n    - type: nameserver\n      address:\n      - '10.255.255.53'\n"
        );
        assert_eq!(seed.meta.len(), "instance-id: \n".len() + 40);
    }

    #[test]
    fn a_fixed_address_has_a_mask() {
        let network = network(&config(&[
            ("net0", "virtio=BC:24:11:66:5C:18,bridge=vmbr0"),
            ("ipconfig0", "ip=10.99.0.31/24,gw=10.99.0.1"),
        ]));
        assert!(network.contains(
            "address: '10.99.0.31'\n        netmask: '255.255.255.0'\n        gateway: '10.99.0.1'"
        ));
    }
}
