//! The API server alone on an embedded store, for measuring: as `socle apiserver` serves it, without the rest of the
//! program to build. Prints a kubeconfig of an administrator:
//! `cargo run --release -p apiserver --example serve DIRECTORY 7443 > serve.kubeconfig`.

use apiserver::auth::{self, certificates::Certificates, node::NodeAuthorizer, rbac::Rbac};
use apiserver::listener::{self, Limits};
use apiserver::{ApiServer, Authorizer, Config, Core, Handlers, Objects, Operations, Trust, aggregation, discovery, openapi};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn params(name: &str, group: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.extended_key_usages = vec![usage];
    Ok(params)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(port)) = (arguments.next(), arguments.next()) else { return Err("which directory, which port?".into()) };
    let port: u16 = port.parse()?;

    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let (server_key, client_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let certificate = params("server", "", ExtendedKeyUsagePurpose::ServerAuth)?.signed_by(&server_key, &authority)?;
    let client = params("admin", auth::MASTERS, ExtendedKeyUsagePurpose::ClientAuth)?.signed_by(&client_key, &authority)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone())?;
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(server_key.serialize_der()).into();
    let mut tls =
        rustls::ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(vec![certificate.der().clone()], secret)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let core = Core::open(Arc::new(store::Embedded::open(std::path::Path::new(&directory))?)).await?;
    let objects: Arc<dyn Objects> = core.clone();
    let authorizer =
        auth::Union::<dyn Authorizer>(vec![Arc::new(NodeAuthorizer::start(objects.clone())), Arc::new(Rbac::start(&*objects))]);
    let mut handlers = Handlers::default();
    discovery::register(&mut handlers);
    openapi::register(&mut handlers);
    let server = ApiServer::start(Config {
        core,
        authenticator: Arc::new(Certificates::default()),
        authorizer: Arc::new(authorizer),
        handlers,
        aggregator: Arc::new(aggregation::Aggregator::default()),
        trust: Trust::default(),
        bootstrap: auth::bootstrap::objects(),
        service_cidr: "10.43.0.0/16".into(),
        node_port_range: 30000..=32767,
        // Nobody connects there, but a loopback address may be in no EndpointSlice.
        advertise_address: [192, 0, 2, 1].into(),
        advertise_port: port,
        operations: Operations::default(),
        identity: "serve".into(),
        stop: CancellationToken::new(),
    })
    .await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let [ca, crt, key] = [authority.pem(), client.pem(), client_key.serialize_pem()].map(|pem| STANDARD.encode(pem));
    println!(
        "{{current-context: a, clusters: [{{name: a, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority-data: {ca}}}}}], \
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
         users: [{{name: a, user: {{client-certificate-data: {crt}, client-key-data: {key}}}}}]}}"
    );
    listener::serve(server, listener, Arc::new(arc_swap::ArcSwap::from_pointee(tls)), Limits::default()).await;
    Ok(())
}
