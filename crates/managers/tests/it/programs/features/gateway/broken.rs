//! What happens to a service whose file, certificate or port is bad, and to the others; and when somebody is killed.

use serde_json::json;

use super::{Front, IDENTITY, timed};
use crate::programs::features::{apply, built_in, with};

// S-15, P-03, P-57: whatever is wrong with one service takes out that one, at an apply, a reload and a boot, and is said.
#[test]
fn one_bad_service_takes_out_itself_alone() {
    let Some(mut front) = Front::new() else { return };
    for name in ["good", "missing", "mixed", "garbled", "expired", "odd", "shy"] {
        front.site(name, json!({}));
    }
    front.site("mutual", json!({ "upstream_protocol": "https", "upstream_name": "mutual.guest.workshop.internal", "mutual": true }));
    front.stream("free", 7001, json!({}));
    front.stream("taken", 7002, json!({}));
    front.stream("ours", 443, json!({}));
    front.stream("twin-a", 7003, json!({}));
    front.stream("twin-b", 7003, json!({}));
    front.serve("lines", 7002, "");
    let root = &front.root;
    let folder = "/etc/phoenix/certificates";
    root.sh(&format!(
        "rm {folder}/missing/fullchain.pem; cp {folder}/good/key.pem {folder}/mixed/; echo x >{folder}/garbled/fullchain.pem; \
         rm {folder}/shy/key.pem; mkdir {folder}/shy/key.pem"
    ));
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(5);
    front.certificate_at(&format!("{folder}/expired"), "expired", long_ago);

    let ran = front.apply();
    let error = ran.failed().error("nginx-gateway").unwrap();
    let bad = ["garbled", "missing", "mixed", "mutual", "shy", "ours", "taken", "twin-b"];
    for name in bad {
        assert!(error.contains(&format!("{name}: ")), "{name} is not named: {error}");
    }
    let good = ["expired", "free", "good", "odd", "twin-a"];
    assert_eq!(front.served(), good);
    assert_eq!(front.status("good"), "502");
    // Its certificate has expired, which is its clients' to refuse.
    assert_eq!(front.status("expired"), "000 exit 60");
    let aside = front.aside();
    assert_eq!(aside.len(), bad.len(), "{aside:#?}");
    let reason = |name: &str| aside.iter().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    assert!(reason("missing").contains(&format!("{folder}/missing/fullchain.pem")), "{aside:#?}");
    assert!(reason("mixed").contains("key values mismatch"), "{aside:#?}");
    assert!(reason("mutual").contains(IDENTITY), "{aside:#?}");
    assert!(reason("taken").starts_with("port 7002 is taken by python3 (process "), "{aside:#?}");
    assert_eq!(reason("ours"), "port 443 is the gateway's own");
    assert!(reason("twin-b").contains("duplicate \"0.0.0.0:7003\""), "{aside:#?}");

    // A file that somebody wrote, at a reload. The reason names the file that people know.
    root.sh("echo 'nonsense on;' >>/etc/nginx/phoenix.d/odd.conf; systemctl reload nginx");
    let odd = front.aside().into_iter().find(|line| line.starts_with("odd: ")).unwrap();
    assert!(odd.contains("unknown directive \"nonsense\" in /etc/nginx/phoenix.d/odd.conf:"), "{odd}");
    assert_eq!(front.served(), ["expired", "free", "good", "twin-a"]);
    // And at a boot.
    root.sh("systemctl stop nginx; rm -rf /etc/phoenix/certificates/expired; systemctl start nginx");
    assert_eq!(front.served(), ["free", "good", "twin-a"]);
    assert_eq!(front.status("good"), "502");

    // All is mended: a reload brings them back, without Phoenix.
    for name in ["missing", "mixed", "garbled", "expired"] {
        front.certificate(&format!("{folder}/{name}"), name);
    }
    root.sh(&format!("rmdir {folder}/shy/key.pem"));
    front.certificate(&format!("{folder}/shy"), "shy");
    front.certificate(IDENTITY, "gateway.guest");
    front.end(7002);
    root.sh("systemctl reload nginx");
    let aside = front.aside();
    assert_eq!(aside.len(), 3, "odd, ours and twin-b are still bad: {aside:#?}");
    assert_eq!(front.status("missing"), "502");
    front.streams.retain(|s| s["service"] != "ours" && s["service"] != "twin-b");
    front.apply().ok();
    front.apply().nothing_to_do();
    assert_eq!(front.aside(), [""; 0]);
}

// S-15, P-57: boots with every backend down, and the certificate for them not there yet; answers at once.
#[test]
fn it_boots_with_every_backend_down() {
    let Some(mut front) = Front::new() else { return };
    for n in 0..40 {
        front.site(&format!("down-{n}"), json!({ "upstream_port": 9000 + n }));
    }
    front.site(
        "mutual",
        json!({ "upstream_protocol": "https", "upstream_name": "mutual.guest.workshop.internal", "mutual": true }),
    );
    let ran = front.apply();
    assert!(
        ran.failed().error("nginx-gateway").unwrap().contains("mutual: cannot load certificate"),
        "{ran:?}"
    );
    let (_, took) = timed(|| front.root.sh("systemctl stop nginx; systemctl start nginx"));
    println!("a start with one bad service of 41: {took:?}");
    for n in [0, 39] {
        let (status, took) = timed(|| front.status(&format!("down-{n}")));
        assert_eq!(status, "502");
        assert!(took.as_secs() < 2, "{took:?}");
    }
    // The certificate comes, and with it the reload that its renewal brings.
    front.certificate(IDENTITY, "gateway.guest");
    front.root.sh("systemctl reload nginx");
    assert_eq!((front.aside(), front.status("mutual").as_str()), (vec![], "502"));
    front.apply().ok();
}

