//! What serves models, as it follows from a blueprint: what of a card is whose, and which driver; and the scripts of it that need no guest.

use std::process::Command;

use blueprint::{Loaded, load_from_memory};
use camino::Utf8PathBuf;
use managers::features::renderer::Renderer;
use managers::features::{RenderError, Rendered};
use serde_json::{Value, json};

use super::{catalog, try_with, with};
use crate::given::but;

const SUM: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const GIB: u64 = 1 << 30;

fn card(memory: u64, driver: &str) -> Value {
    json!({ "card": "card0", "memory": memory * GIB, "total": 24 * GIB, "driver": driver, "url": "", "sha256": "", "gid": 0, "alone": false })
}

fn file(rendered: &Rendered, path: &str) -> String {
    let file = rendered.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"));
    String::from_utf8(file.content.bytes().to_vec()).unwrap()
}

fn refused(made: Result<Rendered, RenderError>) -> String {
    made.unwrap_err().to_string()
}

fn vllm(more: Value) -> Result<Rendered, RenderError> {
    let files = json!({ "config.json": SUM, "model.safetensors": SUM });
    let model = json!({ "name": "qwen", "from": "https://example.org/qwen", "files": files });
    let all = json!({ "requirements": ["vllm==0.33.0"], "model": model });
    try_with("vllm", but(all, more), &std::collections::BTreeMap::new())
}

/// Where a card is shared, what takes nearly all of it where nothing is said takes what its guest is to have.
#[test]
fn vllm_takes_what_its_guest_is_to_have_of_a_card() {
    let conf = |more: Value| file(&vllm(more).unwrap(), "/etc/phoenix/vllm.conf");
    let is = conf(json!({ "gpus": [card(12, "")] }));
    assert!(is.contains("--gpu-memory-utilization 0.5 --tensor-parallel-size 1"), "{is}");
    assert!(is.contains(&format!("memory={}\n", 12 * GIB)), "{is}");
    let is = conf(json!({ "gpus": [card(12, ""), card(6, "")] }));
    assert!(is.contains("--gpu-memory-utilization 0.25 --tensor-parallel-size 2"), "{is}");
    let is = conf(json!({ "gpus": [card(0, "")], "memory-share": "0.4" }));
    assert!(is.contains("--gpu-memory-utilization 0.4 ") && is.contains("memory=0\n"), "{is}");
    assert!(!conf(json!({})).contains("utilization"));
    let is = refused(vllm(json!({ "gpus": [card(0, "")] })));
    assert!(is.contains("say `memory` at the guest's `gpu` and at the card `card0`"), "{is}");
    let is = refused(vllm(json!({ "memory-share": "1.5" })));
    assert!(is.contains("`memory-share` is between 0 and 1: 1.5"), "{is}");
    let is = refused(vllm(json!({ "requirements": ["vllm"] })));
    assert!(is.contains("each of `requirements` has its version"), "{is}");
    let is = refused(vllm(json!({ "model": { "path": "/models/qwen", "files": { "../x": SUM } } })));
    assert!(is.contains("a file of the model is named below its folder: ../x"), "{is}");
    // Its key is in a file of root's, and the command line has none.
    let made = vllm(json!({ "keys": { "anna": { "env": "ANNAS" } } })).unwrap();
    assert_eq!(file(&made, "/etc/phoenix/vllm.key"), "VLLM_API_KEY=\"@@secret:0:env@@\"\n");
    assert!(!file(&made, "/etc/phoenix/vllm.conf").contains("secret"));
}

/// A model is either fetched or on a mount, and all of it is on the card where the guest has one.
#[test]
fn llama_cpp_is_told_of_the_card() {
    let llama = |more: Value| {
        let program = json!({ "url": "https://example.org/x.tar.gz", "sha256": SUM });
        let model = json!({ "path": "/models/x.gguf", "sha256": SUM.to_uppercase() });
        let all = json!({ "program": program, "model": model });
        try_with("llama-cpp", but(all, more), &std::collections::BTreeMap::new())
    };
    let conf = |more: Value| file(&llama(more).unwrap(), "/etc/phoenix/llama-cpp.conf");
    let is = conf(json!({ "gpus": [card(10, "")] }));
    assert!(is.contains("layers=999\n") && is.contains(&format!("memory={}\n", 10 * GIB)), "{is}");
    assert!(is.contains("model=/models/x.gguf\n") && is.contains(&format!("model_sha256={SUM}\n")), "{is}");
    assert!(conf(json!({})).contains("layers=0\n"));
    assert!(conf(json!({ "gpus": [card(10, "")], "gpu-layers": 12 })).contains("layers=12\n"));
    assert!(conf(json!({ "loopback": [8080] })).contains("host=127.0.0.1\n"));
    let both = json!({ "path": "/models/x.gguf", "url": "https://example.org/x.gguf", "sha256": SUM });
    assert!(refused(llama(json!({ "model": both }))).contains("a model has either `url` or `path`"));
    let built = |option: &str| json!({ "program": { "url": "https://example.org/x.tar.gz", "sha256": SUM, "build": true, "cmake": [option] } });
    assert!(conf(built("-DGGML_CUDA=ON")).contains("build='-DGGML_CUDA=ON '\n"));
    let packages = llama(built("-DGGML_CUDA=ON")).unwrap().packages;
    assert!(packages.contains(&"cmake".to_owned()) && packages.contains(&"libgomp1".to_owned()));
    assert!(refused(llama(built("-DX=a b"))).contains("has no blanks: -DX=a b"));
}

