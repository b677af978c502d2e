//! PostgreSQL and Redis: they keep what they were given, whatever else changes.

use managers::features::Rendered;
use serde_json::{Value, json};

use super::guest::{Guest, NAME};
use crate::catalog::{apply, try_with, with};
use crate::given;

/// A password that nothing may misread.
const ODD: &str = r#"o'd"d $(x) \ %s"#;

fn postgres(more: Value) -> Rendered {
    let mut all = json!({
        "users": { "notes": { "password": { "env": ODD } } },
        "databases": { "notes": { "owner": "notes", "extensions": ["pgcrypto"] } },
        "access": [{ "database": "notes", "user": "notes", "from": "10.0.0.0/24" }],
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut rendered = with("postgres", all);
    if more.get("tls").is_some() {
        let key = Guest::identity().key;
        rendered.own_keys("root:postgres", &[key]);
    }
    rendered
}

/// What a client over the network gets; the password is in a file, as libpq wants it.
fn query(guest: &Guest, password: &str, options: &str, sql: &str) -> Result<String, String> {
    let escaped = password.replace('\\', r"\\").replace(':', r"\:");
    guest.write("/root/pgpass", &format!("*:*:*:*:{escaped}\n"));
    guest.write("/root/sql", sql);
    let output = guest.output(&format!(
        "chmod 600 /root/pgpass; PGPASSFILE=/root/pgpass PGCONNECT_TIMEOUT=5 psql -X -A -t -v ON_ERROR_STOP=1 \
         'host=10.0.0.53 dbname=notes user=notes {options}' -f /root/sql 2>&1"
    ));
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

#[test]
fn postgres_keeps_what_it_was_given() {
    let Some(guest) = Guest::new("postgres_keeps_what_it_was_given") else { return };
    let one = postgres(json!({}));
    let ran = guest.run(&apply(&one));
    ran.ok();
    // P-79: a second run does nothing.
    guest.run(&apply(&one)).nothing_to_do();
    let made = "CREATE TABLE pages (text text); INSERT INTO pages VALUES ('kept'); SELECT current_user, pg_encoding_to_char(encoding), \
                (SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto') FROM pg_database WHERE datname = 'notes'";
    assert_eq!(query(&guest, ODD, "", made).unwrap().lines().last().unwrap(), "notes|UTF8|1");
    assert!(query(&guest, "wrong", "", "SELECT 1").unwrap_err().contains("password authentication failed"));
    assert_eq!(
        guest.sh("runuser -u postgres -- psql -At -c \"SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'notes'\""),
        "t\n"
    );
    // Whom no line names does not get in.
    let refused =
        guest.fails("PGPASSWORD=x psql -X 'host=10.0.0.53 dbname=postgres user=postgres' -c 'SELECT 1'");
    assert!(refused.contains("no pg_hba.conf entry"), "{refused}");
    // The password is nowhere but in the one file that only root reads.
    let found = guest.sh(
        r#"grep -rlF "o'd\"d" /etc /var/log /var/lib/phoenix /run /tmp 2>/dev/null; journalctl -o cat | grep -cF "o'd" || true; \
           stat -c '%a %U' /etc/phoenix/postgres.sql"#,
    );
    assert_eq!(found, "0\n600 root\n", "the file holds it doubled, as SQL is written");
    assert!(!ran.stderr.contains("o'd") && !format!("{:?}", ran.reports).contains("o'd"));

    // A new password is set, nothing is restarted, and what was there is there.
    let before = guest.invocation("postgresql@15-main");
    let second = postgres(json!({ "users": { "notes": { "password": { "env": "second" } } } }));
    assert_eq!(
        guest.run(&apply(&second)).ok().words(),
        ["file update /etc/phoenix/postgres.sql", "command run make users and databases"]
    );
    assert!(query(&guest, ODD, "", "SELECT 1").is_err());
    assert_eq!(query(&guest, "second", "", "SELECT text FROM pages").unwrap(), "kept");
    assert_eq!(guest.invocation("postgresql@15-main"), before);

    // A setting is read anew; only where PostgreSQL says so it is restarted.
    let more = |values: Value| {
        let mut all = json!({ "users": { "notes": { "password": { "env": "second" } } } });
        all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        postgres(all)
    };
    let conf = "/etc/postgresql/15/main/conf.d/phoenix.conf";
    assert_eq!(
        guest.run(&apply(&more(json!({ "settings": { "work_mem": "8MB" } })))).ok().words(),
        [format!("file update {conf}"), "unit reload postgresql@15-main".into()]
    );
    assert_eq!(guest.invocation("postgresql@15-main"), before);
    assert_eq!(query(&guest, "second", "", "SHOW work_mem").unwrap(), "8MB");
    let restarted = more(json!({ "settings": { "work_mem": "8MB", "max_connections": "50" }, "port": 5433 }));
    assert_eq!(
        guest.run(&apply(&restarted)).ok().words(),
        [
            format!("file update {conf}"),
            "unit reload postgresql@15-main".into(),
            "command run restart postgresql where a setting needs it".into(),
        ]
    );
    assert_ne!(guest.invocation("postgresql@15-main"), before);
    assert_eq!(query(&guest, "second", "port=5433", "SHOW max_connections").unwrap(), "50");
    guest.run(&apply(&restarted)).nothing_to_do();

    // What it would not start with is not put in use.
    let before = guest.invocation("postgresql@15-main");
    let bad = more(json!({ "settings": { "shared_buffers": "lots" }, "port": 5433 }));
    let ran = guest.run(&apply(&bad));
    let error = ran.failed().error("postgres").unwrap();
    assert!(error.contains("invalid value for parameter \"shared_buffers\""), "{error}");
    let bad = more(json!({
        "settings": { "work_mem": "8MB", "max_connections": "50" }, "port": 5433,
        "access": [{ "database": "notes", "user": "notes", "from": "10.0.0.0/240" }],
    }));
    let ran = guest.run(&apply(&bad));
    let error = ran.failed().error("postgres").unwrap();
    assert!(error.contains("pg_hba.conf, line "), "{error}");
    guest.run(&apply(&restarted)).ok();
    assert_eq!(guest.invocation("postgresql@15-main"), before);

    // What is no longer asked for stays.
    guest.run(&apply(&postgres(json!({ "users": {}, "databases": {} })))).ok();
    assert_eq!(query(&guest, "second", "", "SELECT text FROM pages").unwrap(), "kept");
    guest.reboot();
    assert_eq!(guest.sh("runuser -u postgres -- psql -At -d notes -c 'SELECT text FROM pages'"), "kept\n");
    let error = try_with(
        "postgres",
        json!({ "databases": { "wiki": { "owner": "nobody" } } }),
        &std::collections::BTreeMap::new(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("the database wiki has the owner nobody, who is none of the users"),
        "{error}"
    );
}

#[test]
fn postgres_speaks_tls_by_the_guests_own_certificate() {
    let Some(guest) = Guest::new("postgres_speaks_tls_by_the_guests_own_certificate") else { return };
    // Without TLS, nothing asks for a certificate; this also makes the group that is to read the key.
    guest.run(&apply(&postgres(json!({})))).ok();
    guest.certify();
    let tls = postgres(json!({ "tls": true, "identity": Guest::identity() }));
    guest.run(&apply(&tls)).ok();
    guest.run(&apply(&tls)).nothing_to_do();
    assert_eq!(guest.sh("stat -c '%a %U:%G' /etc/phoenix/certificates/*/key.pem"), "640 root:postgres\n");
    guest.sh(&format!("echo '10.0.0.53 {NAME}' >>/etc/hosts"));
    let verified = format!(
        "host={NAME} sslmode=verify-full sslrootcert=/usr/local/share/ca-certificates/phoenix-workshop.crt"
    );
    assert_eq!(
        query(&guest, ODD, &verified, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap(),
        "t"
    );
    assert!(query(&guest, ODD, "sslmode=disable", "SELECT 1").unwrap_err().contains("no encryption"));
    // A renewed certificate is served after a reload, with nobody cut off.
    let before = guest.invocation("postgresql@15-main");
    let renewed = guest.certify();
    guest.sh("systemctl reload postgresql; sleep 1");
    assert_eq!(guest.served(5432, "-starttls postgres"), renewed);
    assert_eq!(guest.invocation("postgresql@15-main"), before);
}

// Who has the password, and no certificate or another guest's, is nobody where a certificate is asked for.
#[test]
fn postgres_looks_at_whose_certificate_it_is() {
    let Some(guest) = Guest::new("postgres_looks_at_whose_certificate_it_is") else { return };
    guest.run(&apply(&postgres(json!({})))).ok();
    guest.certify();
    let named = "notes.guest.workshop.internal";
    let asked = postgres(json!({
        "tls": true, "identity": Guest::identity(),
        "access": [{ "database": "notes", "user": "notes", "from": "10.0.0.0/24", "client-name": named }],
    }));
    guest.run(&apply(&asked)).ok();
    guest.run(&apply(&asked)).nothing_to_do();
    guest.sh(&format!("echo '10.0.0.53 {NAME}' >>/etc/hosts"));
    let verified = format!(
        "host={NAME} sslmode=verify-full sslrootcert=/usr/local/share/ca-certificates/phoenix-workshop.crt"
    );
    for (name, good) in
        [(named, true), ("wiki.guest.workshop.internal", false), ("xnotes.guest.workshop.internal", false)]
    {
        guest.leaf("/root/shown", name);
        let shown = format!("{verified} sslcert=/root/shown.crt sslkey=/root/shown.key");
        let said = query(&guest, ODD, &shown, "SELECT current_user");
        assert_eq!(said.is_ok(), good, "{name}: {said:?}");
        if let Err(why) = said {
            assert!(why.contains("certificate authentication failed"), "{why}");
        }
    }
    let said = query(&guest, ODD, &verified, "SELECT 1").unwrap_err();
    assert!(said.contains("requires a valid client certificate"), "{said}");
    // Without it, the password is asked for again.
    guest.run(&apply(&postgres(json!({ "tls": true, "identity": Guest::identity() })))).ok();
    assert_eq!(query(&guest, ODD, &verified, "SELECT current_user").unwrap(), "notes");
}

fn redis(more: Value) -> Rendered {
    let mut all = json!({ "password": { "env": ODD } });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut rendered = with("redis", all);
    if more.get("tls").is_some() {
        let key = Guest::identity().key;
        rendered.own_keys("root:redis", &[key]);
    }
    rendered
}

fn ask(guest: &Guest, password: &str, options: &str, commands: &str) -> String {
    guest.write("/root/password", password);
    guest.write("/root/commands", commands);
    let output = guest.output(&format!(
        "REDISCLI_AUTH=\"$(cat /root/password)\" redis-cli --no-auth-warning -h 10.0.0.53 {options} </root/commands 2>&1"
    ));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn redis_keeps_what_it_was_given_and_asks_for_the_password() {
    let Some(guest) = Guest::new("redis_keeps_what_it_was_given_and_asks_for_the_password") else { return };
    let one = redis(json!({}));
    guest.run(&apply(&one)).ok();
    guest.run(&apply(&one)).nothing_to_do();
    assert_eq!(ask(&guest, ODD, "", "SET page kept"), "OK");
    assert!(ask(&guest, "wrong", "", "GET page").contains("WRONGPASS"));
    assert!(guest.output("redis-cli -h 10.0.0.53 GET page").stdout.starts_with(b"NOAUTH"));
    assert_eq!(guest.sh("stat -c '%a %U:%G' /etc/redis/redis.conf"), "640 redis:redis\n");

    // What is saved survives each change of how it is saved, back and forth.
    for (persistence, value) in [("log", "one"), ("snapshots", "two"), ("log", "three")] {
        guest.run(&apply(&redis(json!({ "persistence": persistence })))).ok();
        assert_eq!(
            ask(&guest, ODD, "", "GET page"),
            if value == "one" { "kept".into() } else { format!("before {value}") }
        );
        let next = if value == "one" { "two" } else { "three" };
        assert_eq!(ask(&guest, ODD, "", &format!("SET page \"before {next}\"")), "OK");
    }
    assert_eq!(ask(&guest, ODD, "", "CONFIG GET appendonly"), "appendonly\nyes");
    guest.sh("kill -9 $(systemctl show -P MainPID redis-server); sleep 2; systemctl is-active redis-server");
    assert_eq!(ask(&guest, ODD, "", "GET page"), "before three", "the log is written every second");

    let changed = redis(json!({ "persistence": "log", "maxmemory": "64mb", "eviction": "allkeys-lru" }));
    assert_eq!(
        guest.run(&apply(&changed)).ok().words(),
        ["file update /etc/redis/redis.conf", "unit restart redis-server"]
    );
    assert_eq!(ask(&guest, ODD, "", "CONFIG GET maxmemory"), format!("maxmemory\n{}", 64 << 20));
    let before = guest.invocation("redis-server");
    let ran = guest.run(&apply(&redis(json!({ "maxmemory": "lots" }))));
    let error = ran.failed().error("redis").unwrap();
    assert!(error.contains("argument must be a memory value") && !error.contains("o'd"), "{error}");
    guest.run(&apply(&changed)).nothing_to_do();
    assert_eq!(guest.invocation("redis-server"), before);
    // It comes up with the guest, although its address is not there yet.
    guest.reboot();
    guest.sh("systemctl is-active redis-server");
}

#[test]
fn redis_speaks_tls_by_the_guests_own_certificate() {
    let Some(guest) = Guest::new("redis_speaks_tls_by_the_guests_own_certificate") else { return };
    guest.run(&apply(&redis(json!({})))).ok();
    guest.certify();
    let tls = redis(json!({ "tls": true, "identity": Guest::identity() }));
    guest.run(&apply(&tls)).ok();
    guest.run(&apply(&tls)).nothing_to_do();
    let with_tls =
        format!("--tls --sni {NAME} --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt");
    assert_eq!(ask(&guest, ODD, &with_tls, "SET page kept"), "OK");
    assert_ne!(ask(&guest, ODD, "", "GET page"), "kept", "nothing in clear");
    // A renewed certificate is served after a reload, with nobody cut off.
    let before = guest.invocation("redis-server");
    let renewed = guest.certify();
    guest.sh("systemctl reload redis-server");
    assert_eq!(guest.served(6379, ""), renewed);
    assert_eq!(guest.invocation("redis-server"), before);
}

// The attack: somebody is root in another guest, which has a certificate of the workshop, and found the password.
#[test]
fn redis_takes_the_certificates_that_are_named_and_no_others() {
    let Some(guest) = Guest::new("redis_takes_the_certificates_that_are_named_and_no_others") else { return };
    guest.certify();
    let tls = |more: Value| redis(given::but(json!({ "tls": true, "identity": Guest::identity() }), more));
    guest.run(&apply(&tls(json!({})))).ok();
    let with_tls =
        format!("--tls --sni {NAME} --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt");
    assert_eq!(ask(&guest, ODD, &with_tls, "SET page kept"), "OK");
    let names = [
        "notes.guest.workshop.internal",
        "wiki.guest.workshop.internal",
        "notes.guest.workshop.internal.evil",
    ];
    for name in names {
        guest.leaf(&format!("/root/{name}"), name);
    }
    let asked = |name: &str, password: &str| {
        let pair = format!("{with_tls} --cert /root/{name}.crt --key /root/{name}.key");
        ask(&guest, password, &pair, "GET page")
    };
    let who = |password: &str| names.map(|name| asked(name, password) == "kept");

    let named = |more: Value| {
        let all = json!({ "client-certificates": true, "client-names": [names[0]] });
        tls(given::but(all, more))
    };
    guest.run(&apply(&named(json!({})))).ok();
    guest.run(&apply(&named(json!({})))).nothing_to_do();
    assert_eq!(who(ODD), [true, false, false]);
    assert!(asked(names[0], "wrong").contains("WRONGPASS"), "a certificate is no password");
    assert_ne!(ask(&guest, ODD, &with_tls, "GET page"), "kept", "without any");
    assert_ne!(ask(&guest, ODD, "", "GET page"), "kept", "in clear");
    // More of a chain than there is to it says nothing of whose it is.
    guest.sh(&format!("cd /root; cat {1}.crt {0}.crt >both.crt; cp {1}.key both.key", names[0], names[1]));
    assert_ne!(asked("both", ODD), "kept");
    // Nothing listens beside it, and root has no part in it.
    let listening = guest.sh("ss -Hltnp | awk '/redis|haproxy/ { print $4 }' | sort");
    assert_eq!(listening, "10.0.0.53:6379\n127.0.0.1:6379\n");
    assert_eq!(guest.sh("ps -o user= -C haproxy | sort -u").trim(), "redis");

    // What was given out and may have been taken: of one guest, then of whoever signed it.
    let issuer = guest
        .sh("openssl x509 -in /root/notes.guest.workshop.internal.crt -noout -issuer -nameopt multiline \
         | sed -n 's/^ *commonName *= //p'");
    let refused = |names: Value| {
        let one = json!({ "issuer": issuer.trim(), "names": names });
        guest.run(&apply(&named(json!({ "client-names": ["*"], "refused": [one] })))).ok();
        who(ODD)
    };
    assert_eq!(refused(json!([names[1]])), [true, false, true]);
    assert_eq!(refused(json!(["*.workshop.internal"])), [true; 3]);
    assert_eq!(refused(json!([])), [false; 3]);

    // Who is taken off the list is cut off, too.
    guest.run(&apply(&named(json!({})))).ok();
    guest.sh(&format!(
        "sleep 60 | openssl s_client -quiet -connect 10.0.0.53:6379 -cert /root/{0}.crt -key /root/{0}.key >/dev/null 2>&1 &",
        names[0]
    ));
    let held = || guest.sh("ss -Htn state established '( sport = :6379 )' | wc -l").trim().to_owned();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while held() != "1" {
        assert!(std::time::Instant::now() < until, "nobody got in");
    }
    let wiki = named(json!({ "client-names": [names[1]] }));
    assert_eq!(
        guest.run(&apply(&wiki)).ok().words(),
        ["file update /etc/redis/tls.cfg", "unit restart redis-tls"]
    );
    assert_eq!(who(ODD), [false, true, false]);
    assert_eq!(held(), "0");

    // A renewed certificate is served after a reload, with nobody cut off.
    let before = guest.invocation("redis-tls");
    let renewed = guest.certify();
    guest.sh("systemctl reload redis-server redis-tls");
    guest.comes_to_serve(6379, &format!("-cert /root/{0}.crt -key /root/{0}.key", names[1]), &renewed);
    assert_eq!(guest.invocation("redis-tls"), before);

    // It comes up with the guest, when its address is there; and what is not asked for any more is gone, with Redis at its port.
    guest.reboot();
    guest.fails("systemctl -q is-active redis-tls");
    guest.sh(
        "ip link add eth0 type veth peer name far0; ip link set eth0 up; ip link set far0 up; ip address add 10.0.0.53/24 dev eth0
         for i in $(seq 100); do systemctl -q is-active redis-tls && exit; sleep 0.1; done; exit 1",
    );
    assert_eq!(who(ODD), [false, true, false]);
    assert_ne!(guest.sh("systemctl is-active haproxy || true"), "active\n");
    guest.run(&apply(&tls(json!({})))).ok();
    guest.run(&apply(&tls(json!({})))).nothing_to_do();
    assert_eq!(ask(&guest, ODD, &with_tls, "GET page"), "kept");
    guest.fails("test -e /etc/systemd/system/redis-tls.service || pgrep haproxy");
}
