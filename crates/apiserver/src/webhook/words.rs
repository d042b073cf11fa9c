//! Errors as Go's HTTP client and client-go put them, because clients and operators' runbooks look for those words.

use meta::ApiError;
use std::error::Error;

/// What went wrong below HTTP: the innermost error says it.
pub fn transport(error: &(dyn Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    match inner.downcast_ref::<rustls::Error>() {
        Some(error) => tls(error),
        None => inner.to_string(),
    }
}

pub fn tls(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    let why = match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => "x509: certificate signed by unknown authority".to_string(),
        rustls::Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => "x509: certificate has expired or is not yet valid".to_string(),
        rustls::Error::InvalidCertificate(Bad::NotValidForName) => {
            "x509: certificate is not valid for the name that was asked for".to_string()
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForNameContext { expected, presented }) => match presented.as_slice() {
            [] => format!("x509: certificate is not valid for any names, but wanted to match {}", expected.to_str()),
            names => format!("x509: certificate is valid for {}, not {}", names.join(", "), expected.to_str()),
        },
        rustls::Error::InvalidCertificate(other) => format!("x509: {other}"),
        other => return format!("remote error: tls: {other}"),
    };
    format!("tls: failed to verify certificate: {why}")
}

/// An answer that is an error and says no more than its code.
pub fn status(code: u16, said: &str) -> ApiError {
    let (reason, message) = match code {
        400 => ("BadRequest", "the server rejected our request for an unknown reason".to_string()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_string()),
        403 if said.is_empty() => ("Forbidden", "the server does not allow access to the requested resource".to_string()),
        403 => ("Forbidden", said.to_string()),
        404 => ("NotFound", "the server could not find the requested resource".to_string()),
        405 => ("MethodNotAllowed", "the server does not allow this method on the requested resource".to_string()),
        406 => ("NotAcceptable", said.to_string()),
        409 => ("AlreadyExists", "the server reported a conflict".to_string()),
        415 => ("UnsupportedMediaType", said.to_string()),
        422 => ("Invalid", "the server rejected our request due to an error in our request".to_string()),
        429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later".to_string()),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_string()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request".to_string(),
        ),
        500.. => ("InternalError", format!("an error on the server ({said:?}) has prevented the request from succeeding")),
        _ => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    ApiError::new(code, reason, message)
}
