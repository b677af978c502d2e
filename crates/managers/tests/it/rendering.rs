//! Features from their description to what a guest gets: purely, with nothing run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers beside them")]

use std::collections::BTreeMap;
use std::convert::Infallible;

use blueprint::model::SecretRef;
use managers::features::{GuestFacts, Mode, Rendered, builtin, order, render, script};
use serde_json::{Value, json};

use crate::programs::features::{
    ROOT_PEM, base, built_in, check, facts, gateway, own_feature, parameters, site, try_with, with,
};

/// What a feature comes to, without its words: a line for each thing it puts in place, and who is told.
fn outline(rendered: &Rendered) -> Vec<String> {
    let mut lines: Vec<String> = rendered.packages.iter().map(|name| format!("package {name}")).collect();
    for folder in &rendered.folders {
        let mode = folder.mode.map(|mode| format!(" {mode:04o}")).unwrap_or_default();
        let owner = folder.owner.as_ref().map(|owner| format!(" {owner}")).unwrap_or_default();
        lines.push(format!("folder {}{mode}{owner}", folder.path));
    }
    let told = |reloads: &[String], restarts: &[String], runs: &[String]| {
        let all = [("reloads", reloads), ("restarts", restarts), ("runs", runs)];
        let said = all.iter().filter(|(_, names)| !names.is_empty());
        said.map(|(word, names)| format!(", {word} {}", names.join(" "))).collect::<String>()
    };
    for file in &rendered.files {
        let block = file.block.as_ref().map(|name| format!(" block {name}")).unwrap_or_default();
        let checked = if file.check.is_some() { ", checked" } else { "" };
        let many = if file.one_of_many { ", one of many" } else { "" };
        let told = told(&file.reloads, &file.restarts, &file.runs);
        lines
            .push(format!("file {}{block} {:04o} {}{checked}{many}{told}", file.path, file.mode, file.owner));
    }
    for prune in &rendered.prunes {
        let pattern = prune.pattern.as_ref().map(|pattern| format!("/{pattern}")).unwrap_or_default();
        let told = told(&prune.reloads, &prune.restarts, &prune.runs);
        lines.push(format!("nothing else in {}{pattern}{told}", prune.folder));
    }
    lines.extend(rendered.commands.iter().map(|command| format!("command {}", command.name)));
    lines.extend(rendered.units.keys().map(|unit| format!("unit {unit}")));
    lines.extend(rendered.health.iter().map(|health| {
        let json = serde_json::to_value(health).unwrap();
        let kind = ["http", "tcp", "command"].into_iter().find(|kind| !json[kind].is_null()).unwrap();
        format!("health {kind} {}", json[kind].as_str().unwrap())
    }));
    lines
}

/// The text of a file.
fn content<'a>(rendered: &'a Rendered, path: &str) -> &'a str {
    let file = rendered.files.iter().find(|file| file.path == path);
    std::str::from_utf8(file.unwrap_or_else(|| panic!("{path} is not there")).content.bytes()).unwrap()
}

