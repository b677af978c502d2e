//! Stacks: real Docker and real Compose, with an image that no registry brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::model::SiteFile;
use managers::features::{Rendered, removal};
use serde_json::{Value, json};

use super::guest::Guest;
use crate::catalog::{apply, try_with, with};

/// Where the program is that no package brings, as `phoenix-cli artifacts fetch docker-compose` keeps it.
const COMPOSE: &str = "/usr/local/lib/docker/cli-plugins/docker-compose";

const IMAGE: &str = "
    apt-get -q -y install busybox-static >/dev/null 2>&1
    mkdir -p /tmp/image/bin /tmp/image/www && cp /bin/busybox /tmp/image/bin/
    for name in sh cat httpd sleep wget test; do ln -sf busybox /tmp/image/bin/$name; done
    tar -C /tmp/image -c . | docker import - tiny:1 >/dev/null
    echo newer >/tmp/image/www/new; tar -C /tmp/image -c . | docker import - tiny:2 >/dev/null
";

/// A web server and a job; a secret and a variable are in what it serves.
const NOTES: &str = r#"
services:
  web:
    image: tiny:1
    command: ["/bin/sh", "-c", "cat /run/secrets/password > /www/password; echo $$GREETING > /www/greeting; exec /bin/httpd -f -p 80 -h /www"]
    environment: { GREETING: "${GREETING} from ${PHOENIX_GUEST}" }
    ports: ["8080:80"]
    volumes: ["kept:/kept", "./pages/index.html:/www/page:ro"]
    secrets: [password]
    restart: unless-stopped
    healthcheck: { test: ["CMD", "/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1/greeting"], interval: 1s, retries: 3 }
  job:
    image: tiny:1
    command: ["/bin/sh", "-c", "echo done > /kept/job"]
    volumes: ["kept:/kept"]
secrets:
  password: { file: ./secrets/password }
volumes:
  kept: {}
"#;

fn stack(compose: &str, more: Value) -> Rendered {
    with_page(compose, more, "hello")
}

fn with_page(compose: &str, more: Value, page: &str) -> Rendered {
    let mut told = json!({
        "name": "notes", "project": "notes", "adopts": false, "compose": "compose.yaml", "within": 20, "restores": true,
        "dotenv": "GREETING=from the file",
        "env": [{ "name": "GREETING", "value": "a \"quoted\" $5 \\ word's" }],
        "secret_env": [],
    });
    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let secrets = json!([{ "name": "password", "value": { "$secret": { "generate": "notes-password" } } }]);
    let file = |path: &str, text: &str| SiteFile {
        path: path.into(),
        bytes: Arc::from(text.as_bytes()),
        executable: false,
    };
    let files = vec![file("compose.yaml", compose), file("pages/index.html", page)];
    let contents = BTreeMap::from([("files".to_owned(), files)]);
    let mut rendered =
        try_with("stack", json!({ "stack": told, "stack-secrets": secrets, "files": "." }), &contents)
            .unwrap();
    rendered.name = "stack-notes".into();
    rendered
}

fn plain(compose: &str) -> Rendered {
    stack(compose, json!({}))
}

/// A guest with Docker and Compose, and two images.
fn docker(name: &str) -> Option<Guest> {
    let program = crate::built::program("docker-compose")?;
    let guest = Guest::new(name)?;
    let here = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(here.path(), program).unwrap();
    guest.sh("mkdir -p /usr/local/lib/docker/cli-plugins");
    guest.copy(here.path(), COMPOSE);
    guest.sh(&format!("chmod 755 {COMPOSE}"));
    guest.run(&apply(&with("docker", json!({ "data-root": "/srv/volume", "resolvers": [] })))).ok();
    guest.sh(IMAGE);
    Some(guest)
}

const GET: &str = "curl -sS -m 5 http://10.0.0.53:8080";
const SINCE: &str = "docker inspect -f '{{.Id}} {{.State.StartedAt}}' notes-web-1";

