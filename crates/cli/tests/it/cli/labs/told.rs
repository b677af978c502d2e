//! What a run tells of its calls: `-v`, `--log`, `--record`; that nothing secret is in it, and that it can be replayed.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use proxmox::exchange::{Exchange, ExchangeError, Request, Response};
use serde_json::Value;
use transport::{Held, Output, Runner, Stream};

use super::Lab;

/// In a container's description: it goes to the node, and comes back from it, as whatever people write there does.
const PLANTED: [&str; 2] = ["planted-password-5521", "TUhjQ0FRRUVJUGxhbnRlZEtleQ"];

fn planted(lab: &Lab) -> Vec<String> {
    let description = format!(
        "\"description\": \"password={}\\n-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----\"",
        PLANTED[0], PLANTED[1]
    );
    lab.env.edit("guests.json", "\"id\": 120,", &format!("\"id\": 120, {description},"));
    let token = lab.env.read(".phoenix/lab/token");
    let (_, secret) = token.trim().split_once('=').unwrap();
    PLANTED.iter().map(|it| (*it).to_owned()).chain([secret.to_owned()]).collect()
}

#[test]
fn calls_are_told_and_recorded_without_a_secret_and_can_be_replayed() {
    let lab = Lab::up();
    let secrets = planted(&lab);
    let applied = lab.run(&["apply", "-v", "--log", "run.log", "--record", "run.jsonl"]).ended(0);
    let (log, record) = (lab.env.read("run.log"), lab.env.read("run.jsonl"));
    for (name, text) in [("-v", &applied.err), ("--log", &log), ("--record", &record)] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in what {name} says");
        }
    }
    for text in [&applied.err, &log] {
        for told in [
            "GET /cluster/resources  200",
            "POST /nodes/pve1/lxc  200",
            "taking the site's lock on",
            "bytes  (step container.notes",
            "wiring ended",
        ] {
            assert!(text.contains(told), "`{told}` is not told:\n{text}");
        }
    }
    assert!(record.contains("***"), "what was masked is seen to be");
    for file in ["run.log", "run.jsonl"] {
        let mode = std::fs::metadata(lab.env.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    // Nothing is told unless somebody wants to know.
    let quiet = lab.run(&["plan"]).ended(0);
    assert!(!quiet.err.contains("/cluster/resources"), "{quiet:#?}");

    // What was recorded, a bug report, shows what the node showed.
    lab.run(&["plan", "--record", "plan.jsonl"]).ended(0);
    let replayed = Replayed::read(&lab.env.read("plan.jsonl"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut inventory = runtime.block_on(async {
        let ways = managers::Ways::new(Some(Arc::new(replayed.clone())), Arc::new(replayed));
        managers::observe(&ways).await.unwrap()
    });
    let key = plan::SiteKey::from_text(&lab.env.read(".phoenix/secrets/site.key")).unwrap();
    inventory.judge(&plan::Trust::new("workshop", Some(Arc::new(key))));
    assert!(inventory.unread.is_empty(), "{:?}", inventory.unread);
    assert_eq!(inventory.node, "pve1");
    let marked: Vec<u32> = inventory.of_site("workshop").map(|guest| guest.id).collect();
    assert_eq!(marked, [101, 120, 121]);
    let notes = &inventory.guests[&120];
    assert!(notes.running && notes.text.contains("password=***"), "{notes:?}");
}

/// A recording as a node.
#[derive(Debug, Clone)]
struct Replayed(Arc<Vec<Value>>);

impl Replayed {
    fn read(text: &str) -> Self {
        Self(Arc::new(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()))
    }
}

#[async_trait]
impl Exchange for Replayed {
    async fn exchange(&self, request: &Request) -> Result<Response, ExchangeError> {
        let params: serde_json::Map<String, Value> =
            request.params.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let found = self.0.iter().find(|line| {
            line["method"] == request.method.to_string()
                && line["path"] == request.path
                && line["params"] == Value::Object(params.clone())
        });
        let line = found.unwrap_or_else(|| panic!("{request:?} was not recorded"));
        Ok(Response {
            status: line["status"].as_u64().unwrap().try_into().unwrap(),
            reason: line["reason"].as_str().unwrap().to_owned(),
            body: line["body"].clone(),
        })
    }

    fn endpoint(&self) -> String {
        "a recording".to_owned()
    }
}

#[async_trait]
impl Runner for Replayed {
    async fn run_lines(
        &self,
        command: &transport::Command,
        _: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, transport::Error> {
        let found = self.0.iter().find(|line| line["argv"] == serde_json::json!(command.argv));
        let line = found.unwrap_or_else(|| panic!("{command:?} was not recorded"));
        let text = |name: &str| line[name].as_str().unwrap().as_bytes().to_vec();
        Ok(Output {
            status: line["exit"].as_i64().unwrap().try_into().unwrap(),
            stdout: text("stdout"),
            stderr: text("stderr"),
        })
    }

    async fn hold(
        &self,
        command: &transport::Command,
    ) -> Result<Result<(String, Box<dyn Held>), Output>, transport::Error> {
        panic!("{command:?} was not recorded")
    }

    async fn connect(&self, host: &str, port: u16, _: Duration) -> Result<Box<dyn Stream>, transport::Error> {
        panic!("{host}:{port} was not recorded")
    }

    fn place(&self) -> String {
        "a recording".to_owned()
    }
}
