use proptest::prelude::*;

use super::*;

fn identity(key: &age::x25519::Identity) -> Key {
    let nobody: Ask = Arc::new(|_| None);
    Key::Identities(Identities::parse(&key.to_string(), "key", nobody).unwrap())
}

fn recipient(key: &age::x25519::Identity) -> Recipient {
    key.to_public().to_string().parse().unwrap()
}

fn text(opened: Result<SecretString, SealedError>) -> String {
    opened.unwrap().expose_secret().to_owned()
}

#[test]
fn a_passphrase_opens_what_it_sealed_and_no_other_does() {
    let secret = SecretString::from("the root's key");
    let pass = |text: &str| Key::Passphrase(text.into());
    let sealed = with_passphrase(&secret, &"a horse and a staple".into()).unwrap();
    assert!(sealed.starts_with(BEGIN) && !sealed.contains("root"), "{sealed}");
    assert_eq!(takes(sealed.as_bytes()).unwrap(), Takes::Passphrase);
    assert_eq!(text(open(sealed.as_bytes(), &pass("a horse and a staple"))), "the root's key");
    let wrong = open(sealed.as_bytes(), &pass("a horse and a stable")).unwrap_err();
    assert!(matches!(wrong, SealedError::WrongPassphrase), "{wrong:?}");
    let key = age::x25519::Identity::generate();
    let wrong = open(sealed.as_bytes(), &identity(&key)).unwrap_err();
    assert!(matches!(wrong, SealedError::TakesPassphrase), "{wrong:?}");
}

#[test]
fn each_of_its_keys_opens_it_and_no_other_does() {
    let (one, two, other) = (
        age::x25519::Identity::generate(),
        age::x25519::Identity::generate(),
        age::x25519::Identity::generate(),
    );
    let sealed = to_recipients(&"secrets".into(), &[recipient(&one), recipient(&two)]).unwrap();
    assert_eq!(takes(sealed.as_bytes()).unwrap(), Takes::Identity);
    for key in [&one, &two] {
        assert_eq!(text(open(sealed.as_bytes(), &identity(key))), "secrets");
    }
    let wrong = open(sealed.as_bytes(), &identity(&other)).unwrap_err();
    assert!(matches!(wrong, SealedError::WrongIdentity), "{wrong:?}");
    let wrong = open(sealed.as_bytes(), &Key::Passphrase("a horse and a staple".into())).unwrap_err();
    assert!(matches!(wrong, SealedError::TakesIdentity), "{wrong:?}");
    assert!(to_recipients(&"secrets".into(), &[]).is_err(), "sealed for nobody");
}

#[test]
fn what_is_cut_or_changed_is_refused() {
    let key = age::x25519::Identity::generate();
    let sealed = to_recipients(&"secrets".repeat(100).as_str().into(), &[recipient(&key)]).unwrap();
    for cut in 1..sealed.len() - 1 {
        let opened = open(&sealed.as_bytes()[..cut], &identity(&key));
        assert!(opened.is_err(), "cut at {cut}");
    }
    let mut changed = 0;
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        match open(&bytes, &identity(&key)) {
            Ok(opened) => panic!("changed at {at}, and opened: {}", opened.expose_secret()),
            Err(SealedError::Changed) => changed += 1,
            Err(_) => {}
        }
    }
    assert!(changed > sealed.len() / 2, "{changed} of {}", sealed.len());
    for nothing in ["", "secrets", BEGIN, "-----BEGIN PRIVATE KEY-----\n"] {
        assert!(takes(nothing.as_bytes()).is_err(), "{nothing}");
    }
}

/// Keys that `ssh-keygen` made, one with the passphrase `a horse and a staple`.
#[test]
fn keys_of_ssh_do() {
    let public = include_str!("../keys/plain.pub");
    let key: Recipient = public.parse().unwrap();
    assert!(public.starts_with(&key.to_string()), "{key}");
    let nobody: Ask = Arc::new(|_| None);
    let asked: Ask = Arc::new(|of| of.contains("locked").then(|| "a horse and a staple".into()));
    let of = |text: &str, ask: &Ask| {
        Key::Identities(Identities::parse(&text.into(), "locked", ask.clone()).unwrap())
    };
    let sealed = to_recipients(&"secrets".into(), &[key]).unwrap();
    assert_eq!(text(open(sealed.as_bytes(), &of(include_str!("../keys/plain"), &nobody))), "secrets");
    let locked = recipients(include_str!("../keys/locked.pub")).unwrap();
    let sealed = to_recipients(&"secrets".into(), &locked).unwrap();
    let private = include_str!("../keys/locked");
    assert_eq!(text(open(sealed.as_bytes(), &of(private, &asked))), "secrets");
    let refused = open(sealed.as_bytes(), &of(private, &nobody)).unwrap_err();
    assert!(matches!(refused, SealedError::LockedIdentity), "{refused:?}");
}

#[test]
fn what_is_no_key_is_said_and_a_private_one_not_repeated() {
    let key = age::x25519::Identity::generate().to_string();
    let said = key.expose_secret().parse::<Recipient>().unwrap_err().to_string();
    assert!(said.contains("private") && !said.contains(&key.expose_secret()[20..]), "{said}");
    for wrong in ["", "age1", "age1yubikey1qwerty", "ssh-dss AAAA", "ssh-ed25519", "ecdsa-sha2-nistp256 AAAA"]
    {
        assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
    }
    let nobody: Ask = Arc::new(|_| None);
    for wrong in ["", "# nothing\n", "hello", BEGIN, "-----BEGIN OPENSSH PRIVATE KEY-----\n"] {
        assert!(Identities::parse(&wrong.into(), "x", nobody.clone()).is_err(), "{wrong}");
    }
    assert_eq!(recipients("# us\n\n").unwrap().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_sealed_opens_to_the_same(secret in ".{0,2000}") {
        let key = age::x25519::Identity::generate();
        let sealed = to_recipients(&secret.as_str().into(), &[recipient(&key)]).unwrap();
        prop_assert_eq!(text(open(sealed.as_bytes(), &identity(&key))), secret);
    }

    #[test]
    fn whatever_bytes_are_opened_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = takes(&bytes);
        let _ = open(&bytes, &Key::Passphrase("a horse and a staple".into()));
        let _ = recipients(&String::from_utf8_lossy(&bytes));
    }
}
