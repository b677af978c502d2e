//! Ways to nodes and guests of a cluster that is made up: what is asked, and where commands go.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test panics")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use managers::{Ways, lock};
use proxmox::exchange::{Exchange, ExchangeError, Request, Response};
use serde_json::{Value, json};
use transport::{Command, Entering, Error, Held, Output, Runner, Stream};

/// A cluster whose API is made up: its nodes, with whether they are online, and where its guests are.
#[derive(Debug)]
struct FakeApi {
    nodes: Vec<(&'static str, bool)>,
    guests: Mutex<Vec<(u32, &'static str)>>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Exchange for FakeApi {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        self.asked.lock().unwrap().push(request.path.clone());
        let data: Vec<Value> = match request.path.as_str() {
            "/nodes" => self.nodes.iter().map(|(name, _)| json!({ "node": name, "status": "online" })).collect(),
            "/cluster/status" => (1_u8..)
                .zip(&self.nodes)
                .map(|(at, (name, online))| {
                    // The API is the second node's.
                    let (ip, local) = (format!("10.0.0.{at}"), u8::from(at == 2));
                    json!({ "type": "node", "name": name, "ip": ip, "online": u8::from(*online), "local": local })
                })
                .collect(),
            "/cluster/resources" => (self.guests.lock().unwrap().iter())
                .map(|(id, node)| json!({ "id": format!("lxc/{id}"), "type": "lxc", "vmid": id, "node": node }))
                .collect(),
            other => panic!("{other} was asked for"),
        };
        Ok(Response { status: 200, reason: "OK".into(), body: json!({ "data": data }) })
    }

    fn endpoint(&self) -> String {
        "https://10.0.0.2:8006".to_owned()
    }
}

/// The first node, made up: it notes what is run there, and knows only the guests that are its own.
#[derive(Debug, Default)]
struct FakeFirst {
    ran: Mutex<Vec<Vec<String>>>,
    /// The nodes on which somebody else has the lock.
    taken: Vec<&'static str>,
}

#[derive(Debug)]
struct Nothing;
impl Held for Nothing {}

#[async_trait]
impl Runner for FakeFirst {
    async fn run_lines(
        &self,
        command: &Command,
        _: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        self.ran.lock().unwrap().push(command.argv.clone());
        if let Some(entering) = Entering::of(&command.argv) {
            return Ok(entering.refused("it is not defined on this node"));
        }
        let (status, stdout, stderr) = match command.argv[0].as_str() {
            "readlink" => (0, "nodes/pve1\n", String::new()),
            _ => (0, "there\n", String::new()),
        };
        Ok(Output { status, stdout: stdout.into(), stderr: stderr.into() })
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let line = command.argv.join(" ");
        self.ran.lock().unwrap().push(command.argv.clone());
        if self.taken.iter().any(|node| line.contains(&format!("HostKeyAlias={node} "))) {
            let output = Output { status: 1, stdout: "held by anna\n".into(), stderr: Vec::new() };
            return Ok(Err(output));
        }
        Ok(Ok(("locked".to_owned(), Box::new(Nothing))))
    }

    async fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Box<dyn Stream>, Error> {
        panic!("nothing is connected to")
    }

