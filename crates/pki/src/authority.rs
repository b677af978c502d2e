//! The embedded authority: a root that signs one intermediate, which signs the leaves.
//!
//! Both are limited (a critical name constraint, RFC 5280 4.2.1.10) to the site's domain and to the subnets given when
//! they were made; without subnets no address can be certified at all, and mail addresses and URIs never. What the
//! intermediate signs is for TLS alone. So whoever trusts the root trusts it for this site's names only, even if its keys
//! are stolen.
//!
//! Order of writing: key before certificate, root before intermediate. So after a kill there is a key without its
//! certificate at worst, and opening the folder again finishes the certificate for that very key.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cidr::IpCidr;
use jiff::Timestamp;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber,
};
use secrecy::SecretString;

use crate::error::{OUTLIVED, PkiError};
use crate::facts::{CertificateFacts, hex, renew_at};
use crate::leaf::{BACKDATE, Leaf, LeafRequest, check_name, within};
use crate::next;
use crate::root::{
    self, Root, Validity, crypto, new_key, parse_key, read_certificate, requested_key, serial, short_id,
};
use crate::signed::{Holder, Ledger, Refused};
use crate::store::Store;
use crate::succession::{self, Succession};
use crate::verify::verify_chain;

const DAY: u64 = 24 * 60 * 60;

/// Life of the root: 20 years. Every client must be told of a new one by hand, so it outlives the hardware.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * DAY);

/// The shortest life of an intermediate: 13 weeks.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_secs(13 * 7 * DAY);

/// The life of leaves where nothing is said, for the first intermediate, which is made before one is asked for.
const USUAL_LIFE: Duration = Duration::from_secs(90 * DAY);

/// Life of an intermediate whose leaves live `below`: [`INTERMEDIATE_LIFE`], or three times theirs, so that one fits in what
/// is left when its successor is due, at two thirds. Whoever took its key, or had certificates made for later, has
/// nothing of it after that. Clients do not notice a successor, because servers show it along with the leaf.
#[must_use]
pub fn intermediate_life(below: Duration) -> Duration {
    INTERMEDIATE_LIFE.max(below.saturating_mul(3))
}

/// Whether an intermediate of this validity needs a successor for leaves that live `below`: two thirds of its life have
/// passed, or it was made when they lived for years.
#[must_use]
pub fn intermediate_due(
    not_before: Timestamp,
    not_after: Timestamp,
    below: Duration,
    now: Timestamp,
) -> bool {
    let life = not_after.as_second().saturating_sub(not_before.as_second());
    let most = i64::try_from(intermediate_life(below).as_secs()).unwrap_or(i64::MAX).saturating_mul(2);
    now < not_before || renew_at(not_before, not_after) <= now || life > most
}

pub(crate) const INTERMEDIATE_KEY: &str = "intermediate.key";
pub(crate) const INTERMEDIATE_CERT: &str = "intermediate.crt";

/// What an authority is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// The site's name, shown in the certificates' names.
    pub site: String,
    /// The domain that every name it issues ends in.
    pub domain: String,
    /// The subnets whose addresses it may certify. Only looked at when the root is made.
    pub subnets: Vec<IpCidr>,
}

/// A site's own certificate authority, with its keys in one folder of mode 0700.
pub struct Authority {
    folder: Utf8PathBuf,
    site: String,
    domain: String,
    root_pem: String,
    /// Whether another root takes the place of one, when it was opened.
    succession: Succession,
    /// What proxies are told to refuse, when it was opened.
    refused: Vec<Refused>,
    signer: Mutex<Signer>,
    /// The root's key in clear text, where it has a passphrase that was given.
    unlocked: Mutex<Option<SecretString>>,
}

/// What is done about an intermediate that is not there.
#[derive(Clone, Copy)]
enum Missing {
    /// It is made, and kept.
    IsMade,
    /// It is made for this process alone.
    IsNotKept,
}

/// What signs leaves.
pub(crate) struct Signer {
    pub(crate) pem: String,
    pub(crate) facts: CertificateFacts,
    pub(crate) key: SecretString,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority in `folder` (by convention `<site>/.phoenix/secrets/authority`), making what is absent.
    ///
    /// What exists is never replaced: [`Self::keep`] makes successors of intermediates. The root's key may be kept
    /// elsewhere as long as there is an intermediate that needs none.
    ///
    /// # Errors
    /// Files that others can read, that do not belong together or cannot be read; an authority of another domain.
    pub fn open_or_create(
        folder: &Utf8Path,
        settings: &AuthoritySettings,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let domain = settings.domain.to_lowercase();
        check_name(&domain)?;
        let store = Store::open(folder)?;
        succession::finish(&store)?;
        let root = Root::open_or_create(&store, settings, &domain, now)?;
        next::finish(&store)?;
        let succession = Succession::read(&store)?;
        Self::with_signer(&store, (root, succession), settings, domain, now, Missing::IsMade)
    }

