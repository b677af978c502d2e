//! Whose files are whose in one mount (`mpN`, `idmap=`), as Proxmox VE 9.2 has it: the mount itself shows other owners than
//! the disk has. API schema: "Unmapped IDs fall back to the container's `lxc.idmap`".

use std::fmt::Write as _;

/// Has a mount show its owners by two maps.
pub(crate) const SCRIPT: &str = include_str!("idmap.pl");

/// How many numbers a container has.
const NUMBERS: u32 = 65536;

/// A part of a map: from which number in the container, from which on the disk, and how many.
type Part = (u32, u32, u32);

/// The map of users and that of groups, as the kernel takes them: lines of a number on the disk, the node's number that it is
/// shown as, and how many. `shift` is the node's number of the container's root.
///
/// `None` where the value is none that the node lets through.
pub(crate) fn maps(value: &str, shift: u32) -> Option<[String; 2]> {
    if value == "passthrough" {
        let all = format!("0 {shift} {NUMBERS}\n");
        return Some([all.clone(), all]);
    }
    let mut parts: [Vec<Part>; 2] = Default::default();
    for entry in value.split(';') {
        let (kind, numbers) = entry.split_once(':')?;
        let numbers: Vec<u32> =
            numbers.split(':').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        let [inside, disk, count] = *numbers.as_slice() else { return None };
        inside.checked_add(count).filter(|end| *end <= NUMBERS && count > 0)?;
        let of = match kind {
            "u" => &mut parts[0],
            "g" => &mut parts[1],
            _ => return None,
        };
        of.push((inside, disk, count));
    }
    Some(parts.map(|parts| map(parts, shift)))
}

fn map(mut parts: Vec<Part>, shift: u32) -> String {
    parts.sort_unstable();
    let mut lines = String::new();
    let mut next = 0;
    // What nobody speaks of stays as it is on the disk.
    let rest = |from: u32, to: u32, lines: &mut String| {
        if to > from {
            let _ = writeln!(lines, "{0} {0} {1}", shift + from, to - from);
        }
    };
    for (inside, disk, count) in parts {
        rest(next, inside, &mut lines);
        let _ = writeln!(lines, "{disk} {} {count}", shift + inside);
        next = inside + count;
    }
    rest(next, NUMBERS, &mut lines);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_is_another_on_the_disk_and_all_others_are_the_containers() {
        let [users, groups] = maps("u:33:1000:1;g:0:5:2", 100_000).unwrap();
        assert_eq!(users, "100000 100000 33\n1000 100033 1\n100034 100034 65502\n");
        assert_eq!(groups, "5 100000 2\n100002 100002 65534\n");
    }

    #[test]
    fn everybody_is_the_same() {
        assert_eq!(maps("passthrough", 100_000).unwrap(), ["0 100000 65536\n"; 2]);
    }

    #[test]
    fn what_the_node_refuses_is_no_map() {
        for value in ["", "u:1:2", "x:1:2:3", "u:1:2:0", "u:65536:0:1", "u:a:0:1", "u:4294967295:0:9"] {
            assert_eq!(maps(value, 100_000), None, "{value}");
        }
    }
}