/// What a model takes is read from its head: the figures of Llama 3 8B, and what is no model.
#[test]
fn what_a_model_takes_of_a_card_is_read_from_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    let text = |it: &str| [&(it.len() as u64).to_le_bytes()[..], it.as_bytes()].concat();
    let mut head = b"GGUF\x03\0\0\0".to_vec();
    head.extend(0_u64.to_le_bytes());
    head.extend(7_u64.to_le_bytes());
    head.extend([text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("llama")].concat());
    // Words that are not needed, of three kinds, before what is.
    head.extend([text("tokenizer.ggml.tokens"), [9_u32, 8].map(u32::to_le_bytes).concat()].concat());
    head.extend(2_u64.to_le_bytes());
    head.extend([text("a"), text("b")].concat());
    for (key, value) in [
        ("block_count", 32_u32),
        ("embedding_length", 4096),
        ("attention.head_count", 32),
        ("attention.head_count_kv", 8),
        ("context_length", 8192),
    ] {
        let parts =
            [text(&format!("llama.{key}")), 4_u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()];
        head.extend(parts.concat());
    }
    fs_err::write(&path, &head).unwrap();
    fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(4 * GIB).unwrap();
    let program = format!("{}/../../catalog/llama-cpp/llama-cpp-fits", env!("CARGO_MANIFEST_DIR"));
    let fits = |tokens: &str, cache: &str, layers: &str, limit: u64| {
        let mut command = Command::new("python3");
        command.arg(&program).arg(&path).args([tokens, cache, layers]).arg(limit.to_string());
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if output.status.success() { Ok(said) } else { Err(said) }
    };
    // 32 layers with a key and a value of 8 heads of 128 numbers of two bytes are 128 KiB for each token.
    let said = fits("16384", "f16", "999", 10 * GIB).unwrap();
    assert!(said.contains("6.5 GiB: 4.0 GiB of weights, 2.0 GiB for 16384 tokens"), "{said}");
    let said = fits("16384", "f16", "999", 6 * GIB).unwrap_err();
    assert!(said.contains("it takes about 6.5 GiB") && said.contains("6.0 GiB of its card"), "{said}");
    let said = fits("16384", "q8_0", "999", 0).unwrap();
    assert!(said.contains("1.1 GiB for 16384 tokens"), "{said}");
    assert!(fits("16384", "f16", "16", 0).unwrap().contains("1.0 GiB for 16384 tokens"));
    assert!(fits("16384", "f16", "0", 1).unwrap().contains("none of it is on a card"));
    for (cut, said) in [
        (3, "it ends in the middle"),
        (40, "it ends in the middle"),
        (head.len() - 1, "it ends in the middle"),
    ] {
        fs_err::write(&path, &head[..cut]).unwrap();
        assert!(fits("1", "f16", "1", 0).unwrap_err().contains(said), "{cut}");
    }
    fs_err::write(&path, "<html>not found</html>").unwrap();
    assert!(fits("1", "f16", "1", 0).unwrap_err().contains("it is no GGUF"));
}

/// What serves models is told what the blueprint says of the card.
#[test]
fn a_guest_is_told_of_its_cards() {
    let site = format!(
        r#"{{
        "site": {{ "name": "workshop", "domain": "workshop.internal" }},
        "target": {{ "lab": {{}} }},
        "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }} }},
        "hypervisor": {{ "gpus": {{ "card0": {{ "pci": "0000:01:00.0", "memory": "24G", "driver": "570.133.07" }} }} }},
        "containers": {{ "chat": {{
            "gpu": {{ "card": "card0", "memory": "10G" }},
            "features": [{{ "nvidia": {{ "installer": {{ "sha256": "{SUM}" }} }} }}, "echo"]
        }} }}
    }}"#
    );
    let echo = r#"{
        "description": "Says what it is told.",
        "parameters": { "gpus": { "type": "json", "derived": true } },
        "files": [{ "path": "/etc/echo", "content": "{{ gpus | json }}" }]
    }"#;
    let files: Vec<(Utf8PathBuf, Vec<u8>)> = vec![
        ("site.json".into(), site.into_bytes()),
        ("features/echo/feature.json".into(), echo.as_bytes().to_vec()),
    ];
    let Loaded { blueprint, .. } =
        load_from_memory(files, catalog()).unwrap_or_else(|e| panic!("{}", e.to_text()));
    let roots = plan::wire::Roots::one("root");
    let desired = plan::wire::wire(&blueprint, &roots, &Renderer::new(&blueprint)).unwrap();
    let rendered = |name: &str| -> Rendered {
        let feature = desired.guests["chat"].features.iter().find(|feature| feature.name == name).unwrap();
        serde_json::from_value((*feature.payload).clone()).unwrap()
    };
    let told: Value = serde_json::from_str(&file(&rendered("echo"), "/etc/echo")).unwrap();
    assert_eq!(told, json!([card(10, "570.133.07")]));
    let wanted = file(&rendered("nvidia"), "/etc/phoenix/nvidia");
    let url =
        "https://download.nvidia.com/XFree86/Linux-x86_64/570.133.07/NVIDIA-Linux-x86_64-570.133.07.run";
    assert!(wanted.contains("version=570.133.07\n") && wanted.contains(&format!("url={url}\n")), "{wanted}");
}

