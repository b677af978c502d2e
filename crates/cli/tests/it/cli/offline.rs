//! The root's key on another machine: what it signs goes there as a request and comes back as a certificate.

use super::{Lab, TestEnv};

const AUTHORITY: &str = ".phoenix/secrets/authority";

#[test]
fn an_intermediate_is_signed_where_the_roots_key_is() {
    let (lab, there) = (Lab::up(), TestEnv::site());
    lab.run(&["apply"]).ended(0);
    let here = &lab.env;
    let root = here.run(&["certs", "root"]).ended(0).out;
    // The whole folder goes to the other machine; the root's key stays there alone.
    std::fs::create_dir_all(there.path().join(".phoenix/secrets")).unwrap();
    let from = here.path().join(AUTHORITY);
    let copied =
        std::process::Command::new("cp").arg("-a").arg(&from).arg(there.path().join(AUTHORITY)).status();
    assert!(copied.unwrap().success());
    std::fs::remove_file(from.join("root.key")).unwrap();
    here.run(&["validate"]).ended(0);
    let old = here.read(&format!("{AUTHORITY}/intermediate.crt"));

    here.write("next.csr", here.run(&["certs", "request"]).ended(0).out);
    let key = here.read(&format!("{AUTHORITY}/next.key"));
    here.run(&["certs", "sign", "next.csr", "--json"])
        .ended(1)
        .error("pki::issue", "phoenix-cli certs request");
    there.write("next.csr", here.read("next.csr"));
    let signed = there.run(&["certs", "sign", "next.csr"]).ended(0).out;
    here.write("next.crt", &signed);
    let told = here.run(&["certs", "install", "next.crt"]).ended(0);
    assert!(told.err.contains("new intermediate"), "{}", told.err);
    assert_eq!(here.read(&format!("{AUTHORITY}/intermediate.key")), key);
    let new = here.read(&format!("{AUTHORITY}/intermediate.crt"));
    assert!(new != old && new.trim_end() == signed.trim_end());
    assert_eq!(here.run(&["certs", "root"]).ended(0).out, root);
    for text in [here.read("next.csr"), here.read("next.crt")] {
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }

    // Another site's is refused, and so is what is none.
    let stranger = Lab::up();
    stranger.run(&["apply"]).ended(0);
    let stranger = &stranger.env;
    here.write("next.csr", here.run(&["certs", "request"]).ended(0).out);
    stranger.write("next.csr", here.read("next.csr"));
    here.write("forged.crt", stranger.run(&["certs", "sign", "next.csr"]).ended(0).out);
    here.run(&["certs", "install", "forged.crt", "--json"]).ended(1);
    here.run(&["certs", "install", "nothing.crt", "--json"])
        .ended(1)
        .error("pki::unreadable", "phoenix-cli certs sign");
    assert_eq!(here.read(&format!("{AUTHORITY}/intermediate.crt")), new);
}
