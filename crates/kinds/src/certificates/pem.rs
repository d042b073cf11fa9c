//! What a request and its answer hold: PEM, and whether it is what it says.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A request that is signed with its own key.
pub fn check_request(text: &[u8]) -> Result<(), String> {
    let block = pem::parse(text).ok().filter(|block| block.tag() == "CERTIFICATE REQUEST");
    let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (rest, request) = X509CertificationRequest::from_der(block.contents()).map_err(|e| e.to_string())?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    match request.verify_signature() {
        // A kind of signature that is not known here may be right.
        Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Certificates and nothing else.
pub fn check_certificates(text: &[u8]) -> Result<(), String> {
    let blocks = pem::parse_many(text).map_err(|e| e.to_string())?;
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    for block in blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.tag()));
        }
        if block.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".into());
        }
        let (rest, _) = X509Certificate::from_der(block.contents()).map_err(|e| e.to_string())?;
        if !rest.is_empty() {
            return Err("x509: trailing data".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn requests_and_certificates_are_what_they_say() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::default();
        let request = params.serialize_request(&key).unwrap();
        let text = request.pem().unwrap();
        assert_eq!(check_request(text.as_bytes()), Ok(()));
        let mut der = request.der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
        assert!(check_request(forged.as_bytes()).is_err());
        let certificate = params.self_signed(&key).unwrap().pem();
        assert_eq!(check_request(certificate.as_bytes()), Err("PEM block type must be CERTIFICATE REQUEST".into()));
        assert_eq!(check_certificates(certificate.as_bytes()), Ok(()));
        assert_eq!(
            check_certificates(format!("{certificate}{text}").as_bytes()),
            Err("only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"".into())
        );
        assert_eq!(check_certificates(b"x"), Err("must contain at least one CERTIFICATE PEM block".into()));
    }
}
