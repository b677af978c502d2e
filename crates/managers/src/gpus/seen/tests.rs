use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const NVIDIA: &str = include_str!("../fixtures/nvidia.txt");
const TWO: &str = include_str!("../fixtures/two.txt");
const MIXED: &str = include_str!("../fixtures/mixed.txt");

#[test]
fn one_card_of_nvidias() {
    let gpus = parse(NVIDIA).unwrap();
    let card = &gpus.cards["0000:01:00.0"];
    assert_eq!((card.maker(), card.driver.as_deref(), card.minor), (Maker::Nvidia, Some("nvidia"), Some(0)));
    assert_eq!((gpus.iommus, gpus.nvidia.as_deref()), (2, Some("570.133.07")));
    // The number of its bus has more digits there.
    assert_eq!(card.memory, Some(24_564 << 20));
    assert_eq!((card.group, card.boot, card.render()), (Some(13), true, Some("renderD128")));
    assert_eq!(card.beside["0000:01:00.1"].class, "040300");
    assert_eq!(gpus.nodes["/dev/nvidia-uvm"], (509, 0));
}

#[test]
fn two_cards_of_one_kind_are_told_apart_by_their_places() {
    let gpus = parse(TWO).unwrap();
    let [one, other] = gpus.cards.values().collect::<Vec<_>>()[..] else { panic!("{gpus:?}") };
    assert_eq!((&one.vendor, &one.device, &one.subsystem), (&other.vendor, &other.device, &other.subsystem));
    assert_eq!((one.driver.as_deref(), other.driver.as_deref()), (Some("nvidia"), Some("vfio-pci")));
    assert_eq!((one.memory, other.memory), (Some(12 << 30), None));
    assert_eq!((one.minor, other.minor, other.render()), (Some(0), None, None));
}

#[test]
fn cards_of_three_makers() {
    let gpus = parse(MIXED).unwrap();
    let makers: Vec<(Maker, Option<&str>)> =
        gpus.cards.values().map(|card| (card.maker(), card.render())).collect();
    assert_eq!(
        makers,
        [
            (Maker::Intel, Some("renderD129")),
            (Maker::Amd, Some("renderD128")),
            (Maker::Nvidia, Some("renderD130")),
        ]
    );
    assert_eq!(gpus.cards["0000:03:00.0"].memory, Some(12_868_124_672));
    assert_eq!((gpus.nvidia, gpus.cards["0000:05:00.0"].driver.as_deref()), (None, Some("nouveau")));
}

#[test]
fn what_is_not_whole_is_not_believed() {
    assert_eq!(parse(""), Err("it is cut off".to_owned()));
    let cut = NVIDIA.strip_suffix("end\n").unwrap();
    assert_eq!(parse(cut), Err("it is cut off".to_owned()));
    assert!(parse("card\t0000:01:00.0\t10de\nend\n").unwrap_err().contains("is not understood"));
    assert!(parse("dri\t0000:01:00.0\tcard0\nend\n").unwrap_err().contains("is not understood"));
    assert!(parse("iommu\tmany\nend\n").is_err());
}

