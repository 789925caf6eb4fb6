//! Certificates and keys by the `openssl` command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::tools::openssl;

/// A certificate authority in a directory of its own, as `openssl ca` keeps it.
#[derive(Debug)]
pub(crate) struct Ca {
    dir: TempDir,
    issued: AtomicU32,
}

/// A leaf certificate to be.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    subject: String,
    names: String,
    usage: &'static str,
    key: KeyFile,
    window: &'static str,
}

/// How a private key is made, and with it what is written in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFile {
    Pkcs1Rsa,
    Pkcs8Ec,
    Pkcs8Ed25519,
    Pkcs8Rsa,
    Sec1Ec,
    Sec1EcWithParameters,
}

/// A leaf certificate and its key, in files.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// By openssl: see [`serial_of`].
    pub(crate) serial: String,
}

impl Ca {
    pub(crate) async fn new(name: &str) -> Self {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("ca.cnf"), CA_CONFIG.replace("NAME", name)).unwrap();
        fs::write(dir.path().join("index.txt"), "").unwrap();
        fs::write(dir.path().join("crlnumber"), "01").unwrap();
        openssl(
            dir.path(),
            "req -x509 -config ca.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 30",
        )
        .await;
        let issued = AtomicU32::new(0);
        Self { dir, issued }
    }

    /// The certificate of the authority.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Notes that this leaf is revoked, for the next list.
    pub(crate) async fn revoke(&self, issued: &Issued) {
        let leaf = issued.chain.display();
        let revoke = format!("ca -batch -config ca.cnf -revoke {leaf}");
        openssl(self.dir.path(), &revoke).await;
    }

    /// Writes a revocation list over `file`, in one step, that is due for renewal after so many seconds.
    pub(crate) async fn write_list(&self, file: &Path, seconds: u32) {
        let list = format!("ca -config ca.cnf -gencrl -crlsec {seconds} -out next.crl");
        openssl(self.dir.path(), &list).await;
        // It may be on another file system than the one it goes to.
        let staged = file.with_extension("next");
        fs::copy(self.dir.path().join("next.crl"), &staged).unwrap();
        fs::rename(staged, file).unwrap();
    }

    pub(crate) async fn issue(&self, leaf: &Leaf) -> Issued {
        let dir = self.dir.path();
        let n = self.issued.fetch_add(1, Ordering::Relaxed);
        let path = |kind: &str| dir.join(format!("leaf{n}.{kind}"));
        leaf.key.make(dir, &format!("leaf{n}.key")).await;
        let Leaf {
            subject,
            names,
            usage,
            window,
            ..
        } = leaf;
        let config = LEAF_CONFIG
            .replace("SUBJECT", subject)
            .replace("NAMES", names)
            .replace("USAGE", usage);
        fs::write(path("cnf"), config).unwrap();
        openssl(
            dir,
            &format!("req -new -utf8 -config leaf{n}.cnf -key leaf{n}.key -out leaf{n}.csr"),
        )
        .await;
        // The certificate in the file is preceded by its text, as `openssl ca` writes it unless it is told not to.
        openssl(
            dir,
            &format!("ca -batch -utf8 -config ca.cnf -extfile leaf{n}.cnf -extensions leaf {window} -in leaf{n}.csr -out leaf{n}.crt"),
        )
        .await;
        let serial = serial_of(dir, &path("crt")).await;
        Issued {
            chain: path("crt"),
            key: path("key"),
            serial,
        }
    }
}

/// The serial number in a certificate file, by openssl. It writes uppercase, we write lowercase.
pub(crate) async fn serial_of(dir: &Path, certificate: &Path) -> String {
    let arguments = format!("x509 -noout -serial -in {}", certificate.display());
    let said = openssl(dir, &arguments).await;
    let (_, serial) = said.line("serial=").split_once('=').unwrap();
    serial.to_lowercase()
}

