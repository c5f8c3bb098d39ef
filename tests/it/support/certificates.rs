//! Certificates for servers of the tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The files of a certificate.
#[derive(Debug)]
pub struct CertificateFiles {
    /// The authority that signed it.
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl CertificateFiles {
    /// Makes an authority and a certificate that it signs for some hosts, in files of a directory.
    /// Replaces those that are there.
    pub fn make(directory: &Path, hosts: &[&str]) -> Self {
        let key = || KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, directory.display().to_string());
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let server_key = key();
        let certificate = CertificateParams::new(hosts).expect("names of hosts").signed_by(&server_key, &authority);
        let write = |name: &str, pem: String| {
            let path = directory.join(name);
            fs::write(&path, pem).expect("write a file");
            path
        };
        Self {
            authority: write("authority.pem", authority.pem()),
            certificate: write("certificate.pem", certificate.expect("a certificate").pem()),
            key: write("key.pem", server_key.serialize_pem()),
        }
    }
}