// A public authority looks for its answer on port 80 before it signs, so the gateway is well without that certificate.
#[test]
fn a_certificate_that_is_still_to_be_signed_is_no_failure() {
    let Some(mut front) = Front::new() else { return };
    front.site("shop", json!({ "public": true, "names": ["shop.example.org"] }));
    front.site("blog", json!({ "public": true, "names": ["blog.example.org"] }));
    front.root.sh("rm -r /etc/phoenix/certificates/shop");
    front.apply().ok();
    assert_eq!((front.served(), front.aside().len()), (vec!["blog".to_owned()], 1));
    // Anything else that is bad about it is a failure.
    front.root.sh("echo x >/etc/phoenix/certificates/blog/fullchain.pem; systemctl reload nginx");
    front.sites[0]["timeout"] = json!(10);
    let ran = front.apply();
    assert!(
        ran.failed().error("nginx-gateway").unwrap().contains("blog: cannot load certificate"),
        "{ran:?}"
    );
}

// S-15: what all have in common is bad: the last good one is served, at a reload and at a boot, and this is said.
#[test]
fn a_bad_main_file_does_not_stop_the_gateway() {
    let Some(mut front) = Front::new() else { return };
    front.site("notes", json!({}));
    front.apply().ok();
    let bad = with(&built_in("nginx-gateway"), json!({ "sites": front.sites, "max-body": "lots of it" }));
    let ran = front.root.run(&apply(&[bad]));
    let error = ran.failed().error("nginx-gateway").unwrap();
    assert!(error.contains("client_max_body_size") && error.contains("/etc/nginx/gateway.conf:"), "{error}");
    assert_eq!(front.status("notes"), "502");
    // The old one is back.
    front.apply().ok();
    front.apply().nothing_to_do();

    // Somebody breaks it by hand; a new service gets through all the same.
    let root = &front.root;
    root.sh("echo 'nonsense on;' >>/etc/nginx/gateway.conf; cp /etc/nginx/phoenix.d/notes.conf /root/; rm /etc/nginx/phoenix.d/notes.conf; systemctl reload nginx");
    assert_eq!(front.served(), [""; 0]);
    assert!(front.aside()[0].starts_with("gateway: unknown directive \"nonsense\""), "{:?}", front.aside());
    root.sh("systemctl stop nginx; mv /root/notes.conf /etc/nginx/phoenix.d/; systemctl start nginx");
    assert_eq!(front.status("notes"), "502");
    assert_eq!(front.aside().len(), 1);
    assert_eq!(front.apply().ok().words(), ["file update /etc/nginx/gateway.conf", "unit reload nginx"]);
    assert_eq!(front.aside(), [""; 0]);
    // No room to choose in: what was chosen last is served.
    root.sh("systemctl stop nginx; mount -t tmpfs -o ro none /tmp; mount --bind /var/lib/phoenix/nginx /mnt; \
             mount -o remount,ro,bind /mnt; mount --move /mnt /var/lib/phoenix/nginx 2>/dev/null || mount --bind /mnt /var/lib/phoenix/nginx");
    root.sh("! touch /var/lib/phoenix/nginx/x 2>/dev/null; systemctl start nginx");
    assert_eq!(front.status("notes"), "502");
}

// Promise 5: killed at any moment, the gateway serves the old files or the new ones, whole; a start finds either good.
#[test]
fn a_kill_at_any_moment_leaves_the_old_files_or_the_new_ones() {
    let Some(mut front) = Front::new() else { return };
    for n in 0..6 {
        front.site(&format!("s{n}"), json!({}));
    }
    front.apply().ok();
    let root = &front.root;
    let old = ["s0", "s1", "s2", "s3", "s4", "s5"].map(str::to_owned);
    let new = ["s0", "s2", "s3", "s4", "s5"].map(str::to_owned);
    let (_, whole) = timed(|| root.sh("systemctl reload nginx"));
    let (mut left_old, mut left_new) = (0, 0);
    for step in 0..40 {
        root.sh("cp /etc/nginx/phoenix.d/s0.conf /root/; rm -f /etc/nginx/phoenix.d/s1.conf; echo nonsense >/etc/nginx/phoenix.d/x.conf");
        // The bad file takes it half as long again.
        let seconds = 1.5 * whole.as_secs_f64() * f64::from(step) / 40.0;
        root.sh(&format!("timeout -s KILL {seconds} /usr/local/lib/phoenix/nginx-guard --reload || true"));
        let served = front.served();
        if served == old {
            left_old += 1;
        } else {
            assert_eq!(served, new, "killed after {seconds} s");
            left_new += 1;
        }
        // What is served is good as it is, by Nginx' own judgement.
        root.sh("nginx -t -q");
        root.sh("sed -e s/s0/s1/g /etc/nginx/phoenix.d/s0.conf >/etc/nginx/phoenix.d/s1.conf; rm -f /etc/nginx/phoenix.d/x.conf; systemctl reload nginx");
        assert_eq!(front.served(), old);
    }
    println!("killed 40 times: {left_old} times the old files were left, {left_new} times the new ones");
    assert!(left_old > 3 && left_new > 3, "{left_old} old, {left_new} new");
    // What the killed ones left is gone.
    assert_eq!(root.sh("ls -d /var/lib/phoenix/nginx/rev.* | wc -l"), "2\n");
}
