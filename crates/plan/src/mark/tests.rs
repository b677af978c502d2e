use proptest::prelude::*;
use serde_json::json;

use super::seal::NoSeal;
use super::*;
use crate::address::kinds;
use crate::host::Host;
use crate::site_key::SiteKey;

fn certificate(name: &str) -> Address {
    Address::certificate(name)
}

fn feature(name: &str) -> Address {
    Address::feature(name, &Host::container("notes"))
}

fn dated(fingerprint: &str, serial: &str) -> Value {
    json!({ "f": fingerprint, "b": 1_790_000_000, "e": 1_797_776_000, "s": serial })
}

/// What was read of a mark, whoever made it.
fn parse(description: &str) -> Result<(String, Option<Mark>), MarkError> {
    super::parse(description).map(|(text, read)| (text, read.map(Read::into_mark)))
}

fn mark() -> Mark {
    let mut mark = Mark::new("workshop", Address::container("notes"));
    mark.remember(&feature("base"), "0011223344556677");
    mark.remember(&certificate("notes"), dated("ab", "0a"));
    mark
}

#[test]
fn foreign_descriptions_have_no_mark() {
    assert_eq!(parse("made by hand\n").unwrap(), ("made by hand".into(), None));
    assert_eq!(parse("").unwrap(), (String::new(), None));
    assert_eq!(parse("```sh\nls\n```").unwrap().1, None);
}