#[test]
fn built_in_features_render_to_what_they_are_for() {
    let base = base();
    let put = [
        "package ca-certificates",
        "package tzdata",
        "file /etc/apt/apt.conf.d/90phoenix 0644 root:root",
        "file /etc/systemd/journald.conf.d/phoenix.conf 0644 root:root, restarts systemd-journald",
        "file /etc/hosts block names 0644 root:root",
        "file /etc/timezone 0644 root:root",
        "file /usr/local/lib/phoenix/updates 0755 root:root",
        "file /etc/systemd/system/phoenix-updates.service 0644 root:root",
        "file /etc/systemd/system/phoenix-updates.timer 0644 root:root, restarts phoenix-updates.timer",
        "command set the time zone",
        "unit phoenix-updates.timer",
    ];
    assert_eq!(outline(&base), put);
    assert_eq!(content(&base, "/etc/hosts"), "10.0.0.2 notes.workshop.internal wiki.workshop.internal\n");
    assert_eq!(content(&base, "/etc/timezone"), "Europe/Berlin\n");

    let trusted = with(&built_in("trusted-ca"), json!({ "root": ROOT_PEM }));
    let root = "/usr/local/share/ca-certificates/phoenix-workshop.crt";
    let rebuild = "rebuild the list of trusted certificates";
    let put = [
        "package ca-certificates".to_owned(),
        "file /usr/local/lib/phoenix/trust 0755 root:root".to_owned(),
        format!("file {root} 0644 root:root"),
        format!("command {rebuild}"),
    ];
    assert_eq!(outline(&trusted), put);
    assert_eq!(content(&trusted, root), ROOT_PEM);
    assert!(trusted.commands[0].unless.as_deref().unwrap().contains(root), "{:?}", trusted.commands);
    // While another takes its place, whoever has read it in this guest reads it again.
    let roots = json!({
        "root": ROOT_PEM, "roots": [{ "id": "a1", "pem": ROOT_PEM }],
        "readers": { "reloads": ["nginx", "redis-server"], "restarts": ["app"] },
    });
    let each = "file /usr/local/share/ca-certificates/phoenix-workshop-a1.crt 0644 root:root, one of many, \
                reloads nginx redis-server, restarts app, runs rebuild";
    let lines = outline(&with(&built_in("trusted-ca"), roots));
    assert!(lines.iter().any(|line| line.starts_with(each)), "{lines:#?}");

    let site = site("<h1>Notes</h1>\n");
    let put = [
        "package nginx-light",
        "folder /srv/site",
        "file /srv/site/index.html 0644 root:root",
        "file /srv/site/img/a b'\".bin 0644 root:root",
        "file /etc/nginx/conf.d/site.conf 0644 root:root, checked, reloads nginx",
        "nothing else in /srv/site",
        "command remove Debian's default site",
        "unit nginx",
        "health http http://127.0.0.1:80/",
    ];
    assert_eq!(outline(&site), put);
    assert_eq!(content(&site, "/srv/site/index.html"), "<h1>Notes</h1>\n");
    assert_eq!(site.files[1].content.bytes(), [0, 255, 10, 13]);
    let served = content(&site, "/etc/nginx/conf.d/site.conf");
    assert!(served.contains("listen 80;") && served.contains("root /srv/site;"), "{served}");

    let gateway = gateway(&["notes", "wiki"]);
    let put = [
        "package nginx-light",
        "package iproute2",
        "folder /etc/nginx/phoenix.d",
        "folder /etc/nginx/streams.d",
        "folder /etc/nginx/users.d 0750 root:www-data",
        "folder /etc/phoenix/certificates 0711",
        "folder /var/lib/phoenix/acme-challenge 0755",
        "file /usr/local/lib/phoenix/nginx-guard 0755 root:root",
        "file /etc/systemd/system/nginx.service.d/phoenix.conf 0644 root:root",
        "file /etc/nginx/forwarded.conf 0644 root:root, reloads nginx",
        "file /etc/nginx/gateway.conf 0644 root:root, checked, reloads nginx",
        "file /etc/nginx/phoenix.d/notes.conf 0644 root:root, one of many, reloads nginx",
        "file /etc/nginx/phoenix.d/wiki.conf 0644 root:root, one of many, reloads nginx",
        "file /etc/nginx/nginx.conf 0644 root:root, reloads nginx",
        "nothing else in /etc/nginx/users.d",
        "nothing else in /etc/nginx/phoenix.d/*.conf, reloads nginx",
        "nothing else in /etc/nginx/streams.d/*.conf, reloads nginx",
        "unit nginx",
        "health tcp 127.0.0.1:443",
        "health command /usr/local/lib/phoenix/nginx-guard --bad",
    ];
    assert_eq!(outline(&gateway), put);
    for name in ["notes", "wiki"] {
        let served = content(&gateway, &format!("/etc/nginx/phoenix.d/{name}.conf"));
        for said in [
            format!("server_name {name}.workshop.internal;"),
            format!("ssl_certificate /etc/phoenix/certificates/{name}/fullchain.pem;"),
            format!("ssl_certificate_key /etc/phoenix/certificates/{name}/key.pem;"),
            "127.0.0.1:8080".to_owned(),
        ] {
            assert!(served.contains(&said), "{said} is not in\n{served}");
        }
    }
}

