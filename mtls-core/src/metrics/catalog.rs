//! The list of metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: MetricKind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// It only grows, until the process ends.
    Counter,
    /// It is what it was when it was last looked at.
    Gauge,
    /// It counts values by their size.
    Histogram,
}

impl MetricKind {
    /// Its name, as Prometheus has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        let kind = MetricKind::Counter;
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        let kind = MetricKind::Gauge;
        Self {
            name,
            kind,
            labels,
            help,
        }
    }

    /// Its unit: the one that its name says, or a count.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self.name.ends_with("_seconds") {
            true => "seconds",
            false => "count",
        }
    }
}

/// Tells the recorder that is installed what each metric means: the `# HELP` of Prometheus.
pub fn describe() {
    for metric in METRICS {
        let unit = match metric.unit() {
            "seconds" => Unit::Seconds,
            _ => Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, unit, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, unit, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, unit, metric.help),
        }
    }
}

/// Upper bounds for the buckets of `mtls_handshake_duration_seconds`, in seconds: from a resumption on loopback to the default
/// handshake timeout. An exporter that is told of none makes a summary, which cannot be added up over instances.
pub const HANDSHAKE_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

pub(super) const ALERTS: &str = "mtls_alerts_received_total";
pub(super) const ANCHORS: &str = "mtls_trust_anchors";
pub(super) const BUILD: &str = "mtls_build_info";
pub(super) const BUNDLE_NOT_AFTER: &str = "mtls_trust_bundle_not_after_timestamp_seconds";
pub(super) const CLOCK: &str = "mtls_clock_timestamp_seconds";
pub(super) const CONNECTIONS: &str = "mtls_connections";
pub(super) const CONNECTIONS_CUT: &str = "mtls_connections_cut_total";
pub(super) const CONNECTIONS_DRAINED: &str = "mtls_connections_drained_total";
pub(super) const CRL_NEXT_UPDATE: &str = "mtls_crl_next_update_timestamp_seconds";
pub(super) const CRL_THIS_UPDATE: &str = "mtls_crl_this_update_timestamp_seconds";
pub(super) const GENERATION: &str = "mtls_snapshot_generation";
pub(super) const HANDSHAKES: &str = "mtls_handshakes_total";
pub(super) const HANDSHAKE_SECONDS: &str = "mtls_handshake_duration_seconds";
pub(super) const LAST_ATTEMPT: &str = "mtls_reload_last_attempt_timestamp_seconds";
pub(super) const LAST_SUCCESS: &str = "mtls_reload_last_success_timestamp_seconds";
pub(super) const NOT_AFTER: &str = "mtls_credentials_not_after_timestamp_seconds";
pub(super) const NOT_BEFORE: &str = "mtls_credentials_not_before_timestamp_seconds";
pub(super) const PLAINTEXT: &str = "mtls_connections_plaintext";
pub(super) const PLAINTEXT_TOTAL: &str = "mtls_plaintext_connections_total";
pub(super) const RELOADS: &str = "mtls_reloads_total";
pub(super) const RENEWAL_LATE: &str = "mtls_credentials_renewal_late";
pub(super) const REQUESTS_REFUSED: &str = "mtls_requests_refused_total";
pub(super) const REVOKED: &str = "mtls_credentials_revoked";
pub(super) const SOURCE_UP: &str = "mtls_source_up";
pub(super) const STUCK_MOUNTS: &str = "mtls_stuck_mounts";
pub(super) const WATCH_ERRORS: &str = "mtls_watch_errors_total";
pub(super) const WATCH_MODE: &str = "mtls_watch_mode";

/// Every metric, by name. `side` is the part that we play; `name` the operator's name of a source; `reason` a
/// [`Reason`](crate::Reason), or `none`.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        ALERTS,
        &["side", "alert"],
        "TLS alerts by which peers refused us: their word, and not our reason",
    ),
    Metric::gauge(
        BUILD,
        &["version", "fips"],
        "1; which version of mtls this is, and whether its crypto provider is FIPS 140-3 approved",
    ),
    Metric::gauge(
        CLOCK,
        &["name"],
        "the clock that certificates are judged by, as of the last check of the files",
    ),
    Metric::gauge(
        CONNECTIONS,
        &["name", "side", "trust"],
        "open connections whose peer the trust that is served vouches for (current), or is not known to vouch for (older)",
    ),
    Metric::counter(
        CONNECTIONS_CUT,
        &["side", "cause", "reason"],
        "connections that did not end by themselves in time",
    ),
    Metric::counter(
        CONNECTIONS_DRAINED,
        &["side", "cause", "reason"],
        "connections that were told to end: no new requests, what is in flight finishes",
    ),
    Metric::gauge(
        PLAINTEXT,
        &[],
        "open connections in plaintext, which a permissive server takes for the time of a migration",
    ),
    Metric::gauge(
        NOT_AFTER,
        &["name"],
        "the end of the certificate that ends first in the chain that is served",
    ),
    Metric::gauge(
        NOT_BEFORE,
        &["name"],
        "the beginning of the certificate that ends first in the chain that is served",
    ),
    Metric::gauge(
        RENEWAL_LATE,
        &["name"],
        "1 when the leaf that is served should have been replaced by now, by what its renewer did before",
    ),
    Metric::gauge(
        REVOKED,
        &["name"],
        "1 when a revocation list of ours has a certificate of our own chain",
    ),
    Metric::gauge(
        CRL_NEXT_UPDATE,
        &["name"],
        "the end of the revocation list that ends first, +Inf without any",
    ),
    Metric::gauge(
        CRL_THIS_UPDATE,
        &["name"],
        "the beginning of the revocation list that ends first, +Inf without any",
    ),
    Metric {
        name: HANDSHAKE_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["side"],
        help: "how long handshakes took that were done, from the connection on",
    },
    Metric::counter(
        HANDSHAKES,
        &["side", "outcome", "reason"],
        "handshakes: ok, refused by one of both sides, or failed before anybody had decided",
    ),
    Metric::counter(
        PLAINTEXT_TOTAL,
        &[],
        "connections in plaintext that a permissive server has taken",
    ),
    Metric::gauge(
        LAST_ATTEMPT,
        &["name"],
        "when the source was last read, whatever came of it",
    ),
    Metric::gauge(
        LAST_SUCCESS,
        &["name"],
        "when the source was last found to hold what is served",
    ),
    Metric::counter(
        RELOADS,
        &["name", "outcome", "reason"],
        "looks at the source: ok (something new is served), unchanged, rejected, or io_error",
    ),
    Metric::counter(
        REQUESTS_REFUSED,
        &["reason"],
        "requests that a guard or a layer answered with a refusal",
    ),
    Metric::gauge(GENERATION, &["name"], "which snapshot is served, from 1"),
    Metric::gauge(
        SOURCE_UP,
        &["name"],
        "0 while the newest material of the source is not what is served",
    ),
    Metric::gauge(
        STUCK_MOUNTS,
        &["name"],
        "files that are mounted by themselves, so that their replacement will never be seen",
    ),
    Metric::gauge(
        ANCHORS,
        &["name"],
        "trust anchors that are served, of every trust domain",
    ),
    Metric::gauge(
        BUNDLE_NOT_AFTER,
        &["name"],
        "the end of the trust anchor that ends first",
    ),
    Metric::counter(
        WATCH_ERRORS,
        &["name", "reason"],
        "how often events of the filesystem ceased to be heard: directory, failed, limit",
    ),
    Metric::gauge(
        WATCH_MODE,
        &["name", "mode"],
        "1 for the way in which changes are noticed now: events or poll",
    ),
];