    /// Opens the authority in `folder` where there is one, for who only looks: nothing is written. Where its intermediate
    /// is not there, it has one that is not kept. `None`: none was made there yet.
    ///
    /// # Errors
    /// As [`Self::open_or_create`].
    pub fn open(
        folder: &Utf8Path,
        settings: &AuthoritySettings,
        now: Timestamp,
    ) -> Result<Option<Self>, PkiError> {
        let domain = settings.domain.to_lowercase();
        check_name(&domain)?;
        let Some(store) = Store::look(folder)? else { return Ok(None) };
        let succession = Succession::read(&store)?;
        let Some(root) = succession.root(&store, &domain, now)? else { return Ok(None) };
        Self::with_signer(&store, (root, succession), settings, domain, now, Missing::IsNotKept).map(Some)
    }

    /// The authority of a root, with what signs leaves: checked, or made where it is missing.
    fn with_signer(
        store: &Store,
        (root, succession): (Root, Succession),
        settings: &AuthoritySettings,
        domain: String,
        now: Timestamp,
        missing: Missing,
    ) -> Result<Self, PkiError> {
        let keep = |name: &str, content: &SecretString| match missing {
            Missing::IsMade => store.create(name, content),
            Missing::IsNotKept => Ok(()),
        };
        // What is there is the last root's where whoever had the next one sign was killed.
        let read = |name: &str| if succession.turning { Ok(None) } else { store.read(name) };
        let key = read(INTERMEDIATE_KEY)?;
        let certificate = match read(INTERMEDIATE_CERT)? {
            Some(pem) => Some(read_certificate(store, INTERMEDIATE_CERT, &pem)?),
            None => None,
        };
        if let Some((_, facts)) = &certificate {
            let files = || (store.path(INTERMEDIATE_CERT), store.path(INTERMEDIATE_KEY));
            match &key {
                None => {
                    let (certificate, key) = files();
                    return Err(PkiError::KeyMissing { certificate, key });
                }
                Some(key) if !facts.matches_key(key) => {
                    let (certificate, key) = files();
                    return Err(PkiError::KeyMismatch { certificate, key });
                }
                Some(_) => {}
            }
        }
        let key = match key {
            Some(key) => key,
            None => {
                let key = new_key()?.serialize_pem().into();
                keep(INTERMEDIATE_KEY, &key)?;
                key
            }
        };
        let (intermediate_pem, intermediate) = match certificate {
            Some(found) => found,
            None => {
                let pair = parse_key(&store.path(INTERMEDIATE_KEY), &key)?;
                let first = first_name(&settings.site);
                // Another one that was called so may be refused.
                let known = Ledger::read(store)?.knows(&first);
                let pem = root.sign_intermediate(
                    store,
                    &if known { name_of_own(&settings.site, &pair) } else { first },
                    &pair,
                    intermediate_life(USUAL_LIFE),
                    now,
                )?;
                keep(INTERMEDIATE_CERT, &pem.clone().into())?;
                let facts = CertificateFacts::parse(&pem)?;
                (pem, facts)
            }
        };
        let refused = Ledger::read(store)?.refused(now);
        Ok(Self {
            folder: store.folder().to_owned(),
            refused,
            site: settings.site.clone(),
            domain,
            succession: succession.below(&root.pem),
            root_pem: root.pem,
            signer: Mutex::new(Signer { pem: intermediate_pem, facts: intermediate, key }),
            unlocked: Mutex::default(),
        })
    }

    pub(crate) fn signer(&self) -> MutexGuard<'_, Signer> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn unlocked(&self) -> MutexGuard<'_, Option<SecretString>> {
        self.unlocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    pub(crate) fn site(&self) -> &str {
        &self.site
    }

    pub(crate) fn succession(&self) -> &Succession {
        &self.succession
    }

    pub(crate) fn succession_mut(&mut self) -> &mut Succession {
        &mut self.succession
    }

    pub(crate) fn sign_with(&self, next: Signer) {
        *self.signer() = next;
    }

    /// A leaf of some minutes by `signer`, to be looked at and forgotten.
    pub(crate) fn probe_leaf(&self, signer: &Signer, name: &str, now: Timestamp) -> Result<Leaf, PkiError> {
        let validity = Validity::new(now, Duration::from_mins(5))?;
        self.sign_leaf(signer, &[name.to_owned()], &[], &validity)
    }

    /// Has leaves that live `below` signed by an intermediate that is young enough: where it is due, another one with a key
    /// of its own takes its place. What the old one signed stays good, for servers show it along with the leaf. Where
    /// the root's key is kept elsewhere, or has a passphrase that was not given, all stays as it is. For one process at a time.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn keep(&self, below: Duration, now: Timestamp) -> Result<(), PkiError> {
        let mut signer = self.signer();
        if !intermediate_due(signer.facts.not_before, signer.facts.not_after, below, now) {
            return Ok(());
        }
        let store = Store::open(&self.folder)?;
        let Some(next) = self.successor(&store, below, now)? else { return Ok(()) };
        Self::take_over(&store, &mut signer, next, now)
    }