#[test]
fn built_in_features_are_complete() {
    let folders = builtin().filter_map(|(path, _)| Some(path.split_once('/')?.0));
    let names: std::collections::BTreeSet<_> = folders.filter(|name| *name != "stacks").collect();
    assert!(names.len() >= 5 && !names.contains("artifacts"), "{names:?}");
    for name in &names {
        let feature = built_in(name);
        assert!(feature.spec.description.ends_with('.'), "{name}");
        for (parameter, described) in &feature.spec.parameters {
            assert!(described.description.ends_with('.'), "{name}.{parameter}");
        }
    }
    let all: BTreeMap<_, _> = names.iter().map(|name| (*name, built_in(name).spec.requires)).collect();
    let order = order(&["nginx-gateway", "static-site"], |name| all.get(name).map(Vec::as_slice)).unwrap();
    assert_eq!(order, ["base", "trusted-ca", "nginx-gateway", "static-site"]);
}

#[test]
fn a_rendered_feature_survives_a_plan_file() {
    for rendered in [base(), site("x"), gateway(&["notes"])] {
        let json = serde_json::to_string(&rendered).unwrap();
        assert_eq!(serde_json::from_str::<Rendered>(&json).unwrap(), rendered);
    }
}

#[test]
fn the_fingerprint_follows_everything_that_is_rendered() {
    assert_eq!(site("a").fingerprint, site("a").fingerprint);
    assert_ne!(site("a").fingerprint, site("b").fingerprint);
    assert_eq!(site("a").fingerprint.len(), 16);
    assert_ne!(gateway(&["notes"]).fingerprint, gateway(&["notes", "wiki"]).fingerprint);
    let other = GuestFacts { timezone: Some("Asia/Tokyo".into()), hostname: "other".into(), ..facts() };
    let moved = render(&built_in("base"), &parameters(json!({})), &BTreeMap::new(), &other).unwrap();
    assert_ne!(moved.fingerprint, with(&built_in("base"), json!({})).fingerprint);
}

#[test]
fn secrets_are_in_the_script_alone() {
    let spec = json!({
        "parameters": { "password": { "type": "secret" }, "token": { "type": "secret" } },
        "files": [{ "path": "/etc/x", "content": "a={{ password }} b={{ token }} a={{ password }}", "mode": "0600" }],
    });
    let feature = own_feature("x", spec, &[]);
    let values = json!({ "password": { "env": "P" }, "token": { "generate": "t" } });
    let rendered = with(&feature, values.clone());
    assert_eq!(rendered.secrets, [SecretRef::Env("P".into()), SecretRef::Generate("t".into())]);
    // A secret that looks like a placeholder stays what it is.
    let made = script(std::slice::from_ref(&rendered), Mode::Apply, &|secret: &SecretRef| {
        Ok::<_, Infallible>(
            if matches!(secret, SecretRef::Env(_)) { "@@secret:1@@" } else { "s3cret" }.to_owned(),
        )
    })
    .unwrap();
    let text = String::from_utf8(made.text.clone()).unwrap();
    // base64 of `a=@@secret:1@@ b=s3cret a=@@secret:1@@`
    assert!(text.contains("YT1AQHNlY3JldDoxQEAgYj1zM2NyZXQgYT1AQHNlY3JldDoxQEA="), "{text}");
    assert!(!format!("{made:?}").contains("cret:1"));
    let json = serde_json::to_string(&rendered).unwrap();
    assert!(json.contains("@@secret:0@@") && !json.contains("s3cret"), "{json}");
    let refused = script(&[rendered], Mode::Apply, &|_: &SecretRef| Err::<String, _>("not set")).unwrap_err();
    assert_eq!(refused.to_string(), "failed to get a secret for the feature `x`");

    let in_command = json!({
        "parameters": { "password": { "type": "secret" } },
        "commands": [{ "name": "log in", "run": "login {{ password }}", "unless": "false" }],
    });
    let error =
        try_with(&own_feature("x", in_command, &[]), json!({ "password": { "env": "P" } })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`commands[0].run` in the feature `x` holds a secret, which may only be in a file"
    );
    let error = try_with(&feature, json!({ "password": "hunter2", "token": { "env": "T" } })).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the parameter `password` of the feature `x` must be a reference to a secret"
    );
}

