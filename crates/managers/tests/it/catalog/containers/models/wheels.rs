//! vLLM and Open WebUI have gigabytes of libraries, so small packages of Python stand in for them: what is tried is how they are installed,
//! what they are started with, and when they are started anew.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::{OTHER, prepare, sum, wrong};
use crate::catalog::containers::guest::Guest;
use crate::catalog::{apply, with};
use crate::given::but;

const WHEELS: &str = include_str!("wheels.py");

/// A feature whose packages the guest of tests has, as far as they are needed here.
fn made(name: &str, all: Value) -> Rendered {
    let mut rendered = with(name, all);
    rendered.packages.retain(|package| package == "python3-venv");
    rendered
}

fn started(guest: &Guest, port: u16) -> Value {
    serde_json::from_str(&guest.sh(&format!("curl -sS -m 5 http://10.0.0.53:{port}/stand-in"))).unwrap()
}

#[test]
fn stand_ins_for_vllm_and_open_webui_are_started_with_what_is_said() {
    let name = "stand_ins_for_vllm_and_open_webui_are_started_with_what_is_said";
    let Some(guest) = Guest::new(name) else { return };
    prepare(&guest);
    guest.write("/srv/wheels.py", WHEELS);
    guest.sh("python3 /srv/wheels.py; printf '{}' >/srv/up/config.json; head -c 5000 /dev/urandom >/srv/up/model.safetensors");
    let files = json!({ "config.json": sum(&guest, "config.json"), "model.safetensors": sum(&guest, "model.safetensors") });
    let vllm = |version: &str, more: Value| {
        let model = json!({ "name": "qwen", "from": "http://127.0.0.1:9000/qwen", "files": files });
        let all = json!({ "requirements": [format!("vllm=={version}")], "model": model, "name": "writer" });
        made("vllm", but(all, more))
    };
    let keys = json!({ "keys": { "anna": { "env": "ANNAS" } } });
    guest.run(&apply(&vllm("1.0", keys.clone()))).ok();
    guest.run(&apply(&vllm("1.0", keys.clone()))).nothing_to_do();
    let is = started(&guest, 8000);
    assert_eq!((&is["model"], &is["max_model_len"]), (&json!("/var/lib/vllm/models/qwen"), &json!(8192)));
    assert_eq!((&is["served_model_name"], &is["version"]), (&json!("writer"), &json!("1.0")));
    assert_eq!(is["environment"]["HF_HUB_OFFLINE"], "1");

    // P-32, P-64: another version, and another setting, are in force at once.
    let restart = "unit restart vllm".to_owned();
    assert!(guest.run(&apply(&vllm("2.0", keys.clone()))).ok().words().contains(&restart));
    assert_eq!(started(&guest, 8000)["version"], "2.0");
    let longer = but(&keys, json!({ "context": 1024 }));
    assert!(guest.run(&apply(&vllm("2.0", longer.clone()))).ok().words().contains(&restart));
    assert_eq!(started(&guest, 8000)["max_model_len"], 1024);

    // What cannot be had, is another file, or does not fit leaves what runs as it is.
    let before = guest.invocation("vllm");
    let error = wrong(&guest, &vllm("3.0", longer.clone()));
    assert!(error.contains("No matching distribution found for vllm==3.0"), "{error}");
    let other = json!({ "path": "/var/lib/vllm/models/qwen", "files": { "config.json": OTHER } });
    let error = wrong(&guest, &vllm("2.0", but(&longer, json!({ "model": other }))));
    assert!(error.contains("config.json has another content than is declared"), "{error}");
    let card = json!({ "card": "card0", "memory": 1 << 30, "total": 4_u64 << 30, "driver": "", "url": "", "sha256": "", "gid": 0, "alone": false });
    let error = wrong(&guest, &vllm("2.0", but(&longer, json!({ "gpus": [card] }))));
    assert!(error.contains("the guest is to have 1024 MiB of its cards"), "{error}");
    assert_eq!(guest.invocation("vllm"), before);

    let webui = |version: &str| {
        let models =
            json!([{ "service": "chat", "key": { "env": "o'd\"d$" } }, { "url": "https://example.org/v1" }]);
        let admin = json!({ "email": "anna@example.org", "password": { "env": "ANNAS" } });
        let requirements = [format!("open-webui=={version}")];
        made(
            "open-webui",
            json!({ "requirements": requirements, "models": models, "secret-key": { "env": "KEY" }, "admin": admin }),
        )
    };
    guest.run(&apply(&webui("1.0"))).ok();
    guest.run(&apply(&webui("1.0"))).nothing_to_do();
    let is = started(&guest, 8080);
    let set = &is["environment"];
    assert_eq!(set["OPENAI_API_BASE_URLS"], "https://chat.workshop.internal/v1;https://example.org/v1");
    assert_eq!(set["OPENAI_API_KEYS"], "o'd\"d$;");
    assert_eq!((&set["WEBUI_SECRET_KEY"], &set["ENABLE_SIGNUP"]), (&json!("KEY"), &json!("false")));
    assert_eq!(guest.sh("stat -c %a /etc/phoenix/open-webui.env"), "600\n");
    assert!(guest.run(&apply(&webui("2.0"))).ok().words().contains(&"unit restart open-webui".to_owned()));
    assert_eq!(
        guest.sh("find /opt/open-webui /opt/vllm ! -user root -o -perm /022 ! -type l | head -3"),
        "",
        "nothing of it is the program's to change"
    );
}
