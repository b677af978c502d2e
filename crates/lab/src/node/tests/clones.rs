//! Templates and clones of containers, as recorded ("Templates and clones", "Snapshots, clones, backup and restore, protection").

use proxmox::exchange::Method;

use super::{Asked, refused};

#[tokio::test(start_paused = true)]
async fn templates_and_clones_of_containers() {
    let it = Asked::root();
    let net = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:09:5A,ip=10.0.0.215/24,gw=10.0.0.1";
    assert_eq!(it.create(690, &[("net0", net), ("mp0", "tank:1,mp=/b"), ("hostname", "rec690")]).await, "OK");
    let clone = async |id: u32, params: &[(&str, &str)]| {
        it.call(Method::Post, &format!("/nodes/pve1/lxc/{id}/clone"), params).await
    };
    let template = async || it.call(Method::Post, "/nodes/pve1/lxc/690/template", &[]).await;
    // "clone without full of a normal container: what happens": a full copy; the answer of "template" names no task.
    let answer = template().await;
    assert_eq!((answer.status, answer.body["data"].is_null()), (200, true));
    it.world.node.idle().await;
    refused(&template().await, 500, "you can't convert a template to a template");
    let config = it.get("/nodes/pve1/lxc/690/config").await;
    assert_eq!(config["rootfs"], "tank:690/base-690-disk-0.raw,size=2G");
    assert_eq!(
        (&config["template"], &config["mp0"]),
        (&1.into(), &"tank:690/base-690-disk-1.raw,mp=/b,size=1G".into())
    );
    assert_eq!(
        it.task(Method::Post, "/nodes/pve1/lxc/690/status/start", &[]).await,
        "you can't start a CT if it's a template"
    );
    let with = [("newid", "693"), ("storage", "local")];
    refused(&clone(690, &with).await, 500, "parameter 'storage' not allowed for linked clones");
    refused(
        &clone(690, &[("newid", "692"), ("pool", "recnope")]).await,
        403,
        "Permission check failed (pool 'recnope' does not exist)",
    );
    assert!(it.call(Method::Get, "/nodes/pve1/lxc/693/config", &[]).await.status == 500, "nothing is left");
    let path = "/nodes/pve1/lxc/690/clone";
    assert_eq!(
        it.task(Method::Post, path, &[("newid", "692"), ("full", "1"), ("hostname", "fc")]).await,
        "OK"
    );
    let copy = it.get("/nodes/pve1/lxc/692/config").await;
    assert_eq!(copy["hostname"], "fc");
    // Which volume is copied first is the order of a hash there.
    assert!(
        copy["rootfs"].as_str().is_some_and(|volume| volume.starts_with("tank:692/vm-692-disk-")),
        "{copy}"
    );
    assert!(copy.get("template").is_none() && copy.get("lock").is_none(), "{copy}");
    assert!(copy["net0"].as_str().is_some_and(|net| !net.contains("00:09:5A")), "{copy}");
    refused(
        &clone(690, &[("newid", "692"), ("full", "1")]).await,
        500,
        "CT 692 already exists on node 'pve1'",
    );
    // The lock of a refusal is taken away again.
    assert!(it.get("/nodes/pve1/lxc/690/config").await.get("lock").is_none());
}

/// Whoever copies a container holds it (`set_lock` in `clone_vm` of pve-container): the next is refused, and does not wait.
#[tokio::test(start_paused = true)]
async fn one_container_is_copied_once_at_a_time() {
    let it = Asked::root();
    it.create(690, &[]).await;
    let clone = async |new: &str| {
        it.call(Method::Post, "/nodes/pve1/lxc/690/clone", &[("newid", new), ("full", "1")]).await
    };
    assert_eq!(clone("691").await.status, 200);
    refused(&clone("692").await, 500, "CT is locked (disk)");
    it.world.node.idle().await;
    assert_eq!(clone("692").await.status, 200);
    it.world.node.idle().await;
    it.task(Method::Post, "/nodes/pve1/lxc/692/status/start", &[]).await;
    refused(
        &it.call(Method::Post, "/nodes/pve1/lxc/692/clone", &[("newid", "693")]).await,
        500,
        "Full clone of a running container is only possible from a snapshot",
    );
}

/// A virtual machine that is off is copied by several at once (`lock_config_shared` in `clone_vm` of qemu-server).
#[tokio::test(start_paused = true)]
async fn several_copy_one_machine_at_once() {
    let it = Asked::root();
    let made = [("vmid", "700"), ("name", "rec700"), ("scsi0", "tank:1")];
    assert_eq!(it.task(Method::Post, "/nodes/pve1/qemu", &made).await, "OK");
    assert_eq!(it.task(Method::Post, "/nodes/pve1/qemu/700/template", &[]).await, "OK");
    let mut tasks = Vec::new();
    for new in ["701", "702", "703", "704"] {
        let answer =
            it.call(Method::Post, "/nodes/pve1/qemu/700/clone", &[("newid", new), ("full", "1")]).await;
        tasks.push(answer.body["data"].as_str().expect("a task").to_owned());
    }
    for task in tasks {
        assert_eq!(it.world.node.task_end(&task).await.as_deref(), Some("OK"));
    }
    refused(
        &it.call(Method::Post, "/nodes/pve1/qemu/700/clone", &[("newid", "701"), ("full", "1")]).await,
        500,
        "unable to create VM 701: config file already exists",
    );
}
