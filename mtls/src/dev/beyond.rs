//! What is broken about more than the files of one set: two sides, a policy, a manifest, a whole directory.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function knows its own rules; a test says which none of them knows"
)]

use std::io;
use std::path::Path;

use mtls_core::TrustDomain;
use mtls_core::check::CheckRule;
use mtls_core::testing::{Issued, KeyKind, LeafOptions, TestCa};

use super::mount::write_file;

/// Files below a directory, and how to look at them.
pub(super) struct Beyond {
    files: Vec<(String, Vec<u8>)>,
    look: Vec<Word>,
}

/// Of a command.
enum Word {
    Plain(&'static str),
    /// A path below the directory; the directory itself, if it is empty.
    Below(&'static str),
}

use Word::{Below, Plain};

impl Beyond {
    pub(super) fn of(rule: CheckRule, domain: &TrustDomain) -> Option<Self> {
        of_sides(rule, domain)
            .or_else(|| of_manifest(rule))
            .or_else(|| of_policy(rule, domain))
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        for (name, bytes) in &self.files {
            let path = dir.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            write_file(&path, bytes)?;
        }
        Ok(())
    }

    /// What to say to `mtls check`.
    pub(super) fn look(&self, dir: &Path) -> String {
        let words = self.look.iter().map(|word| match word {
            Plain(word) => (*word).to_owned(),
            Below("") => dir.display().to_string(),
            Below(name) => dir.join(name).display().to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn of_sides(rule: CheckRule, domain: &TrustDomain) -> Option<Beyond> {
    let (ca, other) = (TestCa::new(domain.as_str()), TestCa::new(domain.as_str()));
    let against = [
        Below("web"),
        Plain("--against"),
        Below("api"),
        Plain("--dev"),
    ];
    let against = against.into_iter();
    Some(match rule {
        CheckRule::HandshakeRefused => Beyond {
            files: [
                side("web/tls", "web/ca", &ca.issue("/web")),
                side("api/tls", "api/ca", &other.issue("/api")),
            ]
            .concat(),
            look: against.collect(),
        },
        CheckRule::IdentityUnmatched => {
            let mut files = side("web/tls", "web/ca", &ca.issue("/web"));
            files.extend(side("api/tls", "api/ca", &ca.issue("/api")));
            let rule =
                format!("name = \"batch\"\npeer = {{ spiffe = \"spiffe://{domain}/batch\" }}\n");
            files.push(policy(&format!("[[allow]]\n{rule}")));
            let with_policy = [Plain("--policy"), Below(POLICY)];
            Beyond {
                files,
                look: against.chain(with_policy).collect(),
            }
        }
        // RSA leaves of one process share a key.
        CheckRule::KeyReused => {
            let rsa = |path| LeafOptions::service(path).key(KeyKind::Rsa2048);
            let [web, api] = ["/web", "/api"].map(|path| ca.issue_with(rsa(path)));
            Beyond {
                files: [
                    side("web/tls", "web/ca", &web),
                    side("api/tls", "api/ca", &api),
                ]
                .concat(),
                look: against.collect(),
            }
        }
        // Nobody's names, and which file is what is not guessed.
        CheckRule::LayoutUnknown => Beyond {
            files: side("web", "roots", &ca.issue("/web")),
            look: vec![Below(""), Plain("--dev")],
        },
        _ => return None,
    })
}

/// Chain and key by one name, the bundle by another.
fn side(credentials: &str, bundle: &str, issued: &Issued) -> Vec<(String, Vec<u8>)> {
    vec![
        (format!("{credentials}.crt"), issued.chain_pem().into()),
        (format!("{credentials}.key"), issued.key_pem().into()),
        (format!("{bundle}.crt"), issued.bundle_pem().into()),
    ]
}

fn of_manifest(rule: CheckRule) -> Option<Beyond> {
    let part = match rule {
        CheckRule::MountEnv => {
            "      env:\n        - {name: TLS_KEY, valueFrom: {secretKeyRef: {name: web-tls, key: tls.key}}}\n"
        }
        CheckRule::MountSubpath => {
            "      volumeMounts:\n        - {name: tls, mountPath: /etc/tls/tls.crt, subPath: tls.crt}\n"
        }
        _ => return None,
    };
    let pod = format!("{POD}{part}");
    Some(Beyond {
        files: vec![(MANIFEST.to_owned(), pod.into())],
        look: vec![Below(MANIFEST)],
    })
}

fn of_policy(rule: CheckRule, domain: &TrustDomain) -> Option<Beyond> {
    let all = format!("peer = {{ spiffe = \"spiffe://{domain}/ns/shop/**\" }}\n");
    let one = format!("peer = {{ spiffe = \"spiffe://{domain}/ns/shop/sa/web\" }}\n");
    let rules = match rule {
        CheckRule::PolicyNeverAllows => {
            format!("[[deny]]\nname = \"no shop\"\n{all}[[allow]]\nname = \"web\"\n{one}")
        }
        // Whoever has a SPIFFE ID is known by it alone.
        CheckRule::PolicyNeverMatches => format!(
            "[[allow]]\nname = \"web\"\npeer = {{ spiffe = \"spiffe://{domain}/web\", legacy_common_name = \"web\" }}\n"
        ),
        CheckRule::PolicyShadowed => {
            format!("[[allow]]\nname = \"the shop\"\n{all}[[allow]]\nname = \"web\"\n{one}")
        }
        CheckRule::PolicyUnreadable => {
            "[[allow]]\nname = \"web\"\npear = \"verified\"\n".to_owned()
        }
        _ => return None,
    };
    Some(Beyond {
        files: vec![policy(&rules)],
        look: vec![Plain("--policy"), Below(POLICY)],
    })
}

fn policy(rules: &str) -> (String, Vec<u8>) {
    let text = format!("otherwise = \"deny\"\n{rules}");
    (POLICY.to_owned(), text.into())
}

/// What of this is beside the files of a set in a directory.
pub(super) const NAMES: [&str; 5] = [POLICY, MANIFEST, "web.crt", "web.key", "roots.crt"];

const POLICY: &str = "policy.toml";
const MANIFEST: &str = "pod.yaml";
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  volumes:
    - {name: tls, secret: {secretName: web-tls, defaultMode: 0400}}
  containers:
    - name: web
      image: web
";