#[test]
fn secrets_inside_derived_values_are_references_until_the_script_is_made() {
    let spec = json!({
        "parameters": { "list": { "type": "json", "derived": true } },
        "files": [{ "path": "/etc/x", "content": "{% for e in list %}{{ e.user }}={{ e.key }};{{ e.key | crypt(e.user) }} {% endfor %}" }],
    });
    let feature = own_feature("x", spec, &[]);
    let list = json!([
        { "user": "anna", "key": { "$secret": { "env": "A" } } },
        { "user": "ben", "key": { "$secret": { "generate": "b" } } },
        { "user": "eve", "key": { "$secret": { "env": "A" } } },
    ]);
    let rendered = with(&feature, json!({ "list": list }));
    // What the salts of hashes are made from comes last.
    let salts = SecretRef::Generate("password-salts".into());
    assert_eq!(rendered.secrets, [SecretRef::Env("A".into()), SecretRef::Generate("b".into()), salts]);
    let made = |password: &str| {
        let password = password.to_owned();
        let text = script(std::slice::from_ref(&rendered), Mode::Apply, &|_: &SecretRef| {
            Ok::<_, Infallible>(password.clone())
        });
        text.unwrap().text
    };
    assert_eq!(made("hunter2"), made("hunter2"), "the same hash each time");
    assert_ne!(made("hunter2"), made("hunter3"));
    let json = serde_json::to_string(&rendered).unwrap();
    assert!(json.contains("anna=@@secret:0@@;@@secret:0:") && json.contains("eve=@@secret:0@@;"), "{json}");
    // What is no reference may be the secret itself, so it is not repeated.
    let error = try_with(&feature, json!({ "list": [{ "user": "anna", "key": { "$secret": "hunter2" } }] }))
        .unwrap_err();
    let error = error.to_string();
    assert!(error.contains("a reference to a secret") && !error.contains("hunter2"), "{error}");
    let hashed = json!({ "parameters": { "a": { "type": "string", "default": "x" } }, "files": [{ "path": "/a", "content": "{{ a | crypt(a) }}" }] });
    let error = try_with(&own_feature("x", hashed, &[]), json!({})).unwrap_err().to_string();
    assert!(error.contains("line 1: ") && error.contains("crypt"), "{error}");
}

// P-32, P-56: what is wrong with a feature is said before anything is contacted, with its place.
#[test]
fn what_is_wrong_with_a_feature_is_said_with_its_place() {
    let wrong = |spec: Value| {
        try_with(&own_feature("x", spec, &[("t", "one\n{{ nothing }}\n")]), json!({}))
            .unwrap_err()
            .to_string()
    };
    for (spec, message) in [
        (json!({ "parameters": { "a": { "type": "string" } } }), "the feature `x` needs the parameter `a`"),
        (
            json!({ "files": [{ "path": "/a", "template": "t" }] }),
            "failed to render `t` of the feature `x`, line 2: `nothing` is undefined",
        ),
        (
            json!({ "files": [{ "path": "a", "content": "" }] }),
            "`files[0].path` in the feature `x` is no absolute path: `a`",
        ),
        (
            json!({ "files": [{ "path": "/a/../b", "content": "" }] }),
            "`files[0].path` in the feature `x` is a path with an empty part, `.` or `..`: `/a/../b`",
        ),
        (
            json!({ "files": [{ "path": "/a" }] }),
            "`files[0]` in the feature `x` must have one of template, from and content",
        ),
        (
            json!({ "files": [{ "path": "/a", "template": "u" }] }),
            "`files[0]` in the feature `x` takes the file `u`, which the feature does not have",
        ),
        (
            json!({ "files": [{ "path": "/a", "content": "", "mode": "rw" }] }),
            "`files[0].mode` in the feature `x` is no mode like 0644: `rw`",
        ),
        (
            json!({ "files": [{ "path": "/a", "content": "", "owner": "Root" }] }),
            "`files[0].owner` in the feature `x` is no user or user:group: `Root`",
        ),
        (json!({ "packages": ["a b"] }), "`packages[0]` in the feature `x` is no package name: `a b`"),
        (json!({ "units": { "a b": {} } }), "`units.a b` in the feature `x` is no unit name: `a b`"),
        (json!({ "health": [{}] }), "`health[0]` in the feature `x` must be one of http, tcp and command"),
        (
            json!({ "files": [{ "path": "/a", "content": "" }, { "path": "/a", "content": "" }] }),
            "`files` in the feature `x` puts `/a` in place twice",
        ),
        (
            json!({ "files": [{ "path": "/a", "content": "", "runs": "b" }] }),
            "`runs` in the feature `x` names the command `b`, which does not exist",
        ),
        (
            json!({ "files": [{ "path": "/a", "content": "", "each": "b" }] }),
            "`files[0]` in the feature `x` goes over `b`, which is no list parameter",
        ),
    ] {
        assert_eq!(wrong(spec), message);
    }
    let port = json!({ "parameters": { "port": { "type": "port", "default": 80 } } });
    let error = try_with(&own_feature("x", port.clone(), &[]), json!({ "port": 0 })).unwrap_err();
    assert_eq!(error.to_string(), "the parameter `port` of the feature `x` must be a port, 1 to 65535");
    let error = try_with(&own_feature("x", port, &[]), json!({ "prot": 1 })).unwrap_err();
    assert_eq!(error.to_string(), "the feature `x` has no parameter `prot`");
    let both = [
        own_feature("a", json!({ "files": [{ "path": "/a", "content": "" }] }), &[]),
        own_feature("b", json!({ "files": [{ "path": "/a", "content": "" }] }), &[]),
    ]
    .map(|f| with(&f, json!({})));
    let error = script(&both, Mode::Check, &|_: &SecretRef| Ok::<_, Infallible>(String::new())).unwrap_err();
    assert_eq!(error.to_string(), "the features `a` and `b` both want to be `/a`");
}

