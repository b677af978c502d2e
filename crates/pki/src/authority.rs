//! The embedded authority: a root that signs one intermediate, which signs the leaves.
//!
//! Both are limited (a critical name constraint, RFC 5280 4.2.1.10) to the site's domain and to the subnets given when
//! they were made; without subnets no address can be certified at all. So whoever trusts the root trusts it for this
//! site's names only, even if its keys are stolen.
//!
//! Order of writing: key before certificate, root before intermediate. So after a kill there is a key without its
//! certificate at worst, and opening the folder again finishes the certificate for that very key.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cidr::IpCidr;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::error::PkiError;
use crate::facts::{CertificateFacts, hex};
use crate::leaf::{BACKDATE, Leaf, LeafRequest, check_name, within};
use crate::store::Store;
use crate::verify::verify_chain;

const DAY: u64 = 24 * 60 * 60;

/// Life of the root: 20 years. Every client must be told of a new one by hand, so it outlives the hardware.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * DAY);

/// Life of the intermediate: 10 years. Its successor is made by itself at two thirds of it, and clients do not notice,
/// because servers show it along with the leaf.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_secs(10 * 365 * DAY);

const ROOT_KEY: &str = "root.key";
const ROOT_CERT: &str = "root.crt";
const INTERMEDIATE_KEY: &str = "intermediate.key";
const INTERMEDIATE_CERT: &str = "intermediate.crt";

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
    root_pem: String,
    intermediate_pem: String,
    intermediate: CertificateFacts,
    intermediate_key: SecretString,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority in `folder` (by convention `<site>/.phoenix/secrets/authority`), making what is absent.
    ///
    /// A root or a key that exists is never replaced. An intermediate that is past two thirds of its life is succeeded by
    /// a new one. The root's key may be kept elsewhere as long as there is an intermediate that needs no successor.
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
        let root = Root::open_or_create(&store, settings, &domain, now)?;

        let mut key = store.read(INTERMEDIATE_KEY)?;
        let mut certificate = match store.read(INTERMEDIATE_CERT)? {
            Some(pem) => Some(read_certificate(&store, INTERMEDIATE_CERT, &pem)?),
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
            if facts.renew_at() <= now && root.key.is_some() {
                // The certificate goes first: a kill in between leaves a key that is certified again.
                store.remove(INTERMEDIATE_CERT)?;
                let new = new_key()?.serialize_pem().into();
                store.replace(INTERMEDIATE_KEY, &new)?;
                key = Some(new);
                certificate = None;
            }
        }
        let key = match key {
            Some(key) => key,
            None => {
                let key = new_key()?.serialize_pem().into();
                store.create(INTERMEDIATE_KEY, &key)?;
                key
            }
        };
        let (intermediate_pem, intermediate) = match certificate {
            Some(found) => found,
            None => {
                let pem = root.sign_intermediate(&store, settings, &key, now)?;
                store.create(INTERMEDIATE_CERT, &pem.clone().into())?;
                let facts = CertificateFacts::parse(&pem)?;
                (pem, facts)
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            root_pem: root.pem,
            intermediate_pem,
            intermediate,
            intermediate_key: key,
        })
    }

    /// The root certificate: what clients are given to trust.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The intermediate certificate.
    #[must_use]
    pub fn intermediate_pem(&self) -> &str {
        &self.intermediate_pem
    }

    /// The domain all its names end in.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.intermediate.permitted_domains.first().map_or("", String::as_str)
    }

    /// Issues a certificate with a key of its own.
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
        for address in &request.addresses {
            if !self.intermediate.permitted_subnets.iter().any(|subnet| subnet.contains(address)) {
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
        if validity.not_after > self.intermediate.not_after {
            return Err(bad_life("the intermediate certificate expires before"));
        }
        let leaf = self.sign_leaf(&dns_names, &request.addresses, &validity)?;
        // Nothing leaves here that its clients would refuse, whatever somebody did to the files.
        let probe = dns_names.first().map(|name| name.replacen('*', "any", 1));
        let probe = probe.or_else(|| request.addresses.first().map(ToString::to_string)).unwrap_or_default();
        verify_chain(&leaf.chain_pem, &self.root_pem, &probe, now)?;
        Ok(leaf)
    }

    fn sign_leaf(
        &self,
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

        let signer = Issuer::from_ca_cert_pem(&self.intermediate_pem, self.signing_key()?)
            .map_err(crypto("read the intermediate certificate"))?;
        let cert_pem = params.signed_by(&key, &signer).map_err(crypto("sign the certificate"))?.pem();
        Ok(Leaf {
            chain_pem: format!("{}{}", with_newline(&cert_pem), with_newline(&self.intermediate_pem)),
            cert_pem,
            key_pem: key.serialize_pem().into(),
            serial: hex(&serial),
            not_before: validity.not_before,
            not_after: validity.not_after,
        })
    }

    fn signing_key(&self) -> Result<KeyPair, PkiError> {
        parse_key(&self.folder.join(INTERMEDIATE_KEY), &self.intermediate_key)
    }
}

