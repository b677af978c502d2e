//! Keys that one kind of guest has and the other has not: whoever knows the first looks for them in the second.

/// What a key of the other kind of guest is called in this one, or why there is none. `place` is `vms` or `containers`.
pub(crate) fn of(place: &str, key: &str) -> Option<String> {
    let instead = |kind: &str, other: &str| format!("{kind} has instead: {other}");
    let vm = |other: &str| Some(instead("a virtual machine", other));
    let container = |other: &str| Some(instead("a container", other));
    match (place, key) {
        ("vms", "template") => vm("`image`, or `iso`"),
        ("vms", "disk" | "storage") => vm("`disks`, such as \"disks\": {\"scsi0\": \"32G\"}"),
        ("vms", "devices") => vm("`pci` and `usb`"),
        ("vms", "unprivileged" | "nesting" | "swap") => {
            Some("that is for containers alone: a virtual machine has a kernel of its own".to_owned())
        }
        ("containers", "image" | "iso") => container("`template`"),
        ("containers", "disks") => container("`disk` for the first one, and `mounts` for more"),
        ("containers", "folders") => container(
            "`mounts`, such as \"mounts\": {\"mp0\": {\"host\": \"/srv/media\", \"path\": \"/media\"}}",
        ),
        ("containers", "pci" | "usb") => container("`devices`"),
        ("containers", "uefi" | "tpm" | "bios" | "cloud-init" | "agent" | "user" | "balloon") => {
            Some("that is for virtual machines alone".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_other_kind_leads_to_its_kin() {
        assert_eq!(
            of("vms", "template").as_deref(),
            Some("a virtual machine has instead: `image`, or `iso`")
        );
        assert!(of("containers", "disks").is_some_and(|hint| hint.contains("`mounts`")));
        assert_eq!((of("vms", "memmory"), of("types", "disks")), (None, None));
    }
}
