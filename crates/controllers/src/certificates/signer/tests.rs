use super::*;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, SanType};

fn authority() -> (String, Signer) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let signer = Signer::new(&pem, &key.serialize_pem()).unwrap();
    (pem, signer)
}

fn request(name: &str, alt: Option<&str>) -> Request {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.extend(alt.map(|a| SanType::DnsName(a.try_into().unwrap())));
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    Request::parse(csr.pem().unwrap().as_bytes()).unwrap()
}

fn usages(all: &[&str]) -> Vec<String> {
    all.iter().map(|u| u.to_string()).collect()
}

#[test]
fn a_certificate_says_what_was_asked_for_and_verifies() {
    let (ca, signer) = authority();
    let request = request("system:node:n1", Some("n1.example.com"));
    let usages = usages(&["digital signature", "key encipherment", "server auth"]);
    let signed = signer.sign(&request, &usages, Some(3600)).unwrap();
    let (ca, signed) = (pem::parse(ca).unwrap(), pem::parse(signed).unwrap());
    let (_, ca) = X509Certificate::from_der(ca.contents()).unwrap();
    let (rest, certificate) = X509Certificate::from_der(signed.contents()).unwrap();
    assert!(rest.is_empty());
    certificate.verify_signature(Some(ca.public_key())).unwrap();
    assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:n1");
    assert_eq!(certificate.issuer().as_raw(), ca.subject().as_raw());
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && !purposes.client_auth && !certificate.is_ca());
    assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    let validity = certificate.validity();
    assert_eq!(validity.not_after.timestamp() - validity.not_before.timestamp(), 3600 + 300);
}

#[test]
fn signers_insist_on_their_rules() {
    use crate::certificates::request::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING};
    let client = usages(&["digital signature", "client auth"]);
    let serving = usages(&["server auth", "key encipherment", "digital signature"]);
    let node = request("system:node:n1", None);
    assert_eq!(node.check(KUBELET_CLIENT, &client), Ok(()));
    assert_eq!(node.check(KUBELET_SERVING, &serving).unwrap_err(), "DNS or IP subjectAltName is required");
    let named = request("system:node:n1", Some("n1"));
    assert_eq!(named.check(KUBELET_SERVING, &serving), Ok(()));
    assert_eq!(named.check(KUBELET_CLIENT, &client).unwrap_err(), "DNS subjectAltNames are not allowed");
    assert!(request("jane", None).check(KUBELET_CLIENT, &client).unwrap_err().contains("common name"));
    assert_eq!(node.check(CLIENT, &serving).unwrap_err(), "invalid usage for client certificate: server auth");
}