/// The root with its key, where that is at hand.
struct Root {
    pem: String,
    facts: CertificateFacts,
    key: Option<SecretString>,
}

impl Root {
    fn open_or_create(
        store: &Store,
        settings: &AuthoritySettings,
        domain: &str,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let key = store.read(ROOT_KEY)?;
        if let Some(pem) = store.read(ROOT_CERT)? {
            let (pem, facts) = read_certificate(store, ROOT_CERT, &pem)?;
            if key.as_ref().is_some_and(|key| !facts.matches_key(key)) {
                return Err(PkiError::KeyMismatch {
                    certificate: store.path(ROOT_CERT),
                    key: store.path(ROOT_KEY),
                });
            }
            if facts.permitted_domains != [domain] {
                return Err(PkiError::OtherDomain {
                    folder: store.folder().to_owned(),
                    found: facts.permitted_domains.join(", "),
                    wanted: domain.to_owned(),
                });
            }
            if facts.not_after <= now {
                return Err(PkiError::RootExpired { path: store.path(ROOT_CERT), at: facts.not_after });
            }
            return Ok(Self { pem, facts, key });
        }
        // An intermediate without any root is not ours to build on: its root is somewhere, and clients trust it.
        if key.is_none() && store.read(INTERMEDIATE_CERT)?.is_some() {
            return Err(PkiError::KeyMissing {
                certificate: store.path(INTERMEDIATE_CERT),
                key: store.path(ROOT_KEY),
            });
        }
        let key = match key {
            Some(key) => key,
            None => {
                let key = new_key()?.serialize_pem().into();
                store.create(ROOT_KEY, &key)?;
                key
            }
        };
        let pair = parse_key(&store.path(ROOT_KEY), &key)?;
        let validity = Validity::new(now, ROOT_LIFE)?;
        let params = authority_params(
            &format!("Phoenix {} Root CA", settings.site),
            BasicConstraints::Constrained(1),
            name_constraints(domain, &settings.subnets),
            &pair,
            &validity,
        )?;
        let pem = params.self_signed(&pair).map_err(crypto("sign the root certificate"))?.pem();
        store.create(ROOT_CERT, &pem.clone().into())?;
        let facts = CertificateFacts::parse(&pem)?;
        Ok(Self { pem, facts, key: Some(key) })
    }

    fn sign_intermediate(
        &self,
        store: &Store,
        settings: &AuthoritySettings,
        key: &SecretString,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let Some(root_key) = &self.key else {
            return Err(PkiError::KeyMissing {
                certificate: store.path(ROOT_CERT),
                key: store.path(ROOT_KEY),
            });
        };
        let pair = parse_key(&store.path(INTERMEDIATE_KEY), key)?;
        let mut validity = Validity::new(now, INTERMEDIATE_LIFE)?;
        validity.not_after = validity.not_after.min(self.facts.not_after);
        let domain = self.facts.permitted_domains.first().map_or("", String::as_str);
        let mut params = authority_params(
            &format!("Phoenix {} Intermediate CA", settings.site),
            BasicConstraints::Constrained(0),
            name_constraints(domain, &self.facts.permitted_subnets),
            &pair,
            &validity,
        )?;
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_pem(&self.pem, parse_key(&store.path(ROOT_KEY), root_key)?)
            .map_err(crypto("read the root certificate"))?;
        Ok(params.signed_by(&pair, &issuer).map_err(crypto("sign the intermediate certificate"))?.pem())
    }
}

