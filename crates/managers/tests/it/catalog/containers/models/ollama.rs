//! Ollama's models by name and digest. Its archive has 1.5 GB, so a stand-in takes its place: what is tried is what Phoenix does.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::{OTHER, prepare, served, wrong};
use crate::catalog::containers::guest::Guest;
use crate::catalog::{apply, with};
use crate::given::but;

const STAND_IN: &str = include_str!("stand-in-ollama.py");

#[test]
fn a_stand_in_for_ollama_has_models_by_their_digest() {
    let Some(guest) = Guest::new("a_stand_in_for_ollama_has_models_by_their_digest") else { return };
    prepare(&guest);
    guest.write("/srv/pack/bin/ollama", STAND_IN);
    guest.sh("chmod 755 /srv/pack/bin/ollama && tar -czf /srv/up/ollama.tgz -C /srv/pack .");
    let (small, large) = ("1".repeat(64), "2".repeat(64));
    guest.write("/srv/library", &format!("small:1b {small}\nlarge:70b {large}\n"));
    let program = served(&guest, "ollama.tgz");
    let ollama = |more: Value| -> Rendered {
        let all = json!({ "program": program, "pull": { "small:1b": small } });
        let mut rendered = with("ollama", but(all, more));
        // What unpacks newer archives of it is not in the guest of tests.
        rendered.packages.clear();
        rendered
    };
    let set = |guest: &Guest| -> Value {
        serde_json::from_str(&guest.sh("curl -sS -m 5 http://10.0.0.53:11434/stand-in")).unwrap()
    };
    guest.run(&apply(&ollama(json!({})))).ok();
    guest.run(&apply(&ollama(json!({})))).nothing_to_do();
    assert_eq!(set(&guest)["OLLAMA_KEEP_ALIVE"], "5m");

    // P-32: a setting is one restart, and what it is to have of the card leaves the rest to others.
    let gib = 1_u64 << 30;
    let card = json!({ "card": "card0", "memory": 10 * gib, "total": 24 * gib, "driver": "", "url": "", "sha256": "", "gid": 0, "alone": false });
    let more = json!({ "keep-alive": "1h", "context": 8192, "gpus": [card] });
    let words = guest.run(&apply(&ollama(more.clone()))).ok().words();
    assert!(words.contains(&"unit restart ollama".to_owned()), "{words:?}");
    let is = set(&guest);
    assert_eq!((&is["OLLAMA_KEEP_ALIVE"], &is["OLLAMA_CONTEXT_LENGTH"]), (&json!("1h"), &json!("8192")));
    assert_eq!(is["OLLAMA_GPU_OVERHEAD"], (14 * gib).to_string());

    // One more model is pulled and nothing is started anew. A name that stands for something else by now is taken away again.
    let before = guest.invocation("ollama");
    let both = json!({ "pull": { "small:1b": small, "large:70b": large } });
    guest.run(&apply(&ollama(but(&more, both)))).ok();
    assert_eq!(guest.invocation("ollama"), before);
    guest.write("/srv/library", &format!("small:1b {small}\nlarge:70b {OTHER}\n"));
    let newer = json!({ "pull": { "small:1b": small, "large:70b": "3".repeat(64) } });
    let error = wrong(&guest, &ollama(but(&more, newer)));
    assert!(error.contains(&format!("large:70b stands for {OTHER} by now")), "{error}");
    assert!(!guest.sh("curl -sS http://10.0.0.53:11434/api/tags").contains("large"), "it is still there");
    let none = json!({ "pull": { "none:1b": small } });
    let error = wrong(&guest, &ollama(but(&more, none)));
    assert!(error.contains("none:1b cannot be pulled: pull model manifest: file does not exist"), "{error}");
    guest.run(&apply(&ollama(more))).ok();
}