/// NVIDIA's libraries are of the version that the node has loaded, or nothing is done. A stand-in for the installer puts files in place.
#[test]
fn nvidias_libraries_are_of_the_nodes_version() {
    let nvidia = |more: Value| {
        let all = json!({ "installer": { "sha256": SUM } });
        try_with("nvidia", but(all, more), &std::collections::BTreeMap::new())
    };
    assert!(refused(nvidia(json!({ "gpus": [card(10, "")] }))).contains("which version of NVIDIA's driver?"));
    let other = refused(nvidia(json!({ "gpus": [card(10, "570.133.07")], "version": "550.54.14" })));
    assert!(other.contains("the guest cannot have 550.54.14"), "{other}");
    // What the card says is installed on the node is what the guest has.
    let alone =
        |card: Value| try_with("nvidia", json!({ "gpus": [card] }), &std::collections::BTreeMap::new());
    let is = refused(alone(card(10, "570.133.07")));
    assert!(is.contains("which installer of NVIDIA's? Say the `sha256` at `driver` of the card"), "{is}");
    let own = json!({ "url": "https://example.org/x.run", "sha256": SUM });
    let wanted = file(&alone(but(card(10, "570.133.07"), own)).unwrap(), "/etc/phoenix/nvidia");
    assert!(wanted.contains(&format!("url=https://example.org/x.run\nsha256={SUM}\n")), "{wanted}");
    let rendered =
        with("nvidia", json!({ "installer": { "sha256": SUM }, "gpus": [card(10, "570.133.07")] }));

    let dir = tempfile::tempdir().unwrap();
    let at = |path: &str| dir.path().join(path);
    let put = |path: &str, text: &str| {
        fs_err::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs_err::write(at(path), text).unwrap();
    };
    let root = dir.path().to_str().unwrap().to_owned();
    let sh = |text: &str| {
        let output = Command::new("sh").args(["-c", text]).env("ROOT", &root).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if output.status.success() { Ok(said) } else { Err(said) }
    };
    let preflight = rendered.preflight[0].command.replace("/proc/", &format!("{root}/proc/"));
    assert_eq!(sh(&preflight).unwrap_err(), "no driver of NVIDIA is loaded\n");
    let line = |version: &str| {
        format!(
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (x@y)  Fri Feb 14 17:31:04 UTC 2025\nGCC version:  gcc version 12.2.0\n"
        )
    };
    put("proc/driver/nvidia/version", &line("570.86.15"));
    assert!(sh(&preflight).unwrap_err().contains("570.86.15"));
    put("proc/driver/nvidia/version", &line("570.133.07"));
    assert_eq!(sh(&preflight), Ok(String::new()));
    put(
        "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.07  Thu Feb 22 01:44:30 UTC 2024\n",
    );
    assert_eq!(sh(&preflight), Ok(String::new()));

    let script = format!("{}/../../catalog/nvidia/nvidia", env!("CARGO_MANIFEST_DIR"));
    let have = format!("sh {script} have 570.133.07");
    sh(&have).unwrap_err();
    put("stand-in-for-the-installer.run", include_str!("stand-in-for-nvidia.sh"));
    let install = |version: &str, brings: &str| {
        sh(&format!("BRINGS={brings} sh {script} install {version} {root}/stand-in-for-the-installer.run"))
    };
    let said = install("570.133.07", "570.86.15").unwrap_err();
    assert!(said.contains("is it the installer of another version?"), "{said}");
    install("570.133.07", "570.133.07").unwrap();
    sh(&have).unwrap();
    // Of two versions the one counts that the link leads to.
    install("570.86.15", "570.86.15").unwrap();
    sh(&have).unwrap_err();
    let asked = fs_err::read_to_string(at("asked")).unwrap();
    assert!(asked.lines().all(|line| line.contains("--silent --no-kernel-modules ")), "{asked}");
}
