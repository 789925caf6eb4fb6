//! Measurements of mtls beside bare rustls: see the bench targets.