// Every guest has a certificate of the workshop: who asks for one is told whose, or that anybody's will do.
#[test]
fn who_asks_for_certificates_is_told_whose() {
    let identity = crate::given::identity("notes", "guest-notes");
    let made = |name: &str, more: Value| {
        let all = json!({ "tls": true, "client-certificates": true, "identity": identity });
        try_with(&built_in(name), crate::given::but(all, more))
    };
    let python = |more: Value| made("python-service", crate::given::but(json!({ "source": "api/" }), more));
    for refused in [made("node-exporter", json!({})), python(json!({}))] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("`client-certificates` needs to know whose"), "{error}");
    }
    let proxies = json!(["mesh.guest.workshop.internal"]);
    let both = json!({ "proxies": proxies, "client-names": ["prometheus.guest.workshop.internal"] });
    let front = "/etc/phoenix/node-exporter-tls.cfg";
    let taken = |more: Value| {
        let rendered = made("node-exporter", more).unwrap();
        let rejects = content(&rendered, front).lines().filter(|line| line.contains(" reject "));
        rejects.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let names = "mesh.guest.workshop.internal prometheus.guest.workshop.internal";
    let unless = format!("tcp-request session reject unless {{ ssl_c_s_dn(CN) -m str {names} }}");
    assert_eq!(taken(both.clone()), std::slice::from_ref(&unless));
    assert!(taken(json!({ "client-names": ["*"], "proxies": proxies })).is_empty());
    let users = json!({ "users": { "prometheus": { "generate": "x" } } });
    assert!(taken(users).is_empty(), "they have a password");
    // What was taken with a guest is refused, whoever is named.
    let refused = json!([{ "issuer": "Workshop 1", "names": ["notes.guest.workshop.internal"] }, { "issuer": "Workshop 0", "names": [] }]);
    assert_eq!(
        taken(crate::given::but(both.clone(), json!({ "refused": refused }))),
        [
            unless,
            "tcp-request session reject if { ssl_c_i_dn(CN) -m str \"Workshop 1\" } { ssl_c_s_dn(CN) -m str notes.guest.workshop.internal }"
                .to_owned(),
            "tcp-request session reject if { ssl_c_i_dn(CN) -m str \"Workshop 0\" }".to_owned(),
        ]
    );
    // Behind it the exporter has no port, and speaks TLS with nobody.
    let rendered = made("node-exporter", both.clone()).unwrap();
    assert!(
        content(&rendered, "/etc/default/prometheus-node-exporter")
            .contains("--web.systemd-socket --web.config")
    );
    assert!(!content(&rendered, "/etc/phoenix/node-exporter.yml").contains("tls_server_config"));

    let told = |more: Value| {
        let rendered = python(more).unwrap();
        let env = content(&rendered, "/etc/phoenix/python-service.env").to_owned();
        env.lines()
            .find_map(|line| Some(line.strip_prefix("TLS_CLIENT_NAMES=")?.trim_matches('"').to_owned()))
    };
    let all = "notes.guest.workshop.internal mesh.guest.workshop.internal prometheus.guest.workshop.internal";
    assert_eq!(told(both).as_deref(), Some(all));
    assert_eq!(told(json!({ "client-names": ["*"] })).as_deref(), Some("*"));
    assert_eq!(told(json!({ "client-certificates": false })), None);
}

