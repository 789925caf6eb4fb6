//! Why a client could not be built.

use std::error::Error as _;

/// Why a [`Client`](crate::Client) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// reqwest refused its settings.
    #[error("reqwest cannot build a client")]
    Build {
        /// reqwest's word.
        #[source]
        source: reqwest::Error,
    },
    /// The version of reqwest that is linked knows another version of rustls than ours.
    #[error("the linked reqwest does not take the TLS configs that we make")]
    UnsupportedReqwest {
        /// reqwest's word.
        #[source]
        source: reqwest::Error,
    },
}

impl Error {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Build { .. } => "look at the cause, and at what `configure` sets",
            Self::UnsupportedReqwest { .. } => {
                "let `cargo tree -i rustls` show one version of rustls, by pinning reqwest to 0.13 or upgrading mtls-reqwest"
            }
        }
    }

    /// What building a `reqwest::Client` returned, in our terms.
    pub(crate) fn from_build(source: reqwest::Error) -> Self {
        // reqwest takes the config as `dyn Any` and has no kind for one that it does not know, only this text.
        let unknown = source
            .source()
            .is_some_and(|cause| cause.to_string().starts_with("Unknown TLS backend"));
        if unknown {
            Self::UnsupportedReqwest { source }
        } else {
            Self::Build { source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_reqwest_does_not_know_is_told_from_other_failures() {
        // What a config of another rustls is to reqwest: some other type.
        let foreign = reqwest::Client::builder().tls_backend_preconfigured("a config");
        let error = Error::from_build(foreign.build().unwrap_err());
        assert!(matches!(error, Error::UnsupportedReqwest { .. }), "{error}");
        assert!(error.remedy().contains("rustls"));
    }

    #[test]
    fn a_setting_that_reqwest_refuses_is_no_matter_of_versions() {
        let bad = reqwest::Client::builder().user_agent("two\nlines");
        let error = Error::from_build(bad.build().unwrap_err());
        assert!(matches!(error, Error::Build { .. }), "{error}");
    }
}
