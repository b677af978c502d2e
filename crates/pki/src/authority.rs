//! The embedded authority: a root that signs one intermediate, which signs the leaves.
//!
//! Both are limited (a critical name constraint, RFC 5280 4.2.1.10) to the site's domain and to the subnets given when
//! they were made; without subnets no address can be certified at all. So whoever trusts the root trusts it for this
//! site's names only, even if its keys are stolen.
//!
//! Order of writing: key before certificate, root before intermediate. So after a kill there is a key without its
//! certificate at worst, and opening the folder again finishes the certificate for that very key.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use cidr::IpCidr;
use jiff::Timestamp;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    SerialNumber,
};
use secrecy::SecretString;

use crate::error::PkiError;
use crate::facts::{CertificateFacts, hex};
use crate::leaf::{Leaf, LeafRequest, check_name, within};
use crate::root::{
    Root, Validity, crypto, new_key, parse_key, read_certificate, requested_key, serial, short_id,
};
use crate::store::Store;
use crate::verify::verify_chain;

const DAY: u64 = 24 * 60 * 60;

/// Life of the root: 20 years. Every client must be told of a new one by hand, so it outlives the hardware.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * DAY);

/// Life of the intermediate: 10 years. Its successor is made by itself at two thirds of it, and clients do not notice,
/// because servers show it along with the leaf.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_secs(10 * 365 * DAY);

const INTERMEDIATE_KEY: &str = "intermediate.key";
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
                let pem = root.sign_intermediate(
                    &store,
                    &format!("Phoenix {} Intermediate CA", settings.site),
                    &parse_key(&store.path(INTERMEDIATE_KEY), &key)?,
                    now,
                )?;
                store.create(INTERMEDIATE_CERT, &pem.clone().into())?;
                let facts = CertificateFacts::parse(&pem)?;
                (pem, facts)
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            site: settings.site.clone(),
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

    /// Signs the certificate of another intermediate authority, whose key is somewhere else and stays there; `request_pem`
    /// is its request, of which nothing but the key is taken. It is limited as the root is, signs leaves only, and lives
    /// [`INTERMEDIATE_LIFE`] at most. The certificate, in PEM.
    ///
    /// # Errors
    /// A request that is none, or was not made with its own key; the root's key is not at hand.
    pub fn sign_intermediate(&self, request_pem: &str, now: Timestamp) -> Result<String, PkiError> {
        let key = requested_key(request_pem)?;
        let store = Store::open(&self.folder)?;
        let root = Root::known(&store, &self.root_pem)?;
        let name = format!("Phoenix {} Step CA {}", self.site, short_id(&key));
        root.sign_intermediate(&store, &name, &key, now)
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

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end().replace('\r', ""))
}