impl Issued {
    /// Lays the leaf, its key and the bundle of `trusted` out as a TLS Secret has them.
    pub(crate) fn lay_out(&self, trusted: &Ca, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        fs::copy(&self.chain, dir.join("tls.crt")).unwrap();
        fs::copy(&self.key, dir.join("tls.key")).unwrap();
        fs::copy(trusted.bundle(), dir.join("ca.crt")).unwrap();
    }
}

impl Leaf {
    /// A server's: `localhost`, 127.0.0.1 and a SPIFFE ID.
    pub(crate) fn server() -> Self {
        Self {
            subject: "api".into(),
            names: "DNS:localhost, IP:127.0.0.1, URI:spiffe://example.org/api".into(),
            usage: "serverAuth, clientAuth",
            key: KeyFile::Pkcs8Ec,
            window: "",
        }
    }

    /// A client's, with the SPIFFE ID of this path in `example.org`.
    pub(crate) fn client(path: &str) -> Self {
        Self {
            subject: "caller".into(),
            names: format!("URI:spiffe://example.org{path}"),
            usage: "clientAuth",
            ..Self::server()
        }
    }

    pub(crate) fn subject(mut self, common_name: &str) -> Self {
        self.subject = common_name.into();
        self
    }

    pub(crate) fn names(mut self, names: &str) -> Self {
        self.names = names.into();
        self
    }

    pub(crate) fn usage(mut self, usage: &'static str) -> Self {
        self.usage = usage;
        self
    }

    pub(crate) fn key(mut self, key: KeyFile) -> Self {
        self.key = key;
        self
    }

    /// It was valid in 2020, and is not any more.
    pub(crate) fn expired(mut self) -> Self {
        self.window = "-startdate 20200101000000Z -enddate 20210101000000Z";
        self
    }
}

impl KeyFile {
    pub(crate) const ALL: [Self; 6] = [
        Self::Pkcs1Rsa,
        Self::Pkcs8Ec,
        Self::Pkcs8Ed25519,
        Self::Pkcs8Rsa,
        Self::Sec1Ec,
        Self::Sec1EcWithParameters,
    ];

    async fn make(self, dir: &Path, file: &str) {
        let (command, first_line) = match self {
            Self::Pkcs1Rsa => (
                "genrsa -traditional -out FILE 2048",
                "BEGIN RSA PRIVATE KEY",
            ),
            Self::Pkcs8Ec => (
                "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE",
                PKCS8,
            ),
            Self::Pkcs8Ed25519 => ("genpkey -algorithm ED25519 -out FILE", PKCS8),
            Self::Pkcs8Rsa => (
                "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out FILE",
                PKCS8,
            ),
            Self::Sec1Ec => (
                "ecparam -name prime256v1 -genkey -noout -out FILE",
                "BEGIN EC PRIVATE KEY",
            ),
            Self::Sec1EcWithParameters => (
                "ecparam -name secp384r1 -genkey -out FILE",
                "BEGIN EC PARAMETERS",
            ),
        };
        let file = dir.join(file);
        openssl(dir, &command.replace("FILE", &file.to_string_lossy())).await;
        #[expect(clippy::disallowed_methods, reason = "a file that this test has made")]
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with(&format!("-----{first_line}-----")),
            "{self:?} is {text:.40}"
        );
    }
}

const PKCS8: &str = "BEGIN PRIVATE KEY";

const CA_CONFIG: &str = "
[req]
prompt = no
distinguished_name = subject
x509_extensions = root
[subject]
CN = NAME
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
rand_serial = yes
default_md = sha256
default_days = 1
unique_subject = no
policy = anybody
crlnumber = crlnumber
crl_extensions = list
[anybody]
commonName = supplied
[list]
authorityKeyIdentifier = keyid
";

const LEAF_CONFIG: &str = "
[req]
prompt = no
distinguished_name = subject
[subject]
CN = SUBJECT
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = USAGE
subjectAltName = NAMES
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";
