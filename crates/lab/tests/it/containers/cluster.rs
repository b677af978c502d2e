//! A lab of more than one node.

use super::*;

/// As Proxmox VE's own tools reach another node.
fn ssh(node: &str, address: &str) -> String {
    format!(
        "ssh -e none -o BatchMode=yes -o HostKeyAlias={node} -o UserKnownHostsFile=/etc/pve/nodes/{node}/ssh_known_hosts \
         -o GlobalKnownHostsFile=none root@{address} --"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_one_cluster() {
    if !real("two_nodes_are_one_cluster") {
        return;
    }
    let mut lab = Lab::new();
    lab.spec.others = vec!["pve2".to_owned()];
    let (record, found) = lab.up().await;
    assert_eq!((found, record.others.as_slice()), (Found::Nothing, ["pve2".to_owned()].as_slice()));
    let status = lab.call(Method::Get, "/cluster/status", &[]).await;
    let shown: Vec<_> =
        status.as_array().unwrap().iter().map(|one| (&one["name"], &one["online"], &one["ip"])).collect();
    assert_eq!(status[0]["type"], "cluster");
    assert_eq!(shown[1], (&"pve1".into(), &1.into(), &"10.0.0.254".into()));
    assert_eq!(shown[2], (&"pve2".into(), &1.into(), &"10.0.0.253".into()));

    // Made by one API, each guest is on its node, and both nodes see the files of both.
    tokio::join!(
        lab.create_on("pve1", 120, "10.0.0.21", false),
        lab.create_on("pve2", 121, "10.0.0.22", true)
    );
    let there = ssh("pve2", "10.0.0.253");
    for (on, id) in [("", 120), (there.as_str(), 121)] {
        lab.on_node(&format!("{on} pct start {id}"));
    }
    let files = "find /etc/pve/nodes -name '*.conf' | sort";
    let all = "/etc/pve/nodes/pve1/lxc/120.conf\n/etc/pve/nodes/pve2/lxc/121.conf\n";
    assert_eq!(lab.on_node(files), all);
    assert_eq!(
        lab.on_node(&format!("{there} \"{files}; hostname; readlink /etc/pve/local; ls /etc/pve/lxc\"")),
        format!("{all}pve2\nnodes/pve2\n121.conf\n")
    );
    assert_eq!(lab.on_node("ls /etc/pve/lxc"), "120.conf\n");
    let guests = lab.call(Method::Get, "/cluster/resources?type=vm", &[]).await;
    assert_eq!((&guests[0]["node"], &guests[1]["node"]), (&"pve1".into(), &"pve2".into()));
    assert_eq!(lab.call(Method::Get, "/nodes/pve2/lxc/121/status/current", &[]).await["status"], "running");
    // By the other node's API likewise, and from there to the first.
    let back = format!("{there} \"{} pct status 120\"", ssh("pve1", "10.0.0.254"));
    assert_eq!(lab.on_node(&back), "status: running\n");
    let seen =
        lab.on_node(&format!("{there} pvesh get /nodes/pve1/lxc/120/status/current --output-format json"));
    assert!(seen.contains("\"running\""), "{seen}");

    // A command in a guest runs on its node alone.
    let wrong = lab.ssh("pct exec 121 -- true");
    let said = "Configuration file 'nodes/pve1/lxc/121.conf' does not exist\n";
    assert_eq!((wrong.status.code(), text(&wrong.stderr).as_str()), (Some(2), said));
    lab.until(&format!("{there} pct exec 121 -- systemctl is-active ssh"));
    // One network: from guest to guest, and out by the one router, by its name server too.
    let greeting = |to: &str| format!("timeout 2 bash -c 'exec 3<>/dev/tcp/{to}/22 && head -c 4 <&3'");
    assert_eq!(lab.until(&format!("pct exec 120 -- {}", greeting("10.0.0.22"))), "SSH-");
    assert_eq!(
        lab.until(&format!("{there} pct exec 121 -- ping -c1 -W2 10.0.0.1 >/dev/null && echo out")),
        "out\n"
    );
    let listed = up::status(lab.folder()).await.unwrap();
    let listed: Vec<_> = listed.guests.iter().map(|g| (g.id, g.running, g.node.as_deref())).collect();
    assert_eq!(listed, [(120, true, Some("pve1")), (121, true, Some("pve2"))]);

    let enter = up::shell(lab.folder(), Some(121)).unwrap();
    assert!(enter.contains(&"root@10.0.0.253".to_owned()), "it is entered from its node: {enter:?}");
    assert!(!up::shell(lab.folder(), Some(120)).unwrap().contains(&"root@10.0.0.253".to_owned()));
    // What keeps the firewall runs on each.
    assert_eq!(lab.on_node(&format!("{there} systemctl is-active pve-firewall")), "active\n");

    // Another number of nodes is refused; a node that was killed comes back with all of the lab, and its guests.
    let mut alone = lab.spec.clone();
    alone.others.clear();
    assert!(matches!(up::up(&alone, &|_| {}).await, Err(up::Error::Nodes { has: 2, asked: 1, .. })));
    assert_eq!(lab.up().await.1, Found::Running);
    assert!(
        Command::new("kill").args(["-9", &lab.process_of("-pve2").to_string()]).status().unwrap().success()
    );
    assert_eq!(lab.up().await.1, Found::Nothing);
    assert_eq!(lab.until(&format!("{there} pct exec 121 -- hostname")), "notes\n");

    // Whatever state it is in, `down` leaves nothing: here the first node was killed, and the other runs.
    assert!(Command::new("kill").args(["-9", &lab.node_process().to_string()]).status().unwrap().success());
    lab.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_simulated_nodes_need_nothing() {
    use transport::Runner as _;
    let mut lab = Lab::new();
    lab.spec.others = vec!["pve2".to_owned()];
    let (record, _) = up::up_simulated(&lab.spec, &|_| {}).await.unwrap();
    assert_eq!(record.others, ["pve2"]);
    tokio::join!(
        lab.create_on("pve1", 120, "10.0.0.21", false),
        lab.create_on("pve2", 121, "10.0.0.22", false)
    );
    lab.task(Method::Post, "/nodes/pve2/lxc/121/status/start", &[]).await;
    let status = lab.call(Method::Get, "/cluster/status", &[]).await;
    assert_eq!(
        (&status[2]["name"], &status[2]["ip"], &status[2]["local"]),
        (&"pve2".into(), &"10.0.0.253".into(), &0.into())
    );
    let runner = up::SimNodeRunner::new(lab.folder(), "pve1");
    let run = async |line: &str| {
        runner.run(&transport::Command::new("asking", line.split_whitespace())).await.unwrap()
    };
    assert_eq!(
        run(&format!("{} pct status 121", ssh("pve2", "10.0.0.253"))).await.text(),
        "status: running\n"
    );
    let wrong = run("pct exec 121 -- true").await;
    let said = "Configuration file 'nodes/pve1/lxc/121.conf' does not exist\n";
    assert_eq!((wrong.status, text(&wrong.stderr).as_str()), (2, said));
    let listed = up::status(lab.folder()).await.unwrap();
    let listed: Vec<_> = listed.guests.iter().map(|g| (g.id, g.running, g.node.as_deref())).collect();
    assert_eq!(listed, [(120, false, Some("pve1")), (121, true, Some("pve2"))]);
    let mut alone = lab.spec.clone();
    alone.others.clear();
    assert!(matches!(
        up::up_simulated(&alone, &|_| {}).await,
        Err(up::Error::Nodes { has: 2, asked: 1, .. })
    ));
    up::down(lab.folder()).await.unwrap();
    assert!(!lab.folder().exists());
}
