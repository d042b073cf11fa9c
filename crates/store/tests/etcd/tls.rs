//! Certificates for etcd and its clients.

/// PEM files for both sides, made for this run.
pub struct Tls {
    dir: tempfile::TempDir,
    pub ca: Vec<u8>,
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl Tls {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let leaf = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(dir.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
            (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
        };
        leaf("server");
        let (certificate, key) = leaf("client");
        std::fs::write(dir.path().join("ca.crt"), ca_certificate.pem()).unwrap();
        Self { ca: ca_certificate.pem().into_bytes(), certificate, key, dir }
    }

    /// What a member is told of them.
    pub fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let files = [("--trusted-ca-file", "ca.crt"), ("--cert-file", "server.crt"), ("--key-file", "server.key")];
        let files = files.into_iter().flat_map(|(flag, file)| [flag.to_string(), path(file)]);
        std::iter::once("--client-cert-auth".to_string()).chain(files).collect()
    }
}
