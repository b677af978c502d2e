//! Worlds of more than one node.

use std::collections::BTreeSet;

use proxmox::client::Reader;
use proxmox::inventory;
use serde_json::Value;

use super::*;
use crate::node::Auth;

fn two() -> World {
    WorldOptions::new(1).nodes(2).times(Times::none()).build().expect("in memory")
}

async fn get(world: &World, path: &str) -> Value {
    let answer = world.exchange.exchange(&request(Method::Get, path, &[])).await.expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.reason);
    answer.body["data"].clone()
}

/// As Proxmox VE's own tools call it.
fn over(command: &str) -> Vec<String> {
    let line = "ssh -e none -o BatchMode=yes -o HostKeyAlias=pve2 -o \
                UserKnownHostsFile=/etc/pve/nodes/pve2/ssh_known_hosts -o GlobalKnownHostsFile=none root@10.10.10.2 --";
    line.split(' ').map(str::to_owned).chain([command.to_owned()]).collect()
}

async fn on(shell: &SimShell, argv: &[String]) -> (i32, String, String) {
    let output = shell.run(&Command::new("asking", argv.iter().map(String::as_str))).await.expect("answered");
    (output.status, output.text().into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_are_one_cluster() {
    let world = two();
    let other = &world.others[0];
    let status = get(&world, "/cluster/status").await;
    assert_eq!(
        (&status[0]["type"], &status[0]["nodes"], &status[0]["quorate"]),
        (&"cluster".into(), &2.into(), &1.into())
    );
    for (at, name, local) in [(1, "pve1", 1), (2, "pve2", 0)] {
        let wanted = serde_json::json!({
            "id": format!("node/{name}"), "name": name, "type": "node", "ip": format!("10.10.10.{at}"), "level": "",
            "online": 1, "local": local, "nodeid": at,
        });
        assert_eq!(status[at], wanted);
    }
    let names = |list: &Value| -> Vec<String> {
        list.as_array()
            .expect("a list")
            .iter()
            .map(|one| one["node"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    assert_eq!(names(&get(&world, "/nodes").await), ["pve1", "pve2"]);

    // Made through one API, each is where it was declared, and a number is taken in the whole cluster.
    assert_eq!(done(&world, &create("101")).await, "OK");
    let mut there = create("102");
    "/nodes/pve2/lxc".clone_into(&mut there.path);
    let made = world.exchange.exchange(&there).await.expect("an answer");
    let upid = made.body["data"].as_str().expect("a UPID").to_owned();
    assert!(upid.starts_with("UPID:pve2:"), "{upid}");
    assert_eq!(other.node.task_end(&upid).await.expect("known there"), "OK");
    let path = format!(
        "/nodes/pve2/tasks/{}/status",
        upid.replace(':', "%3A").replace('!', "%21").replace('@', "%40")
    );
    assert_eq!(get(&world, &path).await["exitstatus"], "OK");
    let guests = get(&world, "/cluster/resources?type=vm").await;
    let where_each: Vec<_> = names(&guests)
        .into_iter()
        .zip(guests.as_array().unwrap().iter().map(|g| g["vmid"].clone()))
        .collect();
    assert_eq!(where_each, [("pve1".to_owned(), 101.into()), ("pve2".to_owned(), 102.into())]);
    assert_eq!(get(&world, "/cluster/nextid").await, "100");
    let again = create("102");
    let refused = world.exchange.exchange(&again).await.expect("an answer");
    assert_eq!(refused.reason, "CT 102 already exists on node 'pve2'");
    let elsewhere = request(Method::Get, "/nodes/pve1/lxc/102/config", &[]);
    let refused = world.exchange.exchange(&elsewhere).await.expect("an answer");
    assert_eq!(refused.reason, "Configuration file 'nodes/pve1/lxc/102.conf' does not exist");
    assert_eq!(get(&world, "/nodes/pve2/lxc/102/config").await["hostname"], "CT102");
    let nowhere =
        world.exchange.exchange(&request(Method::Get, "/nodes/pve3/lxc", &[])).await.expect("an answer");
    assert!(nowhere.reason.starts_with("hostname lookup 'pve3' failed"), "{}", nowhere.reason);
    assert_eq!(get(&world, "/cluster/tasks").await.as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn commands_run_on_the_node_that_they_are_sent_to() {
    let world = two();
    let other = &world.others[0];
    other.node.put_guest(120, &World::guest_file(120)).unwrap();
    other.runtime.set_running(120);

    // The one command that reads all files sees both nodes, and the API the same.
    let files = inventory::read_by_files(&world.shell, &[]).await.expect("read");
    assert_eq!(files.guests[&120].node, "pve2");
    let by_api = inventory::read_by_api(&Reader::new(Arc::new(world.exchange.clone()))).await.expect("read");
    assert_eq!(by_api, files.as_the_api_shows());

    // On the wrong node a guest is not known; on its own it is, by ssh as Proxmox VE's own tools call it.
    let wrong = on(&world.shell, &words("pct exec 120 -- echo here")).await;
    assert_eq!(
        (wrong.0, wrong.2.as_str()),
        (2, "Configuration file 'nodes/pve1/lxc/120.conf' does not exist\n")
    );
    assert_eq!(on(&world.shell, &words("lxc-attach -n 120 -- true")).await.0, 1);
    assert_eq!(
        on(&world.shell, &over("pct exec 120 -- echo here")).await,
        (0, "here\n".into(), String::new())
    );
    let quoted = on(&world.shell, &over("lxc-attach -n 120 --clear-env -- echo 'a  b'")).await;
    assert_eq!(quoted.1, "a  b\n");
    assert_eq!(on(&world.shell, &over("pct set 120 --memory 256")).await.0, 0);
    assert_eq!(get(&world, "/nodes/pve2/lxc/120/config").await["memory"], 256);
    assert_eq!(on(&other.shell, &words("pct status 120")).await.1, "status: running\n");
    let gone = on(&world.shell, &words("ssh -o BatchMode=yes root@10.10.10.9 true")).await;
    assert_eq!(
        (gone.0, gone.2.as_str()),
        (255, "ssh: connect to host 10.10.10.9 port 22: No route to host\n")
    );

    // A lock is one of its node.
    let lock = words("flock /run/phoenix.lock sh");
    let take = async |argv: &[String]| {
        let command = Command::new("locking", argv.iter().map(String::as_str));
        world.shell.hold(&command).await.expect("answered")
    };
    let (_, here) = take(&lock).await.unwrap();
    let (_, there) = take(&over("flock /run/phoenix.lock sh")).await.unwrap();
    assert_eq!(take(&over("flock /run/phoenix.lock sh")).await.unwrap_err().status, 1);
    drop((here, there));
}

/// What lies in `/etc/pve` is common: users, pools, storages, the firewall.
#[tokio::test(start_paused = true)]
async fn what_is_changed_on_one_node_holds_on_the_other() {
    let world = two();
    let other = &world.others[0].node;
    let as_root = async |node: &crate::node::Node, method: Method, path: &str, params: &[(&str, &str)]| {
        let answer = node.handle(&Auth::root(), &request(method, path, params)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.reason);
        answer.body["data"].clone()
    };
    as_root(other, Method::Post, "/pools", &[("poolid", "both")]).await;
    world.node.put_guest(110, &World::guest_file(110)).unwrap();
    other.put_guest(111, &World::guest_file(111)).unwrap();
    as_root(&world.node, Method::Put, "/pools", &[("poolid", "both"), ("vms", "110,111")]).await;
    for node in [&world.node, other] {
        let pool = as_root(node, Method::Get, "/pools/both", &[]).await;
        let members =
            pool["members"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        assert_eq!(members.collect::<BTreeSet<_>>(), BTreeSet::from(["lxc/110".into(), "lxc/111".into()]));
    }
    other.set_token("ops@pve!one", "secret", false);
    assert!(world.node.auth_of_token("PVEAPIToken=ops@pve!one=secret").is_some());
    let dir = [("storage", "more"), ("type", "dir"), ("path", "/more"), ("content", "rootdir")];
    as_root(&world.node, Method::Post, "/storage", &dir).await;
    as_root(other, Method::Get, "/nodes/pve2/storage/more/status", &[]).await;
    world.node.put_firewall_file("111.fw", Some("[OPTIONS]\nenable: 1\n")).unwrap();
    let options = as_root(&world.node, Method::Get, "/nodes/pve2/lxc/111/firewall/options", &[]).await;
    assert_eq!(options["enable"], 1);
}

/// The same where the nodes are two processes with one folder.
#[tokio::test]
async fn a_folder_is_seen_by_all_nodes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = camino::Utf8Path::from_path(folder.path()).unwrap();
    let members =
        ["pve1", "pve2"].map(|name| crate::node::Member { name: name.into(), address: name.into() });
    let open = |name: &str| {
        let mut options = WorldOptions::new(1).node;
        options.name = name.to_owned();
        options.etc = Some(folder.join("pve"));
        options.state = Some(folder.join(name));
        options.cluster = Some(crate::node::Cluster::in_folder(members.to_vec(), folder));
        crate::node::Node::open(options, Arc::new(SimRuntime::new(1, Times::none()))).unwrap()
    };
    let (one, two) = (open("pve1"), open("pve2"));
    two.set_token("ops@pve!one", "secret", false);
    one.set_role("Ops", "VM.Audit");
    assert!(one.auth_of_token("PVEAPIToken=ops@pve!one=secret").is_some());
    two.put_guest(130, &World::guest_file(130)).unwrap();
    assert_eq!(one.all_configuration_files()[0].node, "pve2");
    assert!(one.configuration_files().is_empty());
    let taken = one.handle(&Auth::root(), &create("130")).await;
    assert_eq!(taken.reason, "CT 130 already exists on node 'pve2'");
    // What was written is there after a restart of either.
    let roles = open("pve2").handle(&Auth::root(), &request(Method::Get, "/access/roles/Ops", &[])).await;
    assert_eq!(roles.body["data"]["VM.Audit"], 1);
    // The other does not answer: it is offline, and its guests are there still.
    struct Down;
    impl std::fmt::Debug for Down {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Down")
        }
    }
    #[async_trait::async_trait]
    impl crate::node::Peer for Down {
        fn name(&self) -> &str {
            "pve2"
        }
        async fn ask(&self, _: &Auth, _: &Request) -> Result<proxmox::exchange::Response, String> {
            Err("Connection refused".to_owned())
        }
    }
    one.meet(vec![Arc::new(Down)]);
    let ask = async |path: &str| one.handle(&Auth::root(), &request(Method::Get, path, &[])).await;
    assert_eq!(ask("/cluster/status").await.body["data"][2]["online"], 0);
    assert_eq!(ask("/nodes").await.body["data"][1]["status"], "offline");
    let guests = ask("/cluster/resources?type=vm").await.body["data"].clone();
    assert_eq!((&guests[0]["vmid"], &guests[0]["status"]), (&130.into(), &"unknown".into()));
    let refused = ask("/nodes/pve2/lxc").await;
    assert_eq!((refused.status, refused.reason.as_str()), (595, "Connection refused"));
}
