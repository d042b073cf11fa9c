//! The cluster's authority signs.

use super::der;
use super::request::Request;
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest that a certificate lives, and how long without a wish.
const YEAR: i64 = 365 * 86400;
const LEAST: i64 = 600;
/// For clocks that are behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// A shorter life is not shortened by that.
const SHORT: i64 = 8 * 3600;

#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("the signing authority's certificate: {0}")]
    Certificate(String),
    #[error("the signing authority's key: {0}")]
    Key(String),
    #[error("the signing authority has expired")]
    Expired,
    #[error("{0}")]
    Usage(String),
}

pub struct Signer {
    key: KeyPair,
    algorithm: Vec<u8>,
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    until: Timestamp,
}

impl Signer {
    pub fn new(certificate: &str, key: &str) -> Result<Self, SignerError> {
        let bad = |e: &dyn std::fmt::Display| SignerError::Certificate(e.to_string());
        let block = pem::parse(certificate).map_err(|e| bad(&e))?;
        let (_, parsed) = X509Certificate::from_der(block.contents()).map_err(|e| bad(&e))?;
        let until = Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|e| bad(&e))?;
        let key = KeyPair::from_pem(key).map_err(|e| SignerError::Key(e.to_string()))?;
        let algorithm = algorithm(&key).ok_or_else(|| SignerError::Key("its algorithm is not supported".into()))?;
        let key_id = parsed.iter_extensions().find_map(|e| match e.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        Ok(Self { key, algorithm, issuer: parsed.subject().as_raw().to_vec(), key_id, until })
    }

    /// A certificate in PEM.
    pub fn sign(&self, request: &Request, usages: &[String], seconds: Option<i64>) -> Result<String, SignerError> {
        let now = Timestamp::now();
        if now >= self.until {
            return Err(SignerError::Expired);
        }
        let seconds = seconds.unwrap_or(YEAR).clamp(LEAST, YEAR);
        let life = SignedDuration::from_secs(seconds);
        let end = now + if seconds < SHORT { life } else { life - BACKDATE };
        let validity = der::sequence(&[&der::time(now - BACKDATE), &der::time(end.min(self.until))]);
        let mut serial = *uuid::Uuid::new_v4().as_bytes();
        serial[0] = serial[0] & 0x7f | 0x40;
        let body = der::sequence(&[
            &der::tagged(0xa0, &der::integer(&[2])),
            &der::integer(&serial),
            &self.algorithm,
            &self.issuer,
            &validity,
            &request.subject,
            &request.public_key,
            &der::tagged(0xa3, &der::tagged(der::SEQUENCE, &self.extensions(request, usages)?)),
        ]);
        let signature = self.key.sign(&body).map_err(|e| SignerError::Key(e.to_string()))?;
        let certificate = der::sequence(&[&body, &self.algorithm, &der::bits(&signature)]);
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        Ok(pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate), config))
    }

    fn extensions(&self, request: &Request, usages: &[String]) -> Result<Vec<u8>, SignerError> {
        let mut out = Vec::new();
        let (mut bits, mut purposes) = (Vec::new(), Vec::new());
        for usage in usages {
            match (bit(usage), purpose(usage)) {
                (Some(bit), _) => bits.push(bit),
                (_, Some(id)) => {
                    let id = der::tagged(0x06, id);
                    if !purposes.contains(&id) {
                        purposes.push(id);
                    }
                }
                _ => return Err(SignerError::Usage(format!("unrecognized usage values: [{usage:?}]"))),
            }
        }
        if !bits.is_empty() {
            out.extend(der::extension(&[0x55, 0x1d, 0x0f], true, &der::flags(&bits)));
        }
        if !purposes.is_empty() {
            out.extend(der::extension(&[0x55, 0x1d, 0x25], false, &der::tagged(der::SEQUENCE, &purposes.concat())));
        }
        // No authority.
        out.extend(der::extension(&[0x55, 0x1d, 0x13], true, &der::sequence(&[])));
        if let Some(id) = &self.key_id {
            out.extend(der::extension(&[0x55, 0x1d, 0x23], false, &der::sequence(&[&der::tagged(0x80, id)])));
        }
        if let Some(names) = &request.alt_names {
            out.extend(der::extension(&[0x55, 0x1d, 0x11], false, names));
        }
        Ok(out)
    }
}

/// As it stands in a certificate.
fn algorithm(key: &KeyPair) -> Option<Vec<u8>> {
    let of = key.algorithm();
    let ecdsa = |last: u8| der::sequence(&[&der::tagged(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last])]);
    if of == &rcgen::PKCS_ECDSA_P256_SHA256 {
        Some(ecdsa(2))
    } else if of == &rcgen::PKCS_ECDSA_P384_SHA384 {
        Some(ecdsa(3))
    } else if of == &rcgen::PKCS_ED25519 {
        Some(der::sequence(&[&der::tagged(0x06, &[0x2b, 0x65, 0x70])]))
    } else if of == &rcgen::PKCS_RSA_SHA256 {
        Some(der::sequence(&[&der::tagged(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b]), &[0x05, 0x00]]))
    } else {
        None
    }
}

fn bit(usage: &str) -> Option<u8> {
    Some(match usage {
        "signing" | "digital signature" => 0,
        "content commitment" => 1,
        "key encipherment" => 2,
        "data encipherment" => 3,
        "key agreement" => 4,
        "cert sign" => 5,
        "crl sign" => 6,
        "encipher only" => 7,
        "decipher only" => 8,
        _ => return None,
    })
}

fn purpose(usage: &str) -> Option<&'static [u8]> {
    const ANY: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
    const fn pkix(last: u8) -> [u8; 8] {
        [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, last]
    }
    static PKIX: [[u8; 8]; 10] = [pkix(0), pkix(1), pkix(2), pkix(3), pkix(4), pkix(5), pkix(6), pkix(7), pkix(8), pkix(9)];
    Some(match usage {
        "any" => ANY,
        "server auth" => &PKIX[1],
        "client auth" => &PKIX[2],
        "code signing" => &PKIX[3],
        "email protection" | "s/mime" => &PKIX[4],
        "ipsec end system" => &PKIX[5],
        "ipsec tunnel" => &PKIX[6],
        "ipsec user" => &PKIX[7],
        "timestamping" => &PKIX[8],
        "ocsp signing" => &PKIX[9],
        "microsoft sgc" => &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x0a, 0x03, 0x03],
        "netscape sgc" => &[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x04, 0x01],
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