#[test]
fn a_cut_block_still_marks_and_a_broken_one_is_an_error() {
    let whole = render("x", &mark());
    let cut = whole.trim_end_matches("\n```");
    assert_eq!(parse(cut).unwrap().1, Some(mark()));
    let long = "f".repeat(20);
    for broken in [
        "{\"site\":".to_owned(),
        r#"{"site":"x","address":"container.a","features":{"base":5}}"#.to_owned(),
        r#"{"site":"x","address":"container.a","packed":["notes ab 1"]}"#.to_owned(),
        format!(r#"{{"site":"x","address":"container.a","packed":["notes ab {long} 1"]}}"#),
        r#"{"site":"x","address":"container.a","form":2,"applied":{"lamp":{"red":"a"}}}"#.to_owned(),
    ] {
        assert!(parse(&format!("```phoenix\n{broken}\n```")).is_err(), "{broken}");
    }
}

fn key(digit: char) -> SiteKey {
    SiteKey::from_text(&digit.to_string().repeat(64)).unwrap()
}

fn sealed(text: &str, mark: &Mark) -> String {
    seal::render(&key('1'), &Bearer::guest(120), "0123456789abcdef", text, mark)
}

#[test]
fn the_last_block_counts_and_the_others_are_text() {
    let fake = r#"{"site":"garage","address":"container.x"}"#;
    for before in [
        format!("```phoenix\n{fake}\n```"),
        // Never closed, so that it would swallow what follows.
        format!("x\n```phoenix\n{fake}"),
    ] {
        let (text, found) = parse(&render(&before, &mark())).unwrap();
        assert_eq!((text, found), (self::text(&before), Some(mark())));
    }
}

#[test]
fn a_seal_is_for_one_guest_and_all_that_the_mark_says() {
    let description = sealed("People's words.", &mark());
    let read = |description: &str| super::parse(description).unwrap().1.unwrap();
    let found = read(&description);
    assert_eq!(found.says(), &mark());
    let verified =
        |read: &Read, digit, id| read.verified(Some(&key(digit)), &Bearer::guest(id)).map(str::to_owned);
    assert_eq!(verified(&found, '1', 120).as_deref(), Ok("0123456789abcdef"));
    assert_eq!(verified(&found, '2', 120), Err(Unsealed::Another));
    assert_eq!(found.verified(None, &Bearer::guest(120)), Err(Unsealed::Another));
    assert_eq!(verified(&found, '1', 130), Err(Unsealed::CopyOf(120)));
    // People's words are theirs to change, the mark is not.
    assert!(verified(&read(&description.replace("People's", "Ada's")), '1', 120).is_ok());
    for (what, other) in [
        ("workshop", "garage"),
        ("container.notes", "container.vault"),
        ("\"base\"", "\"bass\""),
        ("0011223344556677", "0011223344556678"),
        ("\"0a\"", "\"0b\""),
        ("\"120 ", "\"121 "),
        ("0123456789abcdef", "0123456789abcdee"),
    ] {
        let changed = description.replace(what, other);
        assert_ne!(changed, description);
        assert_eq!(verified(&read(&changed), '1', 120), Err(Unsealed::Another), "{other}");
    }
    let none = read(&render("", &mark()));
    assert_eq!(verified(&none, '1', 120), Err(Unsealed::No));
    for wrong in ["", "120 a", "120  a", "120 a b c"] {
        assert_eq!(wrong.parse::<Seal>(), Err(NoSeal));
    }
}

#[test]
fn what_is_written_in_short_is_sealed_as_it_is_read() {
    let many = with_certificates(150);
    let description = sealed("The front door.", &many);
    assert!(description.len() < DESCRIPTION_LIMIT && description.contains("packed"), "{description}");
    let (text, read) = super::parse(&description).unwrap();
    let read = read.unwrap();
    assert!(read.verified(Some(&key('1')), &Bearer::guest(120)).is_ok());
    assert_eq!(sealed(&text, read.says()), description);
    let other = description.replace("service-7 ", "service-X ");
    let (_, read) = super::parse(&other).unwrap();
    assert!(read.unwrap().verified(Some(&key('1')), &Bearer::guest(120)).is_err());
}

fn with_certificates(count: usize) -> Mark {
    let mut mark = mark();
    for n in 0..count {
        mark.remember(&certificate(&format!("service-{n}")), dated(&format!("{n:012x}"), "0123456789abcdef"));
    }
    mark
}

// F-7: a gateway with 120 services.
#[test]
fn a_hundred_and_fifty_certificates_fit_into_a_description() {
    let few = with_certificates(60);
    assert_eq!(parse(&render("", &few)).unwrap().1, Some(few.clone()));
    // Also beside what another kind applied.
    for extra in [None, Some(Address::new("share", "data"))] {
        let mut many = with_certificates(150);
        if let Some(extra) = &extra {
            many.remember(extra, "0011223344556677");
        }
        let description = render("The front door.", &many);
        assert!(description.len() < DESCRIPTION_LIMIT, "{}", description.len());
        let (text, found) = parse(&description).unwrap();
        let found = found.unwrap();
        assert_eq!((text.as_str(), found.names(kinds::CERTIFICATE).count()), ("The front door.", 151));
        for (name, entry) in many.of_kind(kinds::CERTIFICATE) {
            let mut short = entry.clone();
            short["s"] = "".into();
            assert_eq!(found.entry(&certificate(name)), Some(&short));
        }
        assert_eq!(
            extra.map(|a| found.entry(&a).cloned()),
            many.names("share").next().map(|_| Some("0011223344556677".into()))
        );
        // What was read is written the same.
        assert_eq!(render(&text, &found), description);
    }
}

/// As programs have written them that knew a field a kind and nothing else.
const OF_OLD: [&str; 3] = [
    r#"{"site":"workshop","address":"container.notes"}"#,
    r#"{"site":"workshop","address":"container.notes","features":{"base":"0011223344556677","step-ca":"8899aabbccddeeff"},"certificates":{"notes":{"f":"0918273645546372","b":1790000000,"e":1797776000,"s":""},"notes.guest":{"f":"a1b2c3d4e5f60718","b":1790000000,"e":1797776000,"s":"0123456789abcdef"}},"authority":{"f":"ffeeddccbbaa9988","b":1790000000,"e":1797776000,"s":"0fedcba987654321"},"services":{"notes":"1234567890abcdef"},"set":{"tags":"phoenix;web"}}"#,
    // The node's own, which is a file.
    r#"{"site":"workshop","address":"hypervisor.certificate","features":{"certificates":"0011223344556677"},"certificates":{"hypervisor":{"f":"a1b2c3d4e5f60718","b":1790000000,"e":1797776000,"s":"0123456789abcdef"}}}"#,
];

/// The same with more certificates than fit otherwise.
fn packed_of_old() -> String {
    let more: Vec<String> = (0..140).map(|n| format!(r#""s{n:03} {n:016x} 6ab13b80 6b27e280""#)).collect();
    let head = r#"{"address":"container.notes","authority":{"b":1790000000,"e":1797776000,"f":"ffeeddccbbaa9988","s":"0fedcba987654321"},"features":{"base":"0011223344556677"},"packed":["#;
    format!(
        r#"{head}{}],"services":{{"notes":"1234567890abcdef"}},"set":{{"tags":"web"}},"site":"workshop"}}"#,
        more.join(",")
    )
}

#[test]
fn marks_of_old_are_read_and_written_byte_for_byte() {
    for json in OF_OLD.map(str::to_owned).into_iter().chain([packed_of_old()]) {
        for text in ["", "The front door.\nSecond line"] {
            let gap = if text.is_empty() { "" } else { "\n\n" };
            let description = format!("{text}{gap}```phoenix\n{json}\n```");
            let (people, mark) = parse(&description).unwrap();
            assert_eq!(render(&people, &mark.unwrap()), description);
        }
    }
    let mark = read(OF_OLD[1]);
    assert_eq!(mark.fingerprint(&feature("step-ca")), Some("8899aabbccddeeff"));
    assert_eq!(mark.fingerprint(&Address::service("notes")), Some("1234567890abcdef"));
    assert_eq!(mark.entry(&certificate("notes.guest")), Some(&dated("a1b2c3d4e5f60718", "0123456789abcdef")));
    let authority = Address::authority("notes");
    assert_eq!(mark.entry(&authority), Some(&dated("ffeeddccbbaa9988", "0fedcba987654321")));
    assert_eq!(mark.set["tags"], "phoenix;web");
    assert_eq!(read(&packed_of_old()).names(kinds::CERTIFICATE).count(), 140);
    // The node's file, and what a saved plan says of it.
    let node: Mark = serde_json::from_str(OF_OLD[2]).unwrap();
    assert_eq!(serde_json::to_string(&node).unwrap(), OF_OLD[2]);
    assert_eq!(node.names(kinds::FEATURE).collect::<Vec<_>>(), ["certificates"]);
}

fn read(json: &str) -> Mark {
    parse(&format!("```phoenix\n{json}\n```")).unwrap().1.unwrap()
}

/// All that programs read that knew no other form.
#[derive(Debug, serde::Deserialize)]
struct AsOfOld {
    site: String,
    address: Address,
}

#[test]
fn what_an_older_program_would_forget_is_another_sites_to_it() {
    let mut mark = mark();
    mark.remember(&Address::new("share", "data"), "0011223344556677");
    let written = written::plain(&mark, None);
    assert_eq!(
        written,
        r#"{"site":"workshop (marked by a newer Phoenix)","address":"container.notes","form":2,"features":{"base":"0011223344556677"},"certificates":{"notes":{"f":"ab","b":1790000000,"e":1797776000,"s":"0a"}},"applied":{"share":{"data":"0011223344556677"}}}"#
    );
    let old: AsOfOld = serde_json::from_str(&written).unwrap();
    assert_eq!(
        (old.site.as_str(), old.address),
        ("workshop (marked by a newer Phoenix)", mark.address.clone())
    );
    assert_eq!(read(&written), mark);
    // And so is a form of the future to this one, whatever is in it.
    let later = written.replace("\"form\":2", "\"form\":3").replace("\"ab\"", "7");
    let nothing = Mark::new("workshop (marked by a newer Phoenix)", mark.address.clone());
    assert_eq!(read(&later), nothing);
    // When the last of it goes, everybody reads the mark again.
    assert!(mark.forget(&Address::new("share", "data")).is_some());
    assert_eq!(mark, self::mark());
    assert!(!written::plain(&mark, None).contains("form"));
}

#[test]
fn what_is_forgotten_leaves_nothing() {
    let mut mark = mark();
    assert_eq!(mark.forget(&feature("none")), None);
    assert_eq!(mark.forget(&feature("base")), Some("0011223344556677".into()));
    mark.forget_all();
    assert_eq!(mark, Mark::new("workshop", Address::container("notes")));
}

/// Whatever a kind may write: mostly what the first kinds write, too.
fn entry() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[0-9a-f ]{0,16}".prop_map(Value::from),
        ("[0-9a-f ]{0,16}", any::<i64>(), any::<i64>(), "[0-9a-f]{0,4}")
            .prop_map(|(f, b, e, s)| json!({ "f": f, "b": b, "e": e, "s": s })),
        ("[a-z`\n\"]{0,4}", any::<u64>()).prop_map(|(key, n)| json!({ key: n, "list": [null, true] })),
        any::<i64>().prop_map(Value::from),
    ]
}

proptest! {
    /// Whatever people write comes back as what it is compared as.
    #[test]
    fn text_and_mark_survive(text in "([a-zA-Z0-9 äö<>&%:#\r\t\\x00\\x1b\n-]|\r\n| \n){0,60}") {
        let whole = render(&text, &mark());
        let (back, found) = parse(&whole).unwrap();
        prop_assert_eq!(found.clone(), Some(mark()));
        prop_assert_eq!(&back, &self::text(&text));
        prop_assert_eq!(&self::text(&back), &back);
        // The node adds a newline to a container's description (a fact of the recordings).
        prop_assert_eq!(parse(&format!("{whole}\n")).unwrap(), (back, found));
    }

    #[test]
    fn whatever_is_remembered_comes_back(
        entries in prop::collection::vec(
            ("feature|service|certificate|authority|share|lamp", "notes|[a-z0-9@./ -]{1,8}", entry()), 0..12),
        set in prop::collection::btree_map("[a-z]{1,4}", ".{0,8}", 0..3),
    ) {
        let mut mark = Mark::new("workshop", Address::container("notes"));
        for (kind, name, entry) in &entries {
            mark.remember(&Address::new(kind, name), entry.clone());
        }
        mark.set = set;
        let (_, found) = parse(&render("", &mark)).unwrap();
        prop_assert_eq!(found.as_ref(), Some(&mark));
        let json = serde_json::to_string(&mark).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Mark>(&json).unwrap(), &mark);
        let read = super::parse(&sealed("", &mark)).unwrap().1.unwrap();
        prop_assert!(read.verified(Some(&key('1')), &Bearer::guest(120)).is_ok());
        for (kind, name, _) in &entries {
            mark.forget(&Address::new(kind, name));
        }
        prop_assert_eq!(mark.names("share").count(), 0);
        let set = std::mem::take(&mut mark.set);
        prop_assert_eq!(Mark { set, ..mark }, Mark { set: found.unwrap().set, ..Mark::new("workshop", Address::container("notes")) });
    }

    #[test]
    fn whatever_stands_in_the_block_there_is_no_panic(text in ".{0,60}") {
        let _ = parse(&format!("```phoenix\n{text}\n```"));
        let _ = parse(&format!("```phoenix\n{{\"site\":\"x\",\"address\":\"container.a\",\"packed\":[{text:?}]}}\n```"));
    }
}