    fn place(&self) -> String {
        "root@10.0.0.1".to_owned()
    }
}

fn cluster(nodes: &[(&'static str, bool)]) -> (Ways, Arc<FakeApi>, Arc<FakeFirst>) {
    with(nodes, FakeFirst::default())
}

fn with(nodes: &[(&'static str, bool)], first: FakeFirst) -> (Ways, Arc<FakeApi>, Arc<FakeFirst>) {
    let guests = Mutex::new(vec![(120, "pve2")]);
    let api = Arc::new(FakeApi { nodes: nodes.to_vec(), guests, asked: Mutex::default() });
    let first = Arc::new(first);
    (Ways::new(Some(first.clone()), api.clone()), api, first)
}

const TWO: [(&str, bool); 2] = [("pve1", true), ("pve2", true)];

/// The node that a command line leads to.
fn leads_to(argv: &[String]) -> String {
    let alias = argv.iter().find_map(|word| word.strip_prefix("HostKeyAlias="));
    alias.unwrap_or("here").to_owned()
}

#[tokio::test]
async fn one_node_is_asked_for_nothing_it_need_not_tell() {
    let (ways, api, first) = cluster(&[("pve1", true)]);
    // Whatever it is called: there is no other.
    assert_eq!(ways.node("another-name").await.unwrap().place(), first.place());
    let locks = ways.locks().await.unwrap();
    assert_eq!(locks.iter().map(Runner::place).collect::<Vec<_>>(), [first.place()]);
    assert_eq!(*api.asked.lock().unwrap(), ["/nodes"]);
    assert!(first.ran.lock().unwrap().is_empty());
    // A guest that is not there is looked for nowhere else.
    let error = ways.guest(120).unwrap().run(&Command::new("asking", ["true"])).await.unwrap_err();
    assert!(error.to_string().contains("not defined"), "{error}");
    assert_eq!(*api.asked.lock().unwrap(), ["/nodes"]);
}

/// The API is one node's, and ssh leads to another: each is known by its own word.
#[tokio::test]
async fn a_guest_is_reached_by_its_own_node() {
    let (ways, api, first) = cluster(&TWO);
    let output = ways.guest(120).unwrap().run(&Command::new("asking", ["true"])).await.unwrap();
    assert_eq!(output.text(), "there\n");
    assert_eq!(*api.asked.lock().unwrap(), ["/cluster/resources", "/nodes", "/cluster/status"]);
    let ran = std::mem::take(&mut *first.ran.lock().unwrap());
    assert_eq!(ran.iter().map(|argv| argv[0].as_str()).collect::<Vec<_>>(), ["sh", "readlink", "ssh"]);
    assert_eq!(leads_to(&ran[2]), "pve2");
    assert!(ran[2].contains(&"root@10.0.0.2".to_owned()), "{ran:?}");
    // From now on it is known; and the first node is the first node.
    ways.guest(120).unwrap().run(&Command::new("asking", ["true"])).await.unwrap();
    assert_eq!(api.asked.lock().unwrap().len(), 3);
    assert_eq!(ways.node("pve1").await.unwrap().place(), first.place());
    assert_eq!(ways.guest(120).unwrap().place(), "container 120 on pve2 through root@10.0.0.1");
    // A person's terminal goes the same way.
    let line = ways.terminal(120, "lxc-attach -n 120").await.unwrap();
    assert!(line.starts_with("ssh -t ") && line.ends_with("'lxc-attach -n 120'"), "{line}");
}

#[tokio::test]
async fn a_node_without_a_way_is_named_with_what_to_do() {
    let (ways, ..) = cluster(&[("pve1", true), ("pve2", true), ("pve3", false)]);
    for (node, words, hint) in [
        ("pve3", "no command can be run on pve3: it is offline", "pvecm status"),
        ("pve9", "no command can be run on pve9: there is no such node", "pve1, pve2, pve3"),
    ] {
        let failure = ways.node(node).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.errors[0].as_str()), ("transport::no-node", words));
        assert!(failure.hint.as_ref().unwrap().contains(hint), "{failure:?}");
    }
    let (_, api, _) = cluster(&TWO);
    let failure = Ways::new(None, api).node("pve2").await.unwrap_err();
    assert_eq!(failure.code, "transport::no-commands");
}

/// Two majorities have a node in common, whichever nodes are away.
#[tokio::test]
async fn a_lock_is_held_on_a_majority() {
    let on = |nodes: Vec<(&'static str, bool)>| async move {
        let (ways, _, first) = cluster(&nodes);
        lock::take(&ways, "workshop", "a test").await.unwrap();
        let ran = first.ran.lock().unwrap();
        let held = ran.iter().filter(|argv| argv[0] != "readlink");
        held.map(|argv| leads_to(argv)).collect::<Vec<_>>()
    };
    assert_eq!(on(vec![("pve1", true)]).await, ["here"]);
    assert_eq!(on(TWO.to_vec()).await, ["here", "pve2"]);
    assert_eq!(on(vec![("pve1", true), ("pve2", false)]).await, ["here"]);
    let three = |second| vec![("pve1", true), ("pve2", second), ("pve3", true)];
    assert_eq!(on(three(true)).await, ["here", "pve2"]);
    assert_eq!(on(three(false)).await, ["here", "pve3"]);
    let many =
        ["pve1", "pve2", "pve3", "pve4", "pve5", "pve6", "pve7", "pve8", "pve9"].map(|name| (name, true));
    assert_eq!(on(many[..5].to_vec()).await, ["here", "pve2", "pve3"]);
    assert_eq!(
        on(many.to_vec()).await,
        ["here", "pve2", "pve3", "pve4"],
        "a connection carries only so many"
    );
}

#[tokio::test]
async fn a_lock_that_is_taken_anywhere_is_taken() {
    let (ways, ..) = with(&TWO, FakeFirst { taken: vec!["pve2"], ..FakeFirst::default() });
    match lock::take(&ways, "workshop", "a test").await {
        Err(lock::NotHeld::Taken(who)) => assert_eq!(who, "held by anna"),
        other => panic!("{other:?}"),
    }
}

/// A node that is online and cannot be reached may be the one that somebody else comes by.
#[tokio::test]
async fn a_lock_that_is_not_whole_is_none() {
    #[derive(Debug, Default)]
    struct NoSsh(FakeFirst);
    #[async_trait]
    impl Runner for NoSsh {
        async fn run_lines(
            &self,
            command: &Command,
            line: &mut (dyn for<'a> FnMut(&'a str) + Send),
        ) -> Result<Output, Error> {
            self.0.run_lines(command, line).await
        }
        async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
            if command.argv[0] != "ssh" {
                return self.0.hold(command).await;
            }
            let stderr = "Host key verification failed.\n".into();
            Ok(Err(Output { status: 255, stdout: Vec::new(), stderr }))
        }
        async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
            self.0.connect(host, port, limit).await
        }
        fn place(&self) -> String {
            self.0.place()
        }
    }
    let (_, api, _) = cluster(&TWO);
    let ways = Ways::new(Some(Arc::new(NoSsh::default())), api);
    match lock::take(&ways, "workshop", "a test").await {
        Err(lock::NotHeld::Unreachable(failure)) => {
            assert_eq!(failure.code, "lock::unreachable");
            let told = format!("{failure:?}");
            assert!(told.contains("pve2 (10.0.0.2) through root@10.0.0.1"), "{told}");
            assert!(told.contains("pvecm updatecerts"), "{told}");
        }
        other => panic!("{other:?}"),
    }
}