// S-4, S-6, S-10: what counts is that it runs; and whatever goes wrong, what ran before runs.
#[test]
fn a_stack_runs_and_what_ran_before_comes_back() {
    let Some(guest) = docker("a_stack_runs_and_what_ran_before_comes_back") else { return };
    // What is in the environment of who applies is nothing to it.
    guest
        .run(
            &[b"export GREETING=elsewhere COMPOSE_PROFILES=none\n".as_slice(), &apply(&plain(NOTES))]
                .concat(),
        )
        .ok();
    guest.run(&apply(&plain(NOTES))).nothing_to_do();
    assert_eq!(guest.sh(&format!("{GET}/greeting")), "a \"quoted\" $5 \\ word's from under-test\n");
    assert_eq!(guest.sh(&format!("{GET}/password | wc -c | tr -d ' '")).trim().len(), 2);
    assert_eq!(guest.sh("docker run --rm -v notes_kept:/kept tiny:1 /bin/cat /kept/job"), "done\n");
    // Only root gets at the secret, and what is in the container.
    assert_eq!(guest.sh("stat -c '%a' /srv/stacks/notes/.env /srv/stacks/notes/secrets"), "600\n700\n");

    // A change is one container anew, and the volume stays.
    let newer = NOTES.replacen("image: tiny:1", "image: tiny:2", 1);
    guest.run(&apply(&plain(&newer))).ok();
    guest.run(&apply(&plain(&newer))).nothing_to_do();
    assert_eq!(guest.sh(&format!("{GET}/new")), "newer\n");

    // A file that a container has mounted is another one: the container is made anew, which Compose would not do.
    guest.run(&apply(&with_page(&newer, json!({}), "changed"))).ok();
    assert_eq!(guest.sh(&format!("{GET}/page")), "changed");
    guest.run(&apply(&with_page(&newer, json!({}), "changed"))).nothing_to_do();
    guest.run(&apply(&plain(&newer))).ok();
    assert_eq!(guest.sh(&format!("{GET}/page")), "hello");

    // What Compose does not understand is never in use.
    let since = guest.sh(SINCE);
    for (text, why) in [
        (newer.replace("restart: unless-stopped", "restrat: unless-stopped"), "restrat"),
        (newer.replace("${GREETING}", "${GRETING}"), "nobody says what this is: GRETING"),
    ] {
        let ran = guest.run(&apply(&plain(&text)));
        let error = ran.failed().error("stack-notes").unwrap();
        assert!(error.contains(why) && error.contains("the old files are back"), "{error}");
        assert_eq!(guest.sh(SINCE), since, "{why}");
    }
    // An image that is nowhere: nothing is ended for it.
    let ran = guest.run(&apply(&plain(&newer.replacen("tiny:2", "127.0.0.1:9/no/such:1", 1))));
    assert!(ran.failed().error("stack-notes").unwrap().contains("\"fetch its images\" failed"), "{ran:?}");
    assert_eq!(guest.sh(SINCE), since);
    // One that never gets well, one that ends at once, a port that is taken: the one before runs again.
    guest.sh("docker run -d --name other -p 8081:80 tiny:1 /bin/httpd -f -p 80");
    for (text, why) in [
        (newer.replace("127.0.0.1/greeting", "127.0.0.1/nothing"), "web is unhealthy"),
        (newer.replace("exec /bin/httpd", "echo gone wrong; exit 3; exec /bin/httpd"), "gone wrong"),
        (newer.replace("8080:80", "8081:80"), "8081"),
        // It seems to run whenever it is looked at.
        (
            newer
                .replace("exec /bin/httpd", "sleep 2; exit 5; exec /bin/httpd")
                .replace("healthcheck:", "x-was:"),
            "again and again",
        ),
    ] {
        let ran = guest.run(&apply(&plain(&text)));
        let error = ran.failed().error("stack-notes").unwrap();
        assert!(error.contains(why) && error.contains("what worked before runs again"), "{why}: {error}");
        assert_eq!(guest.sh(&format!("{GET}/new")), "newer\n", "{why}");
    }
    // And it is to be told, where somebody wants to look at it.
    let odd = newer.replace("127.0.0.1/greeting", "127.0.0.1/nothing");
    let ran = guest.run(&apply(&stack(&odd, json!({ "restores": false, "within": 5 }))));
    assert!(ran.failed().error("stack-notes").unwrap().contains("it stays as it is"), "{ran:?}");
    guest.run(&apply(&plain(&newer))).ok();

    // S-4: drift is seen on what runs, and mended.
    for harm in [
        "docker stop notes-web-1",
        "docker rm -f notes-web-1",
        "docker rm -f notes-job-1",
        "docker tag tiny:1 tiny:2",
        "cd /srv/stacks/notes && sed 's/retries: 3/retries: 4/' compose.yaml >/tmp/c.yaml && docker compose -p notes --project-directory . -f /tmp/c.yaml up -d 2>&1",
    ] {
        guest.sh(harm);
        let words = guest.run(&apply(&plain(&newer))).ok().words();
        assert_eq!(words, ["command run bring it up"], "{harm}");
        guest.sh(&format!("{GET}/greeting"));
        guest.run(&apply(&plain(&newer))).nothing_to_do();
    }
    guest.reboot();
    guest.sh("for n in $(seq 200); do curl -s -m 1 -o /dev/null http://127.0.0.1:8080/greeting && docker inspect -f '{{.State.Health.Status}}' notes-web-1 | grep -qx healthy && exit 0; sleep 0.3; done; exit 1");
    guest.run(&apply(&plain(&newer))).nothing_to_do();

    // It goes without its data, and what others made stays.
    let ran = guest.run(&removal(&["stack-notes".to_owned()], &[], managers::features::Mode::Apply).text);
    assert!(ran.ok().words().contains(&"command run undo bring-it-up".to_owned()), "{ran:?}");
    assert_eq!(guest.sh("docker ps -a --format '{{.Names}}'"), "other\n");
    assert_eq!(guest.sh("docker volume ls -q"), "notes_kept\n");
}

