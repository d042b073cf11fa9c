//! The command line. Flags override the platform file.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(name = "socle", version, about = "The on-premises production Kubernetes platform as one binary", propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Bring the platform up on this machine and stay in the foreground
    Up(Up),
    /// Run the API server alone: no node, no scheduler, no controllers
    Apiserver(Apiserver),
    /// Say what runs here and how it is
    Status(Place),
    /// Stop the platform and its containers; the data stays
    Down(Down),
    /// Write a systemd unit that keeps the platform up
    Install(Up),
    /// Print a platform file with every default written out
    Init,
    /// Print the administrator's kubeconfig
    Kubeconfig(Place),
    /// Work with the images of this machine
    #[command(subcommand)]
    Image(Image),
    /// Save and restore the cluster's state
    #[command(subcommand)]
    Snapshot(Snapshot),
}

#[derive(Args, Clone)]
pub struct Place {
    /// The platform file; without one everything has its default
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything that must last is kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// How the API server is run.
#[derive(Args, Clone)]
pub struct Operations {
    /// A Policy of audit.k8s.io/v1; without one nothing is audited
    #[arg(long, value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// Where audit events go; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// A feature gate of upstream's, on or off; may be given several times
    #[arg(long, value_name = "NAME=true|false")]
    pub feature: Vec<String>,
}

/// Where the cluster's state is.
#[derive(Args, Clone, Default)]
pub struct Datastore {
    /// `embedded`, or `etcd=https://host:2379[,https://...]`
    #[arg(long, value_name = "STORE")]
    pub datastore: Option<String>,
    /// The authority that etcd's certificates are checked against
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate that etcd is shown
    #[arg(long, value_name = "FILE")]
    pub etcd_certfile: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE")]
    pub etcd_keyfile: Option<PathBuf>,
    /// An EncryptionConfiguration: which resources are stored encrypted, with which keys
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
}

#[derive(Args, Clone)]
pub struct Up {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub operations: Operations,
    #[command(flatten)]
    pub store: Datastore,
    /// The name of this node; the host name where not given
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// A CRI socket to use instead of a containerd of socle's own
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Which controllers run: `*` for all, `name` to add one, `-name` to leave one out (`*,-job-controller`)
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    pub controllers: Option<String>,
    /// Return once the platform is ready, and leave it running
    #[arg(long)]
    pub detach: bool,
}

/// Several of these may serve one etcd, on one machine or many, when they share authority and keys.
#[derive(Args, Clone)]
pub struct Apiserver {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub operations: Operations,
    #[command(flatten)]
    pub store: Datastore,
    /// Where to listen; 6443 where not given
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Where authority and service account key are kept; `pki` in the data directory where not given
    #[arg(long, value_name = "DIR")]
    pub pki_dir: Option<PathBuf>,
}

#[derive(Args)]
pub struct Down {
    #[command(flatten)]
    pub place: Place,
    /// Remove everything: the cluster's state, its volumes, its images
    #[arg(long)]
    pub purge: bool,
}

#[derive(Subcommand)]
pub enum Image {
    /// Load image archives (docker or OCI) into the runtime
    Import {
        #[command(flatten)]
        place: Place,
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
pub enum Snapshot {
    /// Write what the store holds now to a file, while the platform runs or not
    Save(SnapshotOf),
    /// Put a snapshot in the place of the embedded store of a platform that is down
    Restore(SnapshotOf),
    /// Verify a snapshot of the embedded store, and say what is in it
    Status {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct SnapshotOf {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub store: Datastore,
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
