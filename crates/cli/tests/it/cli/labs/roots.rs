//! Another root takes the place of the site's: in one run, or where it was cut off, and what people are told of it.

use std::process::Command;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use pki::{Authority, AuthoritySettings};

use super::{Lab, TestEnv};

const AUTHORITY: &str = ".phoenix/secrets/authority";

impl Lab {
    fn root(&self) -> String {
        self.run(&["certs", "root"]).ended(0).out
    }

    fn has(&self, file: &str) -> bool {
        self.env.path().join(AUTHORITY).join(file).exists()
    }

    fn serials(&self) -> Vec<String> {
        let certs = self.run(&["certs", "--json"]).ended(0).json();
        let rows = certs["certificates"].as_array().unwrap().iter();
        rows.map(|row| row["serial"].as_str().unwrap().to_owned()).collect()
    }

    /// A new root as a run leaves it that is killed at once.
    fn begun(&self) {
        let folder = Utf8PathBuf::from_path_buf(self.env.path().join(AUTHORITY)).unwrap();
        let settings = AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        Authority::propose_root(&folder, &settings, Timestamp::now()).unwrap().keep_new_root().unwrap();
    }
}

#[test]
fn the_root_is_replaced_in_one_run() {
    let lab = Lab::up();
    lab.run(&["rotate", "authority", "--yes", "--json"]).ended(2).error("rotate::nothing", "phoenix-cli up");
    lab.run(&["apply"]).ended(0);
    let (old, serials) = (lab.root(), lab.serials());
    let key = lab.env.read(".phoenix/secrets/authority/root.key");
    // Nobody can be asked, so nothing is done, and nothing is written for the question.
    let refused = lab.run(&["rotate", "authority"]).ended(4);
    assert!(refused.err.contains("is replaced") && refused.err.contains("update trusted-ca"), "{refused:#?}");
    assert!(lab.root() == old && !lab.has("root-next.crt") && !lab.has("root-next.key"));
    assert!(!lab.run(&["status"]).ended(0).out.contains("replaced"));

    // A copy of the folder as it is now, which somebody has elsewhere.
    let copy = lab.env.folder.path().join("copy");
    let from = lab.env.path().join(AUTHORITY);
    assert!(Command::new("cp").arg("-a").arg(&from).arg(&copy).status().unwrap().success());

    let said = lab.run(&["rotate", "authority", "--yes"]).ended(0);
    for words in ["1 of 3: ", "2 of 3: ", "3 of 3: ", "is believed anywhere any more", "certs root >"] {
        assert!(said.err.contains(words), "{words}: {said:#?}");
    }
    let new = lab.root();
    assert!(new != old && lab.env.read(".phoenix/secrets/authority/root.key") != key);
    assert_eq!(new.matches("BEGIN CERTIFICATE").count(), 1);
    assert!(serials.iter().zip(lab.serials()).all(|(old, new)| *old != new));
    for file in ["root-next.crt", "root-next.key", "root-old.crt", "root-leaving.crt"] {
        assert!(!lab.has(file), "{file}");
    }
    let status = lab.run(&["status"]).ended(0);
    assert!(
        status.err.contains("as the blueprint wants it") && !status.out.contains("replaced"),
        "{status:#?}"
    );
    assert!(lab.run(&["plan", "--json"]).ended(0).json()["steps"].as_array().unwrap().is_empty());
    assert!(lab.run(&["apply"]).ended(0).err.contains("nothing to do"));
    lab.run(&["rotate", "gateway", "--yes"]).ended(0);

    // Who has the copy would put the old root back, and is stopped.
    std::fs::rename(&from, lab.env.folder.path().join("kept")).unwrap();
    std::fs::rename(&copy, &from).unwrap();
    lab.run(&["apply", "--json"]).ended(1).error("authority::another", "copy .phoenix/secrets");
}

#[test]
fn cut_off_it_goes_on_where_it_was_and_says_so() {
    let lab = Lab::up();
    lab.run(&["apply"]).ended(0);
    let old = lab.root();
    lab.begun();
    // Whoever looks is told, and whoever applies brings the stage about and no more.
    let both = lab.root();
    assert!(both.starts_with(old.trim_end()) && both.matches("BEGIN CERTIFICATE").count() == 2);
    let new = lab.run(&["certs", "root", "--new"]).ended(0).out;
    assert!(both.trim_end().ends_with(new.trim_end()) && new.matches("BEGIN CERTIFICATE").count() == 1);
    let goes_on = "the root is being replaced, 1 of 3: ";
    assert!(lab.run(&["status"]).ended(0).out.contains(goes_on));
    assert_eq!(lab.run(&["status", "--json"]).ended(0).json()["root_stage"], 1);
    assert!(lab.run(&["certs"]).ended(0).err.contains("to go on: phoenix-cli"));
    let serials = lab.serials();
    let applied = lab.run(&["apply"]).ended(0);
    assert!(applied.err.contains(goes_on) && applied.err.contains("rotate authority"), "{applied:#?}");
    assert_eq!(lab.serials(), serials, "nothing is signed anew before all trust both");
    assert!(lab.root() == both && lab.run(&["apply"]).ended(0).err.contains("nothing to do"));
    // What stands in the way of the next stage is named, and it stays where it is.
    lab.env.edit("guests.json", "\"notes\": {", "\"noted\": {");
    let unsettled = lab.run(&["rotate", "authority", "--yes", "--json"]).ended(1);
    unsettled.error("rotate::unsettled", "rotate authority");
    assert!(lab.root() == both);
    lab.env.edit("guests.json", "\"noted\": {", "\"notes\": {");
    lab.run(&["rotate", "authority", "--yes"]).ended(0);
    assert_eq!(lab.root(), new);
    assert!(lab.serials().iter().zip(&serials).all(|(new, old)| new != old));
    assert_eq!(lab.run(&["status", "--json"]).ended(0).json()["root_stage"], serde_json::Value::Null);
}

/// The old root's key may be where nobody is for now; the new one's is here, and it is said where it belongs.
#[test]
fn a_root_whose_key_is_elsewhere_is_replaced_as_well() {
    let lab = Lab::of(TestEnv::site());
    lab.run(&["apply"]).ended(0);
    std::fs::remove_file(lab.env.path().join(AUTHORITY).join("root.key")).unwrap();
    let said = lab.run(&["rotate", "authority", "--yes"]).ended(0);
    assert!(said.err.contains("take it where you kept the last one"), "{said:#?}");
    assert!(lab.has("root.key"));
    std::fs::remove_file(lab.env.path().join(AUTHORITY).join("root.key")).unwrap();
    assert!(lab.run(&["apply"]).ended(0).err.contains("nothing to do"));
}