    /// Has leaves that live `below` signed by an intermediate that was made since `since`, whatever the age of the one there
    /// is: its key may have been taken. For one process at a time.
    ///
    /// # Errors
    /// Where the root's key is kept elsewhere; files that cannot be read or written.
    pub fn succeed(&self, below: Duration, since: Timestamp, now: Timestamp) -> Result<(), PkiError> {
        let mut signer = self.signer();
        if signer.facts.not_before.as_second().saturating_add(BACKDATE.as_secs().cast_signed())
            >= since.as_second()
        {
            return Ok(());
        }
        let store = Store::open(&self.folder)?;
        let next = self.successor(&store, below, now)?;
        let next = next.map_or_else(|| Err(self.root(&store)?.missing(&store)), Ok)?;
        Self::take_over(&store, &mut signer, next, now)
    }

    /// What proxies are not to take from clients any more, as of when this was opened: until those who signed it end, so
    /// there is never more than was signed in that time.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Has what any other intermediate than those in use signed, for `names` or for all, refused from the next opening on: to
    /// be called when nothing shows it any more. Of those whose key is in a guest, the last one is in use where
    /// `guest_signs`. What is refused.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn refuse_others(
        &self,
        guest_signs: bool,
        names: Option<&[String]>,
        now: Timestamp,
    ) -> Result<Vec<Refused>, PkiError> {
        let signer = self.signer();
        let store = Store::open(&self.folder)?;
        let mut ledger = Ledger::read(&store)?;
        ledger.refuse_others(&signer.facts.subject, guest_signs, names);
        ledger.write(&store, now)?;
        Ok(ledger.refused(now))
    }

    /// Takes note of an intermediate whose key is in a guest, as the guest shows it. One of before this was written down is
    /// known from then on.
    ///
    /// # Errors
    /// A certificate that the root did not sign; files that cannot be read or written.
    pub fn remember(&self, pem: &str, now: Timestamp) -> Result<(), PkiError> {
        let _one_at_a_time = self.signer();
        let store = Store::open(&self.folder)?;
        let facts = self.root(&store)?.has_signed(pem)?;
        let mut ledger = Ledger::read(&store)?;
        ledger.add_before(&facts, Holder::Guest);
        ledger.write(&store, now)
    }

    fn take_over(store: &Store, signer: &mut Signer, next: Signer, now: Timestamp) -> Result<(), PkiError> {
        // Both are known before anything changes, whoever is killed.
        let mut ledger = Ledger::read(store)?;
        ledger.add_before(&signer.facts, Holder::Own);
        ledger.add(&next.facts, Holder::Own);
        ledger.write(store, now)?;
        // The certificate goes first: a kill in between leaves a key that is certified again.
        store.remove(INTERMEDIATE_CERT)?;
        store.replace(INTERMEDIATE_KEY, &next.key)?;
        store.create(INTERMEDIATE_CERT, &next.pem.clone().into())?;
        *signer = next;
        Ok(())
    }

    /// Another intermediate, where the root's key is at hand and there is something left of its life. Nothing is written.
    fn successor(&self, store: &Store, below: Duration, now: Timestamp) -> Result<Option<Signer>, PkiError> {
        let root = self.root(store)?;
        if !matches!(root.key, root::Key::Here(_)) || root.is_over(now) {
            return Ok(None);
        }
        let key = new_key()?;
        let pem = root.sign_intermediate(
            store,
            &name_of_own(&self.site, &key),
            &key,
            intermediate_life(below),
            now,
        )?;
        let facts = CertificateFacts::parse(&pem)?;
        Ok(Some(Signer { pem, facts, key: key.serialize_pem().into() }))
    }

    /// The certificate of the root that signs. What clients are given to trust is [`Self::trusted_pem`].
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The intermediate certificate.
    #[must_use]
    pub fn intermediate_pem(&self) -> String {
        self.signer().pem.clone()
    }

    /// The domain all its names end in.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Issues a certificate with a key of its own. It does not outlive what signs it: where the intermediate ends before,
    /// another one signs it, which is not kept.
    ///
    /// # Errors
    /// A name or an address outside what the authority is limited to, none at all, or a life that is nothing or longer
    /// than the authority's own.
    pub fn issue(&self, request: &LeafRequest, now: Timestamp) -> Result<Leaf, PkiError> {
        let dns_names: Vec<String> = request.dns_names.iter().map(|name| name.to_lowercase()).collect();
        for name in &dns_names {
            check_name(name)?;
            if !within(name.trim_start_matches("*."), self.domain()) {
                return Err(PkiError::OutsideDomain { name: name.clone(), domain: self.domain().to_owned() });
            }
        }
        let mut signer = self.signer();
        for address in &request.addresses {
            if !signer.facts.permitted_subnets.iter().any(|subnet| subnet.contains(address)) {
                return Err(PkiError::OutsideSubnets { address: *address });
            }
        }
        if dns_names.is_empty() && request.addresses.is_empty() {
            return Err(PkiError::NoNames { name: request.name.clone() });
        }
        let validity = Validity::new(now, request.life)?;
        let bad_life = |reason| PkiError::BadLife {
            name: request.name.clone(),
            seconds: request.life.as_secs(),
            reason,
        };
        if request.life.as_secs() == 0 {
            return Err(bad_life("that is no time at all"));
        }
        if validity.not_after > signer.facts.not_after {
            let next = self.successor(&Store::open(&self.folder)?, request.life, now)?;
            *signer = next
                .filter(|next| validity.not_after <= next.facts.not_after)
                .ok_or_else(|| bad_life(OUTLIVED))?;
        }
        let leaf = self.sign_leaf(&signer, &dns_names, &request.addresses, &validity)?;
        // Nothing leaves here that its clients would refuse, whatever somebody did to the files.
        let probe = dns_names.first().map(|name| name.replacen('*', "any", 1));
        let probe = probe.or_else(|| request.addresses.first().map(ToString::to_string)).unwrap_or_default();
        verify_chain(&leaf.chain_pem, &self.root_pem, &probe, now)?;
        Ok(leaf)
    }

    /// Signs the certificate of another intermediate authority, whose key is somewhere else and stays there; `request_pem`
    /// is its request, of which nothing but the key is taken. It is limited as the root is, signs leaves only, which live
    /// `below`, and lives as [`intermediate_life`] says at most. The certificate, in PEM.
    ///
    /// # Errors
    /// A request that is none, or was not made with its own key; the root's key is not at hand.
    pub fn sign_intermediate(
        &self,
        request_pem: &str,
        below: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let key = requested_key(request_pem)?;
        let _one_at_a_time = self.signer();
        let store = Store::open(&self.folder)?;
        let root = self.root(&store)?;
        let name = format!("Phoenix {} Step CA {}", self.site, short_id(&key));
        let pem = root.sign_intermediate(&store, &name, &key, intermediate_life(below), now)?;
        let mut ledger = Ledger::read(&store)?;
        ledger.add(&CertificateFacts::parse(&pem)?, Holder::Guest);
        ledger.write(&store, now)?;
        Ok(pem)
    }

    fn sign_leaf(
        &self,
        signer: &Signer,
        dns_names: &[String],
        addresses: &[IpAddr],
        validity: &Validity,
    ) -> Result<Leaf, PkiError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        validity.set(&mut params)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        // A common name holds 64 characters at most; nobody who checks names looks at it, people do.
        if let Some(name) = dns_names.first().filter(|name| name.len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        for name in dns_names {
            let name = name.as_str().try_into().map_err(crypto("write the name"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.subject_alt_names.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let serial = serial(&key, validity);
        params.serial_number = Some(SerialNumber::from_slice(&serial));

        let signing_key = parse_key(&self.folder.join(INTERMEDIATE_KEY), &signer.key)?;
        let issuer = Issuer::from_ca_cert_pem(&signer.pem, signing_key)
            .map_err(crypto("read the intermediate certificate"))?;
        let cert_pem = params.signed_by(&key, &issuer).map_err(crypto("sign the certificate"))?.pem();
        Ok(Leaf {
            chain_pem: format!("{}{}", with_newline(&cert_pem), with_newline(&signer.pem)),
            cert_pem,
            key_pem: key.serialize_pem().into(),
            serial: hex(&serial),
            not_before: validity.not_before,
            not_after: validity.not_after,
        })
    }
}

/// What the first intermediate of a site's own is called.
fn first_name(site: &str) -> String {
    format!("Phoenix {site} Intermediate CA")
}

/// What others are called: by their keys, so that what they sign can be told apart.
pub(crate) fn name_of_own(site: &str, key: &impl PublicKeyData) -> String {
    format!("Phoenix {site} Intermediate CA {}", short_id(key))
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end().replace('\r', ""))
}
