//! What an authority may certify: the extension of its certificate (RFC 5280, 4.2.1.10). It is written here because the
//! library has no URIs among the names that it limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cidr::IpCidr;
use rcgen::CustomExtension;

/// `id-ce-nameConstraints`.
const OID: &[u64] = &[2, 5, 29, 30];

/// Below this, nobody has a name (RFC 6761, 6.4). An authority that may certify mail addresses and URIs there may certify
/// none that mean anything. To exclude all of them there is a constraint without characters, which OpenSSL takes for one
/// that excludes nothing, and Java for no constraint at all.
const NOWHERE: &str = ".invalid";

/// Tags of kinds of names (RFC 5280, 4.2.1.6: `GeneralName`).
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;

/// The site's domain and everything below it, of the addresses only those in the subnets, and no mail and no URIs. Critical.
pub(crate) fn name_constraints(domain: &str, subnets: &[IpCidr]) -> CustomExtension {
    // A kind of name that is not mentioned is permitted, so without subnets all addresses are excluded.
    let mut permitted = vec![
        subtree(DNS, domain.as_bytes()),
        subtree(MAIL, NOWHERE.as_bytes()),
        subtree(URI, NOWHERE.as_bytes()),
    ];
    permitted.extend(subnets.iter().map(|subnet| address(subnet.first_address(), subnet.network_length())));
    let mut content = element(0xa0, &permitted.concat());
    if subnets.is_empty() {
        let all = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        content.extend(element(0xa1, &all.map(|all| address(all, 0)).concat()));
    }
    let mut extension = CustomExtension::from_oid_content(OID, element(0x30, &content));
    extension.set_criticality(true);
    extension
}

/// Whether these permitted subtrees leave no mail address and no URI that means anything.
pub(crate) fn is_for_hosts_alone<'a>(
    mail: impl Iterator<Item = &'a str>,
    uris: impl Iterator<Item = &'a str>,
) -> bool {
    let nowhere = |names: &[&str]| !names.is_empty() && names.iter().all(|name| *name == NOWHERE);
    nowhere(&mail.collect::<Vec<_>>()) && nowhere(&uris.collect::<Vec<_>>())
}

/// An address followed by a mask of the same length.
fn address(base: IpAddr, length: u8) -> Vec<u8> {
    let mask = |bytes: usize| {
        (0..bytes).map(move |i| {
            let ones = usize::from(length).saturating_sub(8 * i).min(8);
            u8::try_from(0xff00_u16 >> ones & 0xff).unwrap_or_default()
        })
    };
    let content: Vec<u8> = match base {
        IpAddr::V4(base) => base.octets().into_iter().chain(mask(4)).collect(),
        IpAddr::V6(base) => base.octets().into_iter().chain(mask(16)).collect(),
    };
    subtree(ADDRESS, &content)
}

fn subtree(tag: u8, name: &[u8]) -> Vec<u8> {
    element(0x30, &element(tag, name))
}

/// An element of DER (X.690, 8.1): tag, length, content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // A length has eight bytes at most.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_parser::prelude::{FromDer as _, GeneralName, NameConstraints};

    use super::*;

    fn subnet() -> impl Strategy<Value = IpCidr> {
        let four = (any::<u32>(), 0u8..=32).prop_map(|(base, length)| {
            let base = Ipv4Addr::from(if length == 0 { 0 } else { base >> (32 - length) << (32 - length) });
            IpCidr::new(base.into(), length).unwrap()
        });
        let six = (any::<u128>(), 0u8..=128).prop_map(|(base, length)| {
            let base = Ipv6Addr::from(if length == 0 { 0 } else { base >> (128 - length) << (128 - length) });
            IpCidr::new(base.into(), length).unwrap()
        });
        prop_oneof![four, six]
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_another_reads(
            domain in "[a-z]{1,60}(\\.[a-z]{1,60}){0,3}",
            subnets in proptest::collection::vec(subnet(), 0..20),
        ) {
            let extension = name_constraints(&domain, &subnets);
            let (rest, read) = NameConstraints::from_der(extension.content()).unwrap();
            prop_assert!(rest.is_empty());
            let permitted = read.permitted_subtrees.unwrap();
            let (mut domains, mut mail, mut uris, mut addresses) = (vec![], vec![], vec![], vec![]);
            for tree in &permitted {
                match &tree.base {
                    GeneralName::DNSName(name) => domains.push(*name),
                    GeneralName::RFC822Name(name) => mail.push(*name),
                    GeneralName::URI(name) => uris.push(*name),
                    GeneralName::IPAddress(bytes) => addresses.extend(crate::facts::subnet(bytes)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(domains, [&*domain]);
            prop_assert!(is_for_hosts_alone(mail.into_iter(), uris.into_iter()));
            prop_assert_eq!(addresses, subnets.clone());
            prop_assert_eq!(read.excluded_subtrees.map_or(0, |all| all.len()), if subnets.is_empty() { 2 } else { 0 });
        }
    }
}