/// The script itself, on a tree of files as the kernel has them.
#[test]
fn the_script_reads_what_the_kernel_shows() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    let link = |path: &str, to: &str| {
        let path = root.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    };
    let device = |address: &str, class: &str, driver: &str, group: &str| {
        let at = format!("sys/bus/pci/devices/{address}");
        put(&format!("{at}/class"), &format!("0x{class}\n"));
        link(&format!("{at}/driver"), &format!("../../../bus/pci/drivers/{driver}"));
        put(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"), "");
        link(&format!("{at}/iommu_group"), &format!("../../../../kernel/iommu_groups/{group}"));
    };
    for (address, vendor, chip, driver, group) in
        [("0000:01:00.0", "10de", "2684", "nvidia", "13"), ("0000:03:00.0", "1002", "73df", "amdgpu", "16")]
    {
        device(address, "030000", driver, group);
        let at = format!("sys/bus/pci/devices/{address}");
        put(&format!("{at}/vendor"), &format!("0x{vendor}\n"));
        put(&format!("{at}/device"), &format!("0x{chip}\n"));
        put(&format!("{at}/subsystem_vendor"), "0x1043\n");
        put(&format!("{at}/subsystem_device"), "0x88bf\n");
    }
    device("0000:01:00.1", "040300", "snd_hda_intel", "13");
    device("0000:00:01.0", "060400", "pcieport", "13");
    device("0000:00:1f.2", "010601", "ahci", "9");
    put("sys/bus/pci/devices/0000:01:00.0/boot_vga", "1\n");
    put("sys/bus/pci/devices/0000:03:00.0/boot_vga", "0\n");
    put("sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total", "12868124672\n");
    put("sys/bus/pci/devices/0000:03:00.0/drm/renderD128/dev", "226:128\n");
    put("sys/bus/pci/devices/0000:03:00.0/drm/card0/dev", "226:0\n");
    put(
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t\t NVIDIA GeForce RTX 4090\nDevice Minor: \t 0\n",
    );
    put("sys/module/nvidia/version", "570.133.07\n");
    put("sys/class/iommu/dmar0/x", "");
    put("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n");
    let script = root.path().join("read.sh");
    fs_err::write(&script, SCRIPT).unwrap();
    let output = std::process::Command::new("sh").arg(&script).arg(root.path()).output().unwrap();
    let gpus = parse(&String::from_utf8_lossy(&output.stdout)).unwrap();
    assert_eq!((gpus.iommus, gpus.nvidia.as_deref(), gpus.cards.len()), (1, Some("570.133.07"), 2));
    assert!(gpus.intel);
    let nvidia = &gpus.cards["0000:01:00.0"];
    assert_eq!((nvidia.group, nvidia.boot, nvidia.minor), (Some(13), true, Some(0)));
    assert_eq!(nvidia.subsystem.as_deref(), Some("1043:88bf"));
    let beside: Vec<(&str, &str)> =
        nvidia.beside.iter().map(|(address, it)| (address.as_str(), it.class.as_str())).collect();
    assert_eq!(beside, [("0000:00:01.0", "060400"), ("0000:01:00.1", "040300")]);
    let amd = &gpus.cards["0000:03:00.0"];
    assert_eq!((amd.memory, amd.render(), amd.minor), (Some(12_868_124_672), Some("renderD128"), None));
    assert!(amd.beside.is_empty() && gpus.nodes.is_empty(), "{gpus:?}");
}

fn word() -> impl Strategy<Value = String> {
    "[a-z0-9:./]{1,12}"
}

prop_compose! {
    fn card()(
        vendor in word(), device in word(), subsystem in proptest::option::of(word()),
        driver in proptest::option::of(word()), group in proptest::option::of(0..99_u32), boot: bool,
        memory in proptest::option::of(0..1_u64 << 40), minor in proptest::option::of(0..9_u32),
        dri in proptest::collection::btree_set(word(), 0..3),
        beside in proptest::collection::btree_map(word(), (word(), proptest::option::of(word())), 0..3),
    ) -> Card {
        let beside =
            beside.into_iter().map(|(address, (class, driver))| (address, Beside { class, driver })).collect();
        Card { vendor, device, subsystem, driver, group, boot, memory, minor, dri, beside }
    }
}

proptest! {
    #[test]
    fn what_was_read_prints_back(
        iommus: u32, intel: bool, nvidia in proptest::option::of(word()),
        cards in proptest::collection::btree_map(word(), card(), 0..3),
        nodes in proptest::collection::btree_map(word(), (0..4095_u32, 0..1_048_575_u32), 0..4),
    ) {
        let gpus = Gpus { iommus, intel, nvidia, cards, nodes };
        prop_assert_eq!(parse(&gpus.to_string()), Ok(gpus));
    }

    #[test]
    fn nothing_panics(text in "([a-z]{0,6}(\t[-0-9a-z:.]{0,9}){0,10}\n){0,6}") {
        let _ = parse(&text);
    }
}
