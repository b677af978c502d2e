//! Language models. llama.cpp's server takes a quarter of an hour to build, so a stand-in for it is served, unless the environment
//! variable `PHOENIX_LLAMA_SERVER` names the real program: then that is asked after it, with a model of dice.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, with};
use crate::given::but;

mod ollama;
mod wheels;

const GGUF: &str = include_str!("gguf.py");
const UP: &str = include_str!("up.py");
const STAND_IN: &str = include_str!("stand-in-llama.py");

/// The SHA-256 of nothing that is served.
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the real one is looked for by.
const REAL: &str = "PHOENIX_LLAMA_SERVER";

/// Has what models share, a place to fetch from, and two models there with a program that stands in.
fn prepare(guest: &Guest) {
    for shared in ["downloads", "model-tools"] {
        guest.run(&apply(&with(shared, json!({})))).ok();
    }
    guest.write("/srv/up.py", UP);
    guest.write("/srv/gguf.py", GGUF);
    guest.sh("mkdir -p /srv/up && python3 /srv/gguf.py /srv/up/one.gguf 1 && python3 /srv/gguf.py /srv/up/two.gguf 2
              systemd-run -q --unit=up python3 /srv/up.py 9000");
}

fn sum(guest: &Guest, file: &str) -> String {
    guest.sh(&format!("sha256sum </srv/up/{file} | cut -c 1-64")).trim().to_owned()
}

fn served(guest: &Guest, file: &str) -> Value {
    json!({ "url": format!("http://127.0.0.1:9000/{file}"), "sha256": sum(guest, file) })
}

fn llama(program: &Value, model: Value, more: Value) -> Rendered {
    let all = json!({ "program": program, "model": model, "packages": [], "name": "dice", "context": 256 });
    with("llama-cpp", but(all, more))
}

/// What the stand-in was started with.
fn started(guest: &Guest) -> Value {
    serde_json::from_str(&guest.sh("curl -sS -m 5 http://127.0.0.1:8080/stand-in")).unwrap()
}

fn wrong(guest: &Guest, feature: &Rendered) -> String {
    let ran = guest.run(&apply(feature));
    ran.failed().error(&feature.name).unwrap().to_owned()
}

#[test]
fn llama_cpp_serves_a_model_that_is_known_by_its_sum() {
    let Some(guest) = Guest::new("llama_cpp_serves_a_model_that_is_known_by_its_sum") else { return };
    prepare(&guest);
    guest.write("/srv/pack/llama-b1/llama-server", STAND_IN);
    guest.sh("chmod 755 /srv/pack/llama-b1/llama-server && tar -czf /srv/up/program.tar.gz -C /srv/pack .");
    let program = served(&guest, "program.tar.gz");
    let (one, two) = (served(&guest, "one.gguf"), served(&guest, "two.gguf"));

    // Fetched piece by piece, by a line that is cut off after each; then nothing is fetched, and nothing started anew.
    let plain = llama(&program, one.clone(), json!({}));
    guest.run(&apply(&plain)).ok();
    let asked = guest.sh("grep one.gguf /srv/asked");
    assert!(asked.starts_with("/one.gguf -\n/one.gguf bytes=200000-\n"), "{asked}");
    let before = guest.invocation("llama-cpp");
    guest.run(&apply(&plain)).nothing_to_do();
    assert_eq!((guest.sh("grep one.gguf /srv/asked"), guest.invocation("llama-cpp")), (asked, before));
    let is = started(&guest);
    assert_eq!(is["sum"], one["sha256"]);
    assert_eq!((&is["ctx_size"], &is["parallel"], &is["n_gpu_layers"]), (&json!(256), &json!(1), &json!(0)));
    assert_eq!(
        (&is["alias"], &is["host"], &is["no_slots"]),
        (&json!("dice"), &json!("0.0.0.0"), &json!(true))
    );
    assert_ne!(is["user"], 0);
    assert_eq!(is["threads"].to_string(), guest.sh("nproc").trim());

    // P-32: what is said otherwise is in force at once, a model as well as a setting, and a key is asked for.
    let restart = "unit restart llama-cpp";
    let more =
        json!({ "parallel": 2, "keys": { "anna": { "env": "ANNAS" } }, "arguments": ["--embeddings"] });
    let words = guest.run(&apply(&llama(&program, one.clone(), more.clone()))).ok().words();
    assert!(words.contains(&restart.to_owned()), "{words:?}");
    assert_eq!((&started(&guest)["ctx_size"], &started(&guest)["embeddings"]), (&json!(512), &json!(true)));
    let ask = "curl -sS -m 5 -o /dev/null -w '%{http_code}' -d '{}' http://10.0.0.53:8080/v1/completions";
    assert_eq!(guest.sh(ask), "401");
    assert_eq!(guest.sh(&format!("{ask} -H 'Authorization: Bearer ANNAS'")), "200");
    assert_eq!(guest.sh("stat -c '%a %U:%G' /etc/phoenix/llama-cpp.keys"), "640 root:llama-cpp\n");
    assert!(!guest.sh("cat /proc/$(systemctl show -P MainPID llama-cpp)/cmdline").contains("ANNAS"));
    let second = llama(&program, two.clone(), more.clone());
    let words = guest.run(&apply(&second)).ok().words();
    assert!(words.contains(&restart.to_owned()), "{words:?}");
    assert_eq!(started(&guest)["sum"], two["sha256"]);

    // What is not what is declared is not served: another file at the address, one that was changed here, one that does not fit.
    let before = guest.invocation("llama-cpp");
    let error = wrong(&guest, &llama(&program, but(one.clone(), json!({ "sha256": OTHER })), more.clone()));
    assert!(error.contains("has another content than is declared"), "{error}");
    let card = json!([{ "card": "card0", "memory": 1 << 20, "total": 1 << 30, "driver": "", "url": "", "sha256": "", "gid": 0, "alone": false }]);
    let error = wrong(&guest, &llama(&program, one.clone(), but(&more, json!({ "gpus": card }))));
    assert!(error.contains("it takes about 0.5 GiB") && error.contains("0.0 GiB of its card"), "{error}");
    assert_eq!(
        (guest.invocation("llama-cpp"), started(&guest)["sum"].clone()),
        (before, two["sha256"].clone())
    );
    guest.run(&apply(&second)).ok();
    let path = format!("/var/lib/llama-cpp/models/{}.gguf", two["sha256"].as_str().unwrap());
    guest.sh(&format!("printf x | dd of={path} bs=1 seek=300000 conv=notrunc status=none"));
    guest.sh("systemctl restart llama-cpp || true; journalctl -u llama-cpp -o cat | grep 'has another content than is declared'");
    guest.run(&apply(&second)).ok();
    assert_eq!(started(&guest)["sum"], two["sha256"]);

    // Who does not come up, or answers without a token, is said to be so, with what it said last.
    let dead = but(&more, json!({ "arguments": ["--stand-in-dead"] }));
    let error = wrong(&guest, &llama(&program, two.clone(), dead));
    assert!(error.contains("the stand-in ends at once"), "{error}");
    let mute = but(&more, json!({ "arguments": ["--stand-in-mute"] }));
    let mut mute = llama(&program, two.clone(), mute);
    mute.health.iter_mut().for_each(|health| health.within = Some(1));
    let error = wrong(&guest, &mute);
    assert!(error.contains("there is no token in its answer"), "{error}");

    // On a mount it is not touched, and has to be readable for the service's user.
    guest.sh("mkdir -p -m 0750 /models && cp /srv/up/one.gguf /models/");
    let mounted = llama(&program, json!({ "path": "/models/one.gguf", "sha256": one["sha256"] }), json!({}));
    assert!(wrong(&guest, &mounted).contains("the user llama-cpp may not read /models/one.gguf"));
    guest.sh("chmod 755 /models");
    guest.run(&apply(&mounted)).ok();
    assert_eq!(started(&guest)["sum"], one["sha256"]);
    // Where an address asks who fetches, it is told by a file and no argument.
    let url = "http://127.0.0.1:9000/guarded/two.gguf";
    guest.sh("rm /var/lib/llama-cpp/models/*");
    let guarded = json!({ "url": url, "sha256": two["sha256"], "token": { "env": "TOKEN" } });
    guest.run(&apply(&llama(&program, guarded, json!({ "use": "embeddings" })))).ok();
    guest.reboot();
    guest.sh("/usr/local/lib/phoenix/model await llama-cpp http://127.0.0.1:8080/health 60");
    assert_eq!(started(&guest)["sum"], two["sha256"]);

    if let Some(real) = std::env::var_os(REAL) {
        the_real_one(&guest, &real, &one);
    } else {
        println!("a stand-in for llama-server: {REAL} does not name the real one");
    }
}

/// The same feature with the real program, on the processor.
fn the_real_one(guest: &Guest, program: &std::ffi::OsStr, model: &Value) {
    guest.sh("rm -rf /srv/pack && mkdir /srv/pack");
    guest.copy(std::path::Path::new(program), "/srv/pack/llama-server");
    // What it is mostly linked with, beside it as in the archives of releases.
    let library = std::path::Path::new("/usr/lib/x86_64-linux-gnu/libgomp.so.1");
    if library.exists() {
        guest.copy(library, "/srv/pack/libgomp.so.1");
    }
    // Larger than the pieces of the bad line.
    guest.sh("chmod 755 /srv/pack/llama-server && tar -czf /srv/up/real.tar.gz -C /srv/pack .
              sed -i 's/^MOST = .*/MOST = 1 << 30/' /srv/up.py; systemd-run -q --unit=up-whole python3 /srv/up.py 9000");
    let real = served(guest, "real.tar.gz");
    let more = json!({ "keys": { "anna": { "env": "ANNAS" } }, "parallel": 2, "cache": "f16" });
    let feature = llama(&real, model.clone(), more);
    guest.run(&apply(&feature)).ok();
    guest.run(&apply(&feature)).nothing_to_do();
    let said = guest.sh("curl -sS -m 20 -H 'Authorization: Bearer ANNAS' -d '{\"prompt\":\"hello\",\"max_tokens\":4}' http://127.0.0.1:8080/v1/completions");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["usage"]["completion_tokens"].as_u64().is_some_and(|n| n >= 1), "{said}");
    // Word by word, and only for those who show a key.
    let chat = "-d '{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":4,\"stream\":true}' http://127.0.0.1:8080/v1/chat/completions";
    let said = guest.sh(&format!("curl -sS -m 20 -N -H 'Authorization: Bearer ANNAS' {chat}"));
    assert!(said.matches("data: {").count() >= 2 && said.trim_end().ends_with("data: [DONE]"), "{said}");
    let code = guest.sh(&format!("curl -sS -m 20 -o /dev/null -w '%{{http_code}}' {chat}"));
    assert_eq!(code, "401");
    println!("the real llama-server answered");
}