// S-1: what failed at first is nobody's, and can be tried again.
#[test]
fn a_first_try_that_fails_leaves_nothing_and_others_stay() {
    let Some(guest) = docker("a_first_try_that_fails_leaves_nothing_and_others_stay") else { return };
    let odd = NOTES.replace("exec /bin/httpd", "exit 3; exec /bin/httpd").replace("unless-stopped", "\"no\"");
    let ran = guest.run(&apply(&plain(&odd)));
    let error = ran.failed().error("stack-notes").unwrap();
    assert!(error.contains("web has ended with 3") && error.contains("what was begun is removed"), "{error}");
    assert_eq!(guest.sh("docker ps -aq; docker network ls -q -f label=com.docker.compose.project=notes"), "");
    guest.run(&apply(&plain(NOTES))).ok();

    // S-2: a project of the same name, made from elsewhere, is not touched, unless the blueprint says that it is the stack's.
    guest.run(&removal(&["stack-notes".to_owned()], &[], managers::features::Mode::Apply).text).ok();
    guest.sh("mkdir -p /opt/mine && cd /opt/mine && printf 'services: { web: { image: tiny:1, command: [/bin/sleep, \"1000\"], stop_grace_period: 1s } }\n' >compose.yaml && docker compose -p notes up -d 2>&1");
    let ran = guest.run(&apply(&plain(NOTES)));
    let error = ran.failed().error("stack-notes").unwrap();
    assert!(error.contains("takes it over") && error.contains("/opt/mine"), "{error}");
    assert_eq!(guest.sh("docker ps -q | wc -l").trim(), "1");
    let taken = stack(NOTES, json!({ "adopts": true }));
    guest.run(&apply(&taken)).ok();
    guest.run(&apply(&taken)).nothing_to_do();
    guest.sh(&format!("{GET}/greeting"));

    // Killed while it is brought up, and run again.
    let newer = NOTES.replacen("image: tiny:1", "image: tiny:2", 1);
    let slow = newer.replace("cat /run/secrets", "sleep 4; cat /run/secrets");
    guest
        .write("/tmp/script", std::str::from_utf8(&apply(&stack(&slow, json!({ "adopts": true })))).unwrap());
    guest.sh("timeout -s KILL 6 sh /tmp/script >/dev/null 2>&1 || true");
    guest.run(&apply(&stack(&newer, json!({ "adopts": true })))).ok();
    assert_eq!(guest.sh(&format!("{GET}/new")), "newer\n");
}