fn authority_params(
    name: &str,
    constraints: BasicConstraints,
    names: NameConstraints,
    key: &KeyPair,
    validity: &Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    validity.set(&mut params)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(names);
    params.serial_number = Some(SerialNumber::from_slice(&serial(key, validity)));
    Ok(params)
}

/// The site's domain and everything below it, and of the addresses only those in the subnets.
fn name_constraints(domain: &str, subnets: &[IpCidr]) -> NameConstraints {
    let mut permitted_subtrees = vec![GeneralSubtree::DnsName(domain.to_owned())];
    permitted_subtrees.extend(subnets.iter().map(|subnet| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
            subnet.first_address(),
            subnet.network_length(),
        ))
    }));
    // A kind of name that is not mentioned is permitted, so without subnets all addresses are excluded.
    let excluded_subtrees = if subnets.is_empty() {
        [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)]
            .map(|all| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(all, 0)))
            .to_vec()
    } else {
        Vec::new()
    };
    NameConstraints { permitted_subtrees, excluded_subtrees }
}

/// From when until when, in whole seconds.
struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    fn new(now: Timestamp, life: Duration) -> Result<Self, PkiError> {
        let now_s = now.as_second();
        let time = |second: Option<i64>| {
            second
                .and_then(|s| Timestamp::from_second(s).ok())
                .filter(|t| t.as_second() >= 0)
                .ok_or(PkiError::BadTime { at: now })
        };
        let life = i64::try_from(life.as_secs()).ok();
        Ok(Self {
            not_before: time(now_s.checked_sub(BACKDATE.as_secs().cast_signed()))?,
            not_after: time(life.and_then(|life| now_s.checked_add(life)))?,
        })
    }

    fn set(&self, params: &mut CertificateParams) -> Result<(), PkiError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |t: Timestamp| {
            u64::try_from(t.as_second()).map(Duration::from_secs).map_err(|_| PkiError::BadTime { at: t })
        };
        params.not_before = epoch + since(self.not_before)?;
        params.not_after = epoch + since(self.not_after)?;
        Ok(())
    }
}

/// 16 bytes that no other certificate of the same issuer has: from the key, which is fresh, and the validity, in which a
/// second certificate for the same key differs. Positive, and without a leading zero byte.
fn serial(key: &KeyPair, validity: &Validity) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(key.subject_public_key_info());
    hash.update(validity.not_before.as_second().to_be_bytes());
    hash.update(validity.not_after.as_second().to_be_bytes());
    let mut serial = [0; 16];
    serial.copy_from_slice(&hash.finalize()[..16]);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto("make a key"))
}

fn parse_key(path: &Utf8Path, pem: &SecretString) -> Result<KeyPair, PkiError> {
    // The library's error is left out: nobody can say that it never repeats a part of its input.
    KeyPair::from_pem(pem.expose_secret()).map_err(|_| PkiError::BadKey { path: path.to_owned() })
}

fn read_certificate(
    store: &Store,
    name: &str,
    pem: &SecretString,
) -> Result<(String, CertificateFacts), PkiError> {
    let pem = pem.expose_secret();
    let facts = CertificateFacts::parse(pem).map_err(|e| match e {
        PkiError::BadCertificate { reason, .. } => {
            PkiError::BadCertificate { what: format!("`{}`", store.path(name)), reason }
        }
        other => other,
    })?;
    Ok((pem.to_owned(), facts))
}

fn crypto(doing: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Crypto { doing, source }
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end().replace('\r', ""))
}
