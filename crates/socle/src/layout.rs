//! Where things are on disk: what must last under the data directory, what a boot may forget under
//! the run directory. The two are paired by name, so that a second data directory is a second platform.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Held by the platform of this machine: its bridge and its firewall tables are there once.
pub const MACHINE_LOCK: &str = "/run/socle-machine.lock";
pub const DEFAULT_DATA_DIR: &str = "/var/lib/socle";

#[derive(Clone, Debug)]
pub struct Layout {
    pub data: PathBuf,
    pub run: PathBuf,
    pki: PathBuf,
}

impl Layout {
    pub fn new(data: &Path) -> Self {
        let run = if data == Path::new(DEFAULT_DATA_DIR) {
            PathBuf::from("/run/socle")
        } else {
            // Socket paths are short, so the directory's name is a digest and not the path.
            let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
            PathBuf::from(format!("/run/socle-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]))
        };
        Self { data: data.to_path_buf(), run, pki: data.join("pki") }
    }

    /// With authority and keys elsewhere, where other API servers of the cluster find them too.
    pub fn with_pki(self, pki: PathBuf) -> Self {
        Self { pki, ..self }
    }

    /// With nothing outside the data directory, for what runs without being root.
    pub fn contained(self) -> Self {
        Self { run: self.data.join("run"), ..self }
    }

    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }

    pub fn pki(&self) -> PathBuf {
        self.pki.clone()
    }

    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.data.join("kubeconfig")
    }

    pub fn kubelet(&self) -> PathBuf {
        self.data.join("kubelet")
    }

    pub fn network(&self) -> PathBuf {
        self.data.join("network")
    }

    pub fn cni_conf(&self) -> PathBuf {
        self.data.join("cni/conf")
    }

    pub fn cni_bin(&self) -> PathBuf {
        self.data.join("cni/bin")
    }

    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Names of the images that came from archives; gone with the runtime's store.
    pub fn imported_images(&self) -> PathBuf {
        self.containerd_root().join("socle-imported").join("names")
    }

    pub fn containerd_root(&self) -> PathBuf {
        self.data.join("containerd")
    }

    pub fn containerd_state(&self) -> PathBuf {
        self.run.join("containerd")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    pub fn registries(&self) -> PathBuf {
        self.data.join("registries")
    }

    pub fn ready(&self) -> PathBuf {
        self.run.join("ready")
    }

    pub fn log(&self) -> PathBuf {
        self.data.join("socle.log")
    }

    /// Makes the directories that every command which stays needs.
    pub fn create(&self) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for dir in [&self.data, &self.run] {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::set_permissions(&self.data, std::fs::Permissions::from_mode(0o711))
    }

    /// Makes those of a node too, which others expect to exist.
    pub fn create_node(&self) -> std::io::Result<()> {
        self.create()?;
        for dir in [self.kubelet(), self.network(), self.cni_conf(), self.cni_bin(), self.images(), self.registries()] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(())
    }
}
