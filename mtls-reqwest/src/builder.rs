//! What a client is told once, and every `reqwest::Client` that it builds is made by.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mtls_core::ClientTls;
use mtls_core::rustls::client::Resumption;
use mtls_core::rustls::version::TLS13;
use mtls_core::rustls::{ClientConfig as RustlsConfig, ClientHandshake, RootCertStore};
use reqwest::redirect::{Attempt, Policy};

use crate::client::Client;
use crate::error::Error;
use crate::rotation::Rotation;

/// Builds a [`Client`].
#[derive(Debug)]
#[must_use]
pub struct ClientBuilder {
    tls: ClientTls,
    protocols: &'static [&'static str],
    recipe: Recipe,
}

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RedirectRule {
    /// None: a redirect is returned as the response that it is.
    None,
    /// Those to the same scheme, host and port, up to ten for a request. The default.
    #[default]
    SameOrigin,
}

impl ClientBuilder {
    pub(crate) fn new(tls: ClientTls) -> Self {
        Self {
            tls,
            protocols: PROTOCOLS,
            recipe: Recipe {
                configure: Box::new(|builder| builder),
                redirects: RedirectRule::default(),
            },
        }
    }

    /// Sets whatever else reqwest offers: timeouts, default headers, pool limits, DNS. The last one that is given counts.
    ///
    /// It runs for each snapshot, from whichever request comes first, so let it be quick. Our own settings come after it
    /// and cannot be undone: the TLS config, `https` alone, no proxy, the redirect rule, TLS info. reqwest's TLS options
    /// have no effect, and neither has its `http1_only`: use [`http1_only`](Self::http1_only).
    pub fn configure(
        mut self,
        configure: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.recipe.configure = Box::new(configure);
        self
    }

    /// Which redirects are followed. Default: [`RedirectRule::SameOrigin`].
    pub fn redirects(mut self, rule: RedirectRule) -> Self {
        self.recipe.redirects = rule;
        self
    }

    /// Speaks HTTP/1.1 alone. Default: HTTP/2 with servers that speak it, under the feature `http2`.
    ///
    /// A server's refusal is told over either, and now and then lost inside hyper ([`explain`](crate::explain())): over
    /// HTTP/1.1 more seldom than over HTTP/2.
    pub fn http1_only(mut self) -> Self {
        self.protocols = HTTP1;
        self
    }

    /// Builds it. The application protocols (ALPN) of its [`ClientTls`] are replaced by what reqwest speaks.
    ///
    /// # Errors
    ///
    /// What reqwest does not take.
    pub fn build(self) -> Result<Client, Error> {
        let tls = self.tls.with_alpn(self.protocols.iter().copied());
        let rotation = Rotation::start(tls, self.recipe).map_err(Error::from_build)?;
        Ok(Client::from(Arc::new(rotation)))
    }

    #[cfg(test)]
    pub(crate) fn into_recipe(self) -> Recipe {
        self.recipe
    }
}

/// How the `reqwest::Client` of a snapshot is made.
pub(crate) struct Recipe {
    configure: Box<dyn Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder + Send + Sync>,
    redirects: RedirectRule,
}

impl Recipe {
    pub(crate) fn build(
        &self,
        handshake: &ClientHandshake,
    ) -> Result<reqwest::Client, reqwest::Error> {
        let defaults = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        // reqwest takes a config by value alone. A clone shares the verifier and the resolver of what it was cloned from:
        // harmless within one snapshot, and a client is never rebuilt from an older config.
        let mut tls = (*handshake.config()).clone();
        // Its connections are out of our sight: of a session that was resumed nobody would ask whether its server's chain
        // still stands.
        tls.resumption = Resumption::disabled();
        // After the user's settings, so that none of them weakens these.
        (self.configure)(defaults)
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .https_only(true)
            .no_proxy()
            .redirect(self.redirects.policy())
            .build()
    }
}

/// See [`Client::placeholder`].
pub(crate) fn placeholder(tls: &ClientTls) -> Result<reqwest::Client, reqwest::Error> {
    let provider = Arc::clone(tls.handshake().config().crypto_provider());
    let config = RustlsConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let http = reqwest::Client::builder();
    // Without a config of ours reqwest looks for a provider of the process, and panics where there is none.
    let http = match config {
        Ok(config) => http.tls_backend_preconfigured(
            config
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth(),
        ),
        // Which is none, and so the error of `build`.
        Err(no_config) => http.tls_backend_preconfigured(no_config),
    };
    http.https_only(true).no_proxy().build()
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipe")
            .field("redirects", &self.redirects)
            .finish_non_exhaustive()
    }
}

impl RedirectRule {
    fn policy(self) -> Policy {
        match self {
            Self::None => Policy::none(),
            Self::SameOrigin => Policy::custom(|attempt| {
                if stays_within_origin(&attempt) {
                    Policy::limited(MAX_REDIRECTS).redirect(attempt)
                } else {
                    attempt.stop()
                }
            }),
        }
    }
}

/// RFC 6454 §5: the same scheme, host and port.
fn stays_within_origin(attempt: &Attempt<'_>) -> bool {
    let from = attempt.previous().last();
    from.is_some_and(|from| from.origin() == attempt.url().origin())
}

/// As many as reqwest follows by default.
const MAX_REDIRECTS: usize = 10;

/// For name resolution, TCP and the handshake together, as long as the other adapters give a handshake.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const HTTP1: &[&str] = &["http/1.1"];

/// hyper panics when h2 is negotiated and was not compiled in.
const PROTOCOLS: &[&str] = if cfg!(feature = "http2") {
    &["h2", "http/1.1"]
} else {
    HTTP1
};
