//! Docker in an unprivileged guest: real containers in it, from an image that no registry brings.

use std::collections::BTreeMap;

use managers::features::{Rendered, render};
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, catalog, facts, with};
use crate::given::parameters;

fn docker(more: Value) -> Rendered {
    let mut all = json!({ "data-root": "/srv/volume", "resolvers": ["10.0.0.53"] });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with("docker", all)
}

const IMAGE: &str = "
    apt-get -q -y install busybox-static >/dev/null 2>&1
    mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin/
    for name in sh cat httpd sleep; do ln -s busybox /tmp/image/bin/$name; done
    tar -C /tmp/image -c . | docker import - tiny:1 >/dev/null
";

#[test]
fn containers_run_in_an_unprivileged_guest() {
    let Some(guest) = Guest::new("containers_run_in_an_unprivileged_guest") else { return };
    // Where layers cannot be laid over each other it says so, instead of copying each.
    let ran = guest.run(&apply(&docker(json!({ "data-root": "/root/docker" }))));
    let error = ran.failed().error("docker").unwrap();
    assert!(
        error.contains("neither works on /root/docker, which is overlayfs: give the guest a volume"),
        "{error}"
    );

    guest.run(&apply(&docker(json!({})))).ok();
    guest.run(&apply(&docker(json!({})))).nothing_to_do();
    assert_eq!(guest.sh("docker info -f '{{.Driver}} {{.LiveRestoreEnabled}}'"), "overlay2 true\n");
    guest.sh(IMAGE);
    assert_eq!(
        guest.sh("docker run --rm tiny:1 /bin/cat /etc/resolv.conf | grep nameserver"),
        "nameserver 10.0.0.53\n"
    );
    guest.sh("docker run -d --name web -p 8080:80 tiny:1 /bin/httpd -f -p 80 -h /etc; sleep 1");
    assert_eq!(guest.sh("curl -sS -o /dev/null -w '%{http_code}' http://10.0.0.53:8080/hosts"), "200");
    assert_eq!(guest.sh("docker inspect -f '{{.NetworkSettings.IPAddress}}' web"), "172.28.0.2\n");

    // New settings start Docker anew, and its containers do not notice.
    let before = guest.invocation("docker");
    let since = guest.sh("docker inspect -f '{{.State.StartedAt}} {{.State.Pid}}' web");
    let changed = docker(json!({ "log-size": 5, "mirrors": ["https://mirror.workshop.internal"] }));
    assert_eq!(
        guest.run(&apply(&changed)).ok().words(),
        ["file update /etc/docker/daemon.json", "unit restart docker"]
    );
    assert_ne!(guest.invocation("docker"), before);
    assert_eq!(guest.sh("docker inspect -f '{{.State.StartedAt}} {{.State.Pid}}' web"), since);
    assert_eq!(guest.sh("curl -sS -o /dev/null -w '%{http_code}' http://10.0.0.53:8080/hosts"), "200");
    guest.sh("docker run --name log tiny:1 /bin/cat /etc/hosts");
    assert_eq!(guest.sh("docker inspect -f '{{index .HostConfig.LogConfig.Config \"max-size\"}}' log; docker rm log >/dev/null"), "5m\n");

    // What Docker does not understand is not put in use.
    let before = guest.invocation("docker");
    let odd = parameters(json!({ "data-root": "/srv/volume", "resolvers": ["nonsense"] }));
    let odd = render(catalog().get("docker").unwrap(), &odd, &BTreeMap::new(), &facts()).unwrap();
    let ran = guest.run(&apply(&odd));
    let error = ran.failed().error("docker").unwrap();
    assert!(error.contains("nonsense is not an ip address"), "{error}");
    guest.run(&apply(&changed)).nothing_to_do();
    assert_eq!(guest.invocation("docker"), before);

    // P-72: the API is on the local socket alone; something on its ports is a failure, whoever it is.
    guest.sh("docker run -d --name api -p 2375:80 tiny:1 /bin/httpd -f -p 80; sleep 1");
    let ran = guest.run(&apply(&docker(json!({ "log-size": 6 }))));
    assert!(ran.failed().error("docker").unwrap().contains("the API belongs on its local socket"), "{ran:?}");
    guest.sh("docker rm -f api");

    // The timer removes what nothing uses, and only that.
    let eager = docker(json!({ "log-size": 6, "keep-images": 0, "cleanup": "*-*-* 03:30" }));
    let ran = guest.run(&apply(&eager));
    assert!(ran.ok().words().contains(&"unit restart docker-cleanup.timer".to_owned()), "{ran:?}");
    guest.sh("docker tag tiny:1 other:1; echo x >/tmp/x; tar -C /tmp -c x | docker import - unused:1; sleep 2; systemctl start docker-cleanup");
    assert_eq!(guest.sh("docker images --format '{{.Repository}}' | sort"), "tiny\n");
    assert!(
        guest.sh("systemctl list-timers docker-cleanup.timer --no-legend").contains("docker-cleanup.service")
    );
    let ran = guest.run(&apply(&docker(json!({ "log-size": 6, "keep-images": 0, "cleanup": "at dawn" }))));
    assert!(ran.failed().error("docker").unwrap().contains("systemd-analyze calendar"), "{ran:?}");
    guest.run(&apply(&docker(json!({ "log-size": 6, "keep-images": 0, "cleanup": "" })))).ok();
    guest.fails("systemctl is-active docker-cleanup.timer");

    guest.sh("docker update --restart always web");
    guest.reboot();
    guest.sh("systemctl is-active docker; docker inspect -f '{{.State.Running}}' web | grep true");
}