// Redis itself looks at who signed a certificate and not at whose it is, so it does not listen where that is to be known.
#[test]
fn redis_is_told_whose_certificates_it_takes() {
    let made = |more: Value| {
        let all = json!({
            "password": { "generate": "x" }, "tls": true, "identity": crate::given::identity("cache", "guest-cache"),
        });
        try_with(&built_in("redis"), crate::given::but(all, more))
    };
    let refused = |more: Value| made(more).unwrap_err().to_string();
    let whose = refused(json!({ "client-certificates": true }));
    assert!(whose.contains("`client-certificates` needs to know whose: `client-names`"), "{whose}");
    let names = json!(["notes.guest.workshop.internal", "wiki.guest.workshop.internal"]);
    let alone = refused(json!({ "client-names": names }));
    assert!(alone.contains("`client-names` has no effect without `client-certificates`"), "{alone}");
    let clear = refused(json!({ "tls": false, "client-certificates": true, "client-names": names }));
    assert!(clear.contains("`client-certificates` needs `tls`"), "{clear}");

    let plain = made(json!({})).unwrap();
    assert!(content(&plain, "/etc/redis/redis.conf").contains("tls-auth-clients no\n"));
    assert!(!plain.packages.contains(&"haproxy".to_owned()));
    let named = |more: Value| {
        made(crate::given::but(json!({ "client-certificates": true, "client-names": names }), more)).unwrap()
    };
    let rules = |rendered: &Rendered| -> Vec<String> {
        let text = content(rendered, "/etc/redis/tls.cfg").to_owned();
        text.lines()
            .filter_map(|line| Some(line.trim().strip_prefix("tcp-request session ")?.to_owned()))
            .collect()
    };
    let one = named(json!({}));
    assert!(content(&one, "/etc/redis/redis.conf").contains("port 0\n"));
    assert!(!content(&one, "/etc/redis/redis.conf").contains("tls-"));
    let unless =
        "reject unless { ssl_c_s_dn(CN) -m str notes.guest.workshop.internal wiki.guest.workshop.internal }";
    assert_eq!(rules(&one), [unless]);
    let refused = json!([
        { "issuer": "Phoenix workshop CA 1a2b3c", "names": [] },
        { "issuer": "Phoenix workshop CA 4d5e6f", "names": ["wiki.guest.workshop.internal"] },
    ]);
    assert_eq!(
        rules(&named(json!({ "client-names": ["*"], "refused": refused }))),
        [
            r#"reject if { ssl_c_i_dn(CN) -m str "Phoenix workshop CA 1a2b3c" }"#,
            r#"reject if { ssl_c_i_dn(CN) -m str "Phoenix workshop CA 4d5e6f" } { ssl_c_s_dn(CN) -m str wiki.guest.workshop.internal }"#,
        ]
    );
}

// Whoever reaches Docker's API is root in its guest: nothing that a blueprint can say opens it beyond its socket, not by
// words that would end a text either.
#[test]
fn no_parameter_opens_dockers_api() {
    let odd = r#"/srv", "hosts": ["tcp://0.0.0.0:2375"], "x": ""#;
    let all = json!({
        "log-size": 1, "log-files": 1, "address-pools": [{ "base": "172.28.0.0/14", "size": 24 }],
        "mirrors": ["tcp://0.0.0.0:2375", odd], "data-root": r#"/srv", "hosts": ["tcp:0"], "x": ""#, "storage-driver": "vfs", "live-restore": false,
        "cleanup": "daily", "keep-images": 1, "resolvers": ["10.0.0.53"], "root": odd,
        "registries": [{ "host": "images.workshop.internal:5000", "user": "docker", "password": { "env": "A" } }],
    });
    let docker = built_in("docker");
    let said = parameters(all.clone());
    let left: Vec<_> = docker.spec.parameters.keys().filter(|name| !said.contains_key(*name)).collect();
    assert!(left.is_empty(), "a new parameter belongs here: {left:?}");
    let rendered = try_with(&docker, all).unwrap();
    let daemon: Value = serde_json::from_str(content(&rendered, "/etc/docker/daemon.json")).unwrap();
    let keys: Vec<&String> = daemon.as_object().unwrap().keys().collect();
    let known = [
        "data-root",
        "default-address-pools",
        "dns",
        "live-restore",
        "log-driver",
        "log-opts",
        "registry-mirrors",
        "storage-driver",
    ];
    let unknown: Vec<_> = keys.iter().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // Its unit is Debian's, which listens on the socket that systemd hands it; what is put beside it does not start it anew.
    for file in rendered.files.iter().filter(|file| file.path.contains("docker.service.d")) {
        let text = content(&rendered, &file.path);
        assert!(!text.contains("ExecStart=") && !text.contains("-H"), "{text}");
    }
    // Portainer is given the socket as a file.
    let identity = crate::given::identity("tools", "guest-tools");
    let portainer =
        with(&built_in("portainer"), json!({ "password": { "generate": "x" }, "identity": identity }));
    let unit = content(&portainer, "/etc/systemd/system/portainer.service");
    assert!(unit.contains("/var/run/docker.sock") && !unit.contains("tcp://"), "{unit}");
}

