//! What requests to stores are signed with: OpenSSL, which the Kafka client links anyway.

use object_store::Error;
use object_store::client::{CryptoProvider, DigestAlgorithm, DigestContext, HmacContext, Signer, SigningAlgorithm};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;

/// SHA-256, HMAC with it, and RSA signatures over it.
#[derive(Debug)]
pub(super) struct OpenSsl;

impl CryptoProvider for OpenSsl {
    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Box<dyn DigestContext>, Error> {
        match algorithm {
            DigestAlgorithm::Sha256 => Ok(Box::new(Digest { hash: Sha256::new(), found: [0; 32] })),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn hmac(&self, algorithm: DigestAlgorithm, secret: &[u8]) -> Result<Box<dyn HmacContext>, Error> {
        match algorithm {
            DigestAlgorithm::Sha256 => {
                let key = PKey::hmac(secret).map_err(failed)?;
                Ok(Box::new(Hmac { key, data: Vec::new(), found: Vec::new() }))
            }
            other => Err(unknown(&format!("{other:?}"))),
        }
    }

    fn sign(&self, algorithm: SigningAlgorithm, pem: &[u8]) -> Result<Box<dyn Signer>, Error> {
        match algorithm {
            SigningAlgorithm::RS256 => Ok(Box::new(Rsa(PKey::private_key_from_pem(pem).map_err(failed)?))),
            other => Err(unknown(&format!("{other:?}"))),
        }
    }
}

struct Digest {
    hash: Sha256,
    found: [u8; 32],
}

impl DigestContext for Digest {
    fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    fn finish(&mut self) -> Result<&[u8], Error> {
        self.found = std::mem::take(&mut self.hash).finish();
        Ok(&self.found)
    }
}

/// What is authenticated are a few hundred bytes that describe a request: they are kept until they are whole.
struct Hmac {
    key: PKey<Private>,
    data: Vec<u8>,
    found: Vec<u8>,
}

impl HmacContext for Hmac {
    fn update(&mut self, data: &[u8]) {
        self.data.extend_from_slice(data);
    }

    fn finish(&mut self) -> Result<&[u8], Error> {
        self.found = signed(&self.key, &self.data)?;
        Ok(&self.found)
    }
}

struct Rsa(PKey<Private>);

impl Signer for Rsa {
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Error> {
        signed(&self.0, text)
    }
}

fn signed(key: &PKey<Private>, data: &[u8]) -> Result<Vec<u8>, Error> {
    let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), key).map_err(failed)?;
    signer.sign_oneshot_to_vec(data).map_err(failed)
}

fn failed(source: ErrorStack) -> Error {
    Error::Generic { store: "OpenSSL", source: Box::new(source) }
}

fn unknown(algorithm: &str) -> Error {
    Error::NotSupported { source: format!("{algorithm} is not known here").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        crate::recording::segment_writer::hex(bytes)
    }

    /// The vectors of FIPS 180-2 (`abc`) and of RFC 4231, case 2.
    #[test]
    fn digests_and_authentication_codes_are_those_of_the_standards() {
        let mut digest = OpenSsl.digest(DigestAlgorithm::Sha256).unwrap();
        digest.update(b"a");
        digest.update(b"bc");
        let found = hex(digest.finish().unwrap());
        assert_eq!(found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut code = OpenSsl.hmac(DigestAlgorithm::Sha256, b"Jefe").unwrap();
        code.update(b"what do ya want ");
        code.update(b"for nothing?");
        let found = hex(code.finish().unwrap());
        assert_eq!(found, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_signature_is_one_that_the_key_vouches_for() {
        let key = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
        let pem = key.private_key_to_pem_pkcs8().unwrap();
        let signature = OpenSsl.sign(SigningAlgorithm::RS256, &pem).unwrap().sign(b"header.claims").unwrap();
        let mut verifier = openssl::sign::Verifier::new(MessageDigest::sha256(), &key).unwrap();
        assert!(verifier.verify_oneshot(&signature, b"header.claims").unwrap());
        assert!(OpenSsl.sign(SigningAlgorithm::RS256, b"no key").is_err());
    }
}
