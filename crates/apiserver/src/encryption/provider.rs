//! The ciphers, in upstream's forms of what is stored.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use crypto_secretbox::XSalsa20Poly1305;
use rand::RngExt;

type Aes192Gcm = AesGcm<Aes192, U12>;

const GCM_NONCE: usize = 12;
const CBC_IV: usize = 16;
const BOX_NONCE: usize = 24;

pub struct Key {
    pub name: String,
    pub secret: Vec<u8>,
}

pub enum Provider {
    Identity,
    AesGcm(Vec<Key>),
    AesCbc(Vec<Key>),
    SecretBox(Vec<Key>),
}

/// Wrong key, altered bytes, or another object's: which, cannot be told.
#[derive(Debug)]
pub struct Broken;

impl Provider {
    /// What its bytes begin with; empty for those that are as they were.
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::AesGcm(_) => "k8s:enc:aesgcm:v1:",
            Self::AesCbc(_) => "k8s:enc:aescbc:v1:",
            Self::SecretBox(_) => "k8s:enc:secretbox:v1:",
        }
    }

    pub fn keys(&self) -> &[Key] {
        match self {
            Self::Identity => &[],
            Self::AesGcm(keys) | Self::AesCbc(keys) | Self::SecretBox(keys) => keys,
        }
    }

    /// `place` is the object's key in the store, which the result is bound to where the cipher can.
    pub fn seal(&self, key: &Key, plain: &[u8], place: &str) -> Result<Vec<u8>, Broken> {
        match self {
            Self::Identity => Ok(plain.to_vec()),
            Self::AesGcm(_) => {
                let nonce = random::<GCM_NONCE>();
                let payload = Payload { msg: plain, aad: place.as_bytes() };
                let sealed = match key.secret.len() {
                    16 => gcm::<Aes128Gcm>(&key.secret)?.encrypt(&nonce.into(), payload),
                    24 => gcm::<Aes192Gcm>(&key.secret)?.encrypt(&nonce.into(), payload),
                    _ => gcm::<Aes256Gcm>(&key.secret)?.encrypt(&nonce.into(), payload),
                };
                Ok([&nonce[..], &sealed.map_err(|_| Broken)?].concat())
            }
            Self::AesCbc(_) => {
                let iv = random::<CBC_IV>();
                let sealed = match key.secret.len() {
                    16 => cbc_seal::<Aes128>(&key.secret, &iv, plain),
                    24 => cbc_seal::<Aes192>(&key.secret, &iv, plain),
                    _ => cbc_seal::<Aes256>(&key.secret, &iv, plain),
                };
                Ok([&iv[..], &sealed?].concat())
            }
            Self::SecretBox(_) => {
                let nonce = random::<BOX_NONCE>();
                let sealed = gcm::<XSalsa20Poly1305>(&key.secret)?.encrypt(&nonce.into(), plain);
                Ok([&nonce[..], &sealed.map_err(|_| Broken)?].concat())
            }
        }
    }

    pub fn open(&self, key: &Key, sealed: &[u8], place: &str) -> Result<Vec<u8>, Broken> {
        match self {
            Self::Identity => Ok(sealed.to_vec()),
            Self::AesGcm(_) => {
                let (nonce, msg) = sealed.split_first_chunk::<GCM_NONCE>().ok_or(Broken)?;
                let payload = Payload { msg, aad: place.as_bytes() };
                let plain = match key.secret.len() {
                    16 => gcm::<Aes128Gcm>(&key.secret)?.decrypt(nonce.into(), payload),
                    24 => gcm::<Aes192Gcm>(&key.secret)?.decrypt(nonce.into(), payload),
                    _ => gcm::<Aes256Gcm>(&key.secret)?.decrypt(nonce.into(), payload),
                };
                plain.map_err(|_| Broken)
            }
            Self::AesCbc(_) => {
                let (iv, sealed) = sealed.split_first_chunk::<CBC_IV>().ok_or(Broken)?;
                match key.secret.len() {
                    16 => cbc_open::<Aes128>(&key.secret, iv, sealed),
                    24 => cbc_open::<Aes192>(&key.secret, iv, sealed),
                    _ => cbc_open::<Aes256>(&key.secret, iv, sealed),
                }
            }
            Self::SecretBox(_) => {
                let (nonce, sealed) = sealed.split_first_chunk::<BOX_NONCE>().ok_or(Broken)?;
                gcm::<XSalsa20Poly1305>(&key.secret)?.decrypt(nonce.into(), sealed).map_err(|_| Broken)
            }
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes);
    bytes
}

/// The cipher of a key, whose size the configuration has checked.
fn gcm<C: KeyInit>(secret: &[u8]) -> Result<C, Broken> {
    C::new_from_slice(secret).map_err(|_| Broken)
}

fn cbc_seal<C>(secret: &[u8], iv: &[u8], plain: &[u8]) -> Result<Vec<u8>, Broken>
where
    C: BlockEncryptMut + aes::cipher::BlockCipher,
    cbc::Encryptor<C>: KeyIvInit + BlockEncryptMut,
{
    let cipher = <cbc::Encryptor<C> as KeyIvInit>::new_from_slices(secret, iv).map_err(|_| Broken)?;
    Ok(cipher.encrypt_padded_vec_mut::<Pkcs7>(plain))
}

fn cbc_open<C>(secret: &[u8], iv: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Broken>
where
    C: BlockDecryptMut + aes::cipher::BlockCipher,
    cbc::Decryptor<C>: KeyIvInit + BlockDecryptMut,
{
    let cipher = <cbc::Decryptor<C> as KeyIvInit>::new_from_slices(secret, iv).map_err(|_| Broken)?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed).map_err(|_| Broken)
}