// With a name, a line of access goes by that certificate and by nothing else; without one, all is as it was.
#[test]
fn postgres_is_told_whose_certificate_is_whose_account() {
    let made = |access: Value, tls: bool| {
        let all = json!({
            "users": { "notes": { "password": { "generate": "x" } }, "wiki": { "password": { "generate": "y" } } },
            "access": access, "tls": tls, "identity": crate::given::identity("db", "guest-db"),
        });
        try_with(&built_in("postgres"), all)
    };
    let line = |user: &str, name: Option<&str>| {
        let all = json!({ "database": "all", "user": user, "from": "10.0.0.0/24" });
        name.map_or(all.clone(), |name| crate::given::but(all, json!({ "client-name": name })))
    };
    let (hba, ident) = ("/etc/postgresql/15/main/pg_hba.conf", "/etc/postgresql/15/main/pg_ident.conf");
    let plain = made(json!([line("notes", None)]), false).unwrap();
    let local = |kind: &str| {
        format!(
            "local all postgres peer\nlocal all all scram-sha-256\n{kind} all all 127.0.0.1/32 scram-sha-256\n\
             {kind} all all ::1/128 scram-sha-256\n"
        )
    };
    let head = "# Written by Phoenix: who may connect. Over the network always with a password, which is never sent in clear";
    assert_eq!(
        content(&plain, hba),
        format!("{head}.\n{}host all notes 10.0.0.0/24 scram-sha-256\n", local("host"))
    );
    assert!(!plain.files.iter().any(|file| file.path == ident), "none where nobody is named");

    let name = "notes.guest.workshop.internal";
    let lines =
        json!([line("wiki", None), line("notes", Some(name)), line("wiki", Some("wiki.example.org"))]);
    let named = made(lines, true).unwrap();
    let wanted = format!(
        "{head}, or by whose certificate it is.\n{}hostssl all wiki 10.0.0.0/24 scram-sha-256\n\
         hostssl all notes 10.0.0.0/24 cert map=phoenix-1\nhostssl all wiki 10.0.0.0/24 cert map=phoenix-2\n",
        local("hostssl")
    );
    assert_eq!(content(&named, hba), wanted);
    let maps = content(&named, ident);
    assert!(
        maps.ends_with(&format!("phoenix-1 {name} \"notes\"\nphoenix-2 wiki.example.org \"wiki\"\n")),
        "{maps}"
    );
    let conf = content(&named, "/etc/postgresql/15/main/conf.d/phoenix.conf");
    assert!(
        conf.contains("ssl_ca_file = '/usr/local/share/ca-certificates/phoenix-workshop.crt'\n"),
        "{conf}"
    );

    let error = made(json!([line("notes", Some(name))]), false).unwrap_err().to_string();
    assert!(error.contains("`client-name` needs `tls`"), "{error}");
    let error = made(json!([line("all", Some(name))]), true).unwrap_err().to_string();
    assert!(error.contains("`client-name` is of one of the users, and all is none"), "{error}");
}

#[test]
fn the_first_line_tells_what_a_script_is() {
    let features = [base(), site("x")];
    let text = String::from_utf8(check(&features)).unwrap();
    let line = text.lines().next().unwrap().strip_prefix("# phoenix-script: ").unwrap();
    let header: Value = serde_json::from_str(line).unwrap();
    let named: Vec<_> =
        features.iter().map(|f| json!({ "name": f.name, "fingerprint": f.fingerprint })).collect();
    assert_eq!(header, json!({ "features": named, "check": true }));
    assert!(text.ends_with("\nmain </dev/null\nexit\n"), "the last line starts it");
}
