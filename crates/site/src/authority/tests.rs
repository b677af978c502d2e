use camino::{Utf8Path, Utf8PathBuf};
use plan::mark::Mark;
use plan::trust::{Claim, Disbelief};
use plan::{Address, wire};

use super::*;
use crate::sample::desired;

fn authority(folder: &Utf8Path) -> pki::Authority {
    let settings = pki::AuthoritySettings {
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        subnets: Vec::new(),
    };
    pki::Authority::open_or_create(folder, &settings, Timestamp::now()).unwrap()
}

fn mark(name: &str, root: Option<&str>) -> Mark {
    let mut mark = Mark::new("workshop", Address::container(name));
    mark.root = root.map(str::to_owned);
    mark
}

/// What carries these marks, of which this site's key made all or none.
fn there(marks: &[(u32, Mark)], believed: bool) -> Inventory {
    let mut inventory = Inventory::default();
    for (id, mark) in marks {
        let mut guest = Guest { id: *id, ..Guest::default() };
        if believed {
            guest.mark = Some(mark.clone());
        } else {
            let (address, says) = (mark.address.clone(), Box::new(mark.clone()));
            guest.claim = Some(Claim { address, why: Disbelief::AnotherKey, says });
        }
        inventory.guests.insert(*id, guest);
    }
    inventory
}

#[test]
fn a_root_that_guests_were_made_with_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    let here = authority(&root.join("here"));
    let ours = wire::fingerprint(&[here.root_pem()]);
    let desired = desired();
    let code = |authority: Option<&pki::Authority>, inventory: &Inventory| {
        Lost::of(authority, &desired, inventory).map(|lost| lost.error().code)
    };
    assert_eq!(code(None, &Inventory::default()), None, "a new site has lost nothing");
    for believed in [true, false] {
        let with = |roots: &[(u32, &str, Option<&str>)]| {
            let marks: Vec<_> = roots.iter().map(|(id, name, root)| (*id, mark(name, *root))).collect();
            there(&marks, believed)
        };
        // Of before that was remembered: one that is there is taken for the right one.
        let old = with(&[(120, "notes", None)]);
        assert_eq!(code(None, &old).as_deref(), Some("authority::lost"));
        assert_eq!(code(Some(&here), &old), None);
        let other = with(&[(120, "notes", None), (121, "vault", Some("0123456789ab"))]);
        assert_eq!(code(None, &other).as_deref(), Some("authority::lost"));
        assert_eq!(code(Some(&here), &other).as_deref(), Some("authority::another"));
        // On the way from one to the other.
        let both = with(&[(120, "notes", Some(&ours)), (121, "vault", Some("0123456789ab"))]);
        assert_eq!(code(Some(&here), &both), None);
        // What nobody can prove to be the site's, and is not where the blueprint has it, may be anybody's.
        let elsewhere = with(&[(500, "notes", Some("0123456789ab"))]);
        assert_eq!(code(None, &elsewhere).is_some(), believed);
        assert_eq!(code(Some(&here), &elsewhere).is_some(), believed);
    }
    let hint = |believed| {
        let lost = Lost::of(None, &desired, &there(&[(120, mark("notes", None))], believed));
        lost.unwrap().error().hint.unwrap()
    };
    assert!(hint(true).contains("copy .phoenix/secrets") && hint(true).ends_with("up --new-authority"));
    assert!(hint(false).ends_with("adopt NAME --new-authority"));
}

// What was made with a root of before is this site's own where that took its place here, and another's everywhere else.
#[test]
fn a_root_that_took_anothers_place_is_none_of_another_site() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Utf8PathBuf::from_path_buf(dir.path().join("here")).unwrap();
    let settings = pki::AuthoritySettings {
        site: "workshop".into(),
        domain: "workshop.internal".into(),
        subnets: Vec::new(),
    };
    let first = authority(&folder);
    pki::Authority::propose_root(&folder, &settings, Timestamp::now()).unwrap().keep_new_root().unwrap();
    let trusting = authority(&folder);
    let print = |pem: &str| wire::fingerprint(&[pem]);
    let (old, new) = (print(first.root_pem()), print(trusting.newest_pem()));
    let desired = desired();
    let other = |authority: &pki::Authority, root: &str| {
        let inventory = there(&[(120, mark("notes", Some(root)))], true);
        Lost::of(Some(authority), &desired, &inventory).is_some()
    };
    trusting.sign_with_new_root(Timestamp::now()).unwrap();
    let signing = authority(&folder);
    signing.leave_old_root().unwrap();
    let leaving = authority(&folder);
    leaving.forget_old_root().unwrap();
    let done = authority(&folder);
    for at in [&trusting, &signing, &leaving, &done] {
        assert!(!other(at, &old) && !other(at, &new) && other(at, "0123456789ab"), "{:?}", at.stage());
    }
    // Who has a copy of the folder of before would put the old root back.
    assert!(!other(&first, &old) && other(&first, &new));
}