#[test]
fn root_and_secrets_are_remembered_and_go_with_their_feature() {
    let mut mark = mark();
    assert!(
        !written::plain(&mark, None).contains("root") && !written::plain(&mark, None).contains("secrets")
    );
    mark.root = Some("0123456789ab".to_owned());
    mark.remember_secrets("base", [("c0ffee000000".to_owned(), "00112233aabbccdd".to_owned())].into());
    let written = written::plain(&mark, None);
    assert!(written.contains(r#""root":"0123456789ab""#), "{written}");
    assert!(written.contains(r#""secrets":{"base":{"c0ffee000000":"00112233aabbccdd"}}"#), "{written}");
    assert_eq!(read(&written), mark);
    // Neither takes another form: who does not know them finds the seal broken, and leaves the guest alone.
    assert!(!written.contains("form"));
    assert!(mark.forget(&feature("base")).is_some());
    assert_eq!(mark.secrets("base"), None);
    mark.remember_secrets("base", [("c0ffee000000".to_owned(), "00".to_owned())].into());
    mark.remember_secrets("base", BTreeMap::new());
    assert_eq!(mark.secrets("base"), None);
}

/// What is in a guest stays as it was under a new name; who signs for it knows it by its name, and is asked once more.
#[test]
fn a_new_name_keeps_what_was_applied() {
    let (old, new) = (Address::container("ca"), Address::container("pki"));
    let dated = serde_json::json!({ "f": "0123456789ab", "b": 1, "e": 2, "s": "03" });
    let mut mark = Mark::new("workshop", old.clone());
    mark.remember(&Address::authority("ca"), dated.clone());
    mark.remember(&Address::certificate("notes"), dated.clone());
    mark.remember(&Address::new(kinds::FEATURE, "base"), "aa");
    let after = mark.clone().called(new.clone());
    assert_eq!(after.address, new);
    assert_eq!(after.entry(&Address::authority("pki")), Some(&dated));
    assert_eq!(after.entry(&Address::authority("ca")), None);
    assert_eq!(after.fingerprint(&Address::new(kinds::FEATURE, "base")), Some("aa"));
    let certificate = after.entry(&Address::certificate("notes")).unwrap();
    assert_eq!((&certificate["f"], &certificate["e"]), (&RENAMED.into(), &2.into()));
}

/// What a move has left is known to the run after it.
#[test]
fn volumes_that_moves_have_left_are_remembered() {
    let mut mark = Mark::new("workshop", Address::container("notes"));
    mark.left.insert("local:120/vm-120-disk-0.raw".to_owned());
    assert_eq!(read(&written::plain(&mark, None)), mark);
    mark.left.clear();
    assert!(!written::plain(&mark, None).contains("left"));
}
