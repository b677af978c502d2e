//! `package-proxy`, with the real apt: it asks the proxy, and nobody else.

use super::*;

/// A proxy that takes one request, says what it was asked for, and has nothing.
const PROXY: &str = include_str!("proxy.pl");

#[test]
fn apt_asks_the_proxy() {
    let feature = built_in("package-proxy");
    for wrong in ["10.0.0.5:3142", "http://10.0.0.5:3142\"; Dir \"/tmp", "http://a\nb", ""] {
        assert!(try_with(&feature, json!({ "url": wrong })).is_err(), "{wrong} is taken");
    }
    let Some(root) = Root::new() else { return };
    let made = [with(&feature, json!({ "url": "http://127.0.0.1:3142" }))];
    root.run(&text_of(&made, Mode::Apply)).ok();
    root.run(&text_of(&made, Mode::Apply)).nothing_to_do();
    root.put("/root/proxy.pl", PROXY.as_bytes());
    root.sh("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; \
             echo 'deb http://deb.debian.org/debian bookworm main' >/etc/apt/sources.list");
    let proxy = root.background("exec timeout 60 perl /root/proxy.pl");
    root.sh("n=0; until [ -e /root/ready ] || [ $n -ge 100 ]; do sleep 0.1; n=$((n + 1)); done; \
             apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=10 update || true");
    let asked = proxy.wait_with_output().unwrap();
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.starts_with("GET http://deb.debian.org/debian/dists/bookworm/"), "{asked}");
}
