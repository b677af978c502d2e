//! What a node is made of, as a sketch for the blueprint: disks by their stable names, links by their MACs, cards by their slots.

use std::fmt::Write as _;

use foreign::line;
use managers::checkup::{Facts, Seen};

/// The sketch, in lines that can stand in a file as comments.
pub fn of(seen: &Seen) -> String {
    of_facts(&seen.facts)
}

fn of_facts(facts: &Facts) -> String {
    let mut out = String::from("What the node has, for what the blueprint may say of it:\n");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  disks (below /dev/disk/by-id)");
    for disk in &facts.disks {
        let id = disk
            .id
            .as_deref()
            .map_or_else(|| format!("{} (it has no stable name)", disk.name), ToOwned::to_owned);
        let kind = if disk.turns == Some(1) { "turns" } else { "solid-state" };
        let serial = disk.serial.as_deref().map(|it| format!(", serial number {it}")).unwrap_or_default();
        let _ = writeln!(out, "    {}  {}, {kind}{}", line(&id), size(disk.size), line(&serial));
    }
    let _ = writeln!(out, "  links");
    for link in facts.links.iter().filter(|it| it.kind == "card" || it.kind == "bridge" || it.kind == "bond")
    {
        let within = link.within.as_deref().map(|it| format!(", part of {it}")).unwrap_or_default();
        let speed = link.speed.map(|it| format!(", {it} Mbit/s")).unwrap_or_default();
        let _ = writeln!(
            out,
            "    {}  {}, {}{}{speed}",
            line(&link.name),
            line(&link.mac),
            line(&link.kind),
            line(&within)
        );
    }
    if !facts.gpus.is_empty() {
        let _ = writeln!(out, "  graphics cards");
    }
    for gpu in &facts.gpus {
        let title = gpu.title.clone().unwrap_or_else(|| format!("{}:{}", gpu.vendor, gpu.device));
        let driver = gpu.driver.as_deref().map(|it| format!(", driven by {it}")).unwrap_or_default();
        let _ = writeln!(out, "    {}  {}{}", line(&gpu.slot), line(&title), line(&driver));
    }
    out
}

/// Bytes as vendors of disks count them.
fn size(bytes: u64) -> String {
    match bytes / 1_000_000_000 {
        gb if gb >= 10_000 => format!("{} TB", gb / 1000),
        gb if gb >= 1000 => format!("{}.{} TB", gb / 1000, gb % 1000 / 100),
        gb => format!("{gb} GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named_as_a_blueprint_names_it() {
        let facts = Facts::parse(
            "disk\tsda\t4000787030016\t1\tWDC\tWD-1234\tata-WDC_WD40EFRX-68N32N0_WD-1234\ndisk\tvda\t20000000000\t0\t\t\t\n\
             link\tenp5s0\tcard\taa:bb:cc:00:00:01\t1500\tup\t1000\tvmbr0\nlink\tvmbr0\tbridge\taa:bb:cc:00:00:01\t1500\tup\t-\t\n\
             link\tifb0\tother\taa:bb\t1500\tdown\t-\t\ngpu\t0000:01:00.0\t10de\t2684\tnvidia\tAD102 [GeForce RTX 4090]\n",
        );
        assert_eq!(
            of_facts(&facts),
            "What the node has, for what the blueprint may say of it:\n  disks (below /dev/disk/by-id)\n    \
             ata-WDC_WD40EFRX-68N32N0_WD-1234  4.0 TB, turns, serial number WD-1234\n    vda (it has no stable name)  20 GB, solid-state\n  \
             links\n    enp5s0  aa:bb:cc:00:00:01, card, part of vmbr0, 1000 Mbit/s\n    vmbr0  aa:bb:cc:00:00:01, bridge\n  graphics cards\n    \
             0000:01:00.0  AD102 [GeForce RTX 4090], driven by nvidia\n"
        );
    }
}
