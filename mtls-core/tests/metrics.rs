//! What is measured: the names, which are public API, and what each says when something is wrong.

#![cfg(feature = "metrics")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a panic is how a test fails; the files are the project's own"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use mtls_core::metrics::{
    ConnectionEnd, HANDSHAKE_BUCKETS, HandshakeMeter, METRICS, alert_received, connection_cut,
    connection_drained, describe, plaintext_closed, plaintext_opened, request_refused,
};
use mtls_core::rustls::{AlertDescription, Error as RustlsError};
use mtls_core::testing::{Broken, BrokenAt, LeafOptions, MountedDir, TestCa, handshake};
use mtls_core::{
    Alert, ClientTls, CredentialFiles, CredentialSource, HandshakeError, Policy, Reason, Role,
    ServerTls, SourceBuilder, TrustMaterial,
};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets(HANDSHAKE_BUCKETS)
        .unwrap()
        .build_recorder()
}

/// What would be scraped now, by series.
fn scrape(recorder: &PrometheusRecorder) -> BTreeMap<String, f64> {
    let text = recorder.handle().render();
    let series = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = series.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    parsed.collect()
}

fn value(recorder: &PrometheusRecorder, series: &str) -> Option<f64> {
    scrape(recorder).get(series).copied()
}

/// Its poll is never due: a test reloads when it wants to.
fn builder(name: &str) -> SourceBuilder {
    let hour = Duration::from_secs(60 * 60);
    CredentialSource::builder().name(name).poll_interval(hour)
}

async fn watch(name: &str, dir: &MountedDir) -> CredentialSource {
    let files = CredentialFiles::kubernetes(dir.path());
    builder(name).watch(files).await.unwrap()
}

#[test]
fn the_metrics_are_those_of_the_documentation() {
    let page = include_str!("../../docs/metrics.md");
    let listed: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `mtls_"))
        .collect();
    let ours = METRICS.iter().map(|metric| {
        let labels: Vec<_> = metric.labels.iter().map(|it| format!("`{it}`")).collect();
        let (kind, unit, labels) = (metric.kind.as_str(), metric.unit(), labels.join(", "));
        format!(
            "| `{}` | {kind} | {unit} | {labels} | {} |",
            metric.name, metric.help
        )
    });
    let ours: Vec<_> = ours.collect();
    assert_eq!(
        listed,
        ours,
        "docs/metrics.md should have:\n{}",
        ours.join("\n")
    );
}

/// `mtls_watch_errors_total` has its own test: no directory of a test's own makes events fail.
#[tokio::test]
async fn all_that_is_on_the_list_is_emitted_and_nothing_else_nor_with_other_labels() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    describe();
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch("mounted", &dir).await;
    let server = ServerTls::builder(&source)
        .authorize(Policy::any_verified_peer())
        .build()
        .unwrap();
    let client = ClientTls::builder(&source)
        .verify_server_name()
        .build()
        .unwrap();
    let both = handshake(&server, &client, "localhost");
    HandshakeMeter::begin(Role::Server).established();
    HandshakeMeter::begin(Role::Server).panicked();
    for refused in refusals() {
        HandshakeMeter::begin(Role::Client).failed(&refused);
    }
    request_refused(Reason::NotAuthorized);
    plaintext_opened();
    plaintext_closed();
    for end in [
        ConnectionEnd::Age,
        ConnectionEnd::Limit,
        ConnectionEnd::Lost(Reason::Expired),
        ConnectionEnd::Shutdown,
        ConnectionEnd::Superseded,
    ] {
        connection_drained(Role::Server, end);
        connection_cut(Role::Client, end, 1);
    }
    drop(both);

    let mut emitted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in scrape(&recorder).keys() {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part));
        let labels = labels.trim_end_matches('}').split("\",");
        let labels = labels.filter_map(|label| label.split_once('=').map(|(name, _)| name));
        let labels = labels.filter(|label| *label != "le").map(ToOwned::to_owned);
        let base = base.unwrap_or(name).to_owned();
        emitted.entry(base).or_default().extend(labels);
    }
    let listed = METRICS
        .iter()
        .filter(|metric| metric.name != "mtls_watch_errors_total")
        .map(|metric| {
            let labels = metric.labels.iter().map(|&label| label.to_owned());
            (metric.name.to_owned(), labels.collect())
        });
    let listed: BTreeMap<String, BTreeSet<String>> = listed.collect();
    assert_eq!(emitted, listed);
    let text = recorder.handle().render();
    for metric in METRICS.iter().filter(|it| listed.contains_key(it.name)) {
        let (name, help, kind) = (metric.name, metric.help, metric.kind.as_str());
        assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
    }
}

/// Some that need no connection to be had.
fn refusals() -> Vec<HandshakeError> {
    let alert = |alert| {
        let error = RustlsError::AlertReceived(alert);
        Alert::find(&std::io::Error::new(std::io::ErrorKind::InvalidData, error)).unwrap()
    };
    let refused = |description| HandshakeError::RefusedByPeer {
        alert: alert(description),
        presented: String::new(),
    };
    vec![
        HandshakeError::PeerClosed,
        HandshakeError::PlaintextPeer,
        HandshakeError::Resumed,
        HandshakeError::UnknownServerName { asked: None },
        refused(AlertDescription::UnknownCA),
        refused(AlertDescription::Unknown(200)),
        refused(AlertDescription::Unknown(201)),
    ]
}

#[test]
fn a_handshake_is_refused_or_failed_by_who_decided_and_a_peer_makes_up_no_label() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        for refused in refusals() {
            HandshakeMeter::begin(Role::Client).failed(&refused);
        }
        let unknown = Alert::find(&RustlsError::AlertReceived(AlertDescription::Unknown(202)));
        alert_received(Role::Client, unknown.unwrap());
    });
    let series = |outcome: &str, reason: &str| {
        let labels = format!("side=\"client\",outcome=\"{outcome}\",reason=\"{reason}\"");
        value(&recorder, &format!("mtls_handshakes_total{{{labels}}}"))
    };
    assert_eq!(series("failed", "peer_closed"), Some(1.0));
    assert_eq!(series("failed", "plaintext_peer"), Some(1.0));
    assert_eq!(series("refused", "no_peer_certificate"), Some(1.0));
    assert_eq!(series("refused", "unknown_server_name"), Some(1.0));
    assert_eq!(series("refused", "refused_by_peer"), Some(3.0));
    let alert = |alert: &str| {
        let labels = format!("side=\"client\",alert=\"{alert}\"");
        value(
            &recorder,
            &format!("mtls_alerts_received_total{{{labels}}}"),
        )
    };
    assert_eq!(alert("unknown_ca"), Some(1.0));
    assert_eq!(alert("unknown"), Some(3.0), "one label for all of them");
    let durations = scrape(&recorder);
    let durations = durations.keys().filter(|it| it.contains("duration"));
    assert_eq!(durations.count(), 0, "what failed took as long as it took");
}

#[tokio::test]
async fn a_source_is_up_while_what_is_on_disk_is_served_and_its_reloads_are_told_by_reason() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let dir = MountedDir::new(&ca.issue("/web"));
    let source = watch("web", &dir).await;
    let up = || value(&recorder, "mtls_source_up{name=\"web\"}");
    let generation = || value(&recorder, "mtls_snapshot_generation{name=\"web\"}");
    let reloads = |outcome: &str, reason: &str| {
        let labels = format!("name=\"web\",outcome=\"{outcome}\",reason=\"{reason}\"");
        value(&recorder, &format!("mtls_reloads_total{{{labels}}}"))
    };
    assert_eq!((up(), generation()), (Some(1.0), Some(1.0)));
    assert_eq!(reloads("ok", "none"), Some(1.0), "the first load is one");

    dir.rotate(&ca.issue("/web"));
    source.reload().await.unwrap();
    assert_eq!((up(), generation()), (Some(1.0), Some(2.0)));
    assert_eq!(reloads("ok", "none"), Some(2.0));

    Broken::KeyMismatch.write(&ca, &dir);
    source.reload().await.unwrap_err();
    assert_eq!((up(), generation()), (Some(0.0), Some(2.0)));
    assert!(reloads("rejected", "key_mismatch") >= Some(1.0));

    dir.rotate_files(&[("ca.crt", ca.bundle_pem().as_bytes())]);
    source.reload().await.unwrap_err();
    assert_eq!(up(), Some(0.0));
    assert!(reloads("io_error", "file_missing") >= Some(1.0));

    dir.rotate(&ca.issue("/web"));
    source.reload().await.unwrap();
    assert_eq!((up(), generation()), (Some(1.0), Some(3.0)));
}

#[tokio::test]
async fn the_dates_of_every_layer_are_those_of_what_is_served() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let hours = |count: u32| Duration::from_secs(60 * 60) * count;
    let now = SystemTime::now();
    let unix = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        f64::from(u32::try_from(since.as_secs()).unwrap())
    };
    let (from, until) = (now - hours(95), now + hours(5));
    let leaf = ca.issue_with(LeafOptions::service("/web").validity(from, until));
    let dir = MountedDir::new(&leaf);
    let list = dir.path().join("list.crl");
    let (this, next) = (now - hours(2), now + hours(1));
    let crl = ca.crl().this_update(this).next_update(next);
    std::fs::write(&list, crl.pem()).unwrap();
    let files = CredentialFiles::kubernetes(dir.path()).revocation_lists(&list);
    let source = builder("dates").watch(files).await.unwrap();
    let told = |metric: &str| value(&recorder, &format!("{metric}{{name=\"dates\"}}")).unwrap();
    assert_eq!(
        told("mtls_credentials_not_before_timestamp_seconds"),
        unix(from)
    );
    assert_eq!(
        told("mtls_credentials_not_after_timestamp_seconds"),
        unix(until)
    );
    assert_eq!(told("mtls_crl_this_update_timestamp_seconds"), unix(this));
    assert_eq!(told("mtls_crl_next_update_timestamp_seconds"), unix(next));
    assert_eq!(told("mtls_trust_anchors"), 1.0);
    assert!(told("mtls_trust_bundle_not_after_timestamp_seconds") > unix(until));
    assert_eq!(
        told("mtls_credentials_renewal_late"),
        1.0,
        "at 95 % of its life"
    );
    assert_eq!(told("mtls_credentials_revoked"), 0.0);
    let clock = told("mtls_clock_timestamp_seconds");
    assert!((clock - unix(now)).abs() < 60.0, "{clock}");
    drop(source);

    // The twin: young, and without a list.
    let source = watch("young", &MountedDir::new(&ca.issue("/web"))).await;
    let told = |metric: &str| value(&recorder, &format!("{metric}{{name=\"young\"}}"));
    assert_eq!(told("mtls_credentials_renewal_late"), Some(0.0));
    assert_eq!(
        told("mtls_crl_next_update_timestamp_seconds"),
        Some(f64::INFINITY)
    );
    drop(source);
}

#[test]
fn open_connections_are_told_apart_by_whether_the_trust_of_now_vouches_for_them() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        let (ca, leaving) = (TestCa::new("example.org"), TestCa::new("example.org"));
        let both = || TrustMaterial::new(vec![ca.root_der(), leaving.root_der()]);
        let (publisher, source) = builder("fleet")
            .publish(ca.issue("/api").material(), both())
            .unwrap();
        let server = ServerTls::builder(&source)
            .authorize(Policy::any_verified_peer())
            .build()
            .unwrap();
        let dial = |ca: &TestCa| {
            let (_publisher, source) = builder("caller")
                .publish(ca.issue("/web").material(), both())
                .unwrap();
            let client = ClientTls::builder(&source)
                .verify_server_name()
                .build()
                .unwrap();
            handshake(&server, &client, "localhost").server.unwrap()
        };
        let open = |trust: &str| {
            let labels = format!("name=\"fleet\",side=\"server\",trust=\"{trust}\"");
            value(&recorder, &format!("mtls_connections{{{labels}}}")).unwrap()
        };
        let (stays, goes) = (dial(&ca), dial(&leaving));
        assert_eq!((open("current"), open("older")), (2.0, 0.0));

        // New credentials are no new trust.
        publisher
            .publish_credentials(ca.issue("/api").material())
            .unwrap();
        stays.check().unwrap();
        assert_eq!((open("current"), open("older")), (2.0, 0.0));

        publisher.publish_trust(ca.trust_material()).unwrap();
        assert_eq!((open("current"), open("older")), (0.0, 2.0));
        stays.check().unwrap();
        goes.check().unwrap_err();
        assert_eq!((open("current"), open("older")), (1.0, 1.0));
        drop(goes);
        assert_eq!((open("current"), open("older")), (1.0, 0.0));
        drop(stays);
        assert_eq!((open("current"), open("older")), (0.0, 0.0));
    });
}

#[tokio::test]
async fn every_broken_set_is_a_reload_that_is_told_by_its_reason() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let ca = TestCa::new("example.org");
    let mut names: Vec<Arc<str>> = Vec::new();
    for broken in Broken::ALL {
        if broken.at() == BrokenAt::Handshake {
            continue;
        }
        let name: Arc<str> = broken.name().into();
        let dir = MountedDir::new(&ca.issue("/web"));
        let files = CredentialFiles::kubernetes(dir.path());
        let source = builder(&name).watch(files).await.unwrap();
        broken.write(&ca, &dir);
        let failed = source.reload().await.unwrap_err();
        let told = failed.reason().as_str();
        let up = value(&recorder, &format!("mtls_source_up{{name=\"{name}\"}}"));
        assert_eq!(up, Some(0.0), "{name}");
        let failed = scrape(&recorder).into_iter().any(|(series, count)| {
            series.starts_with(&format!("mtls_reloads_total{{name=\"{name}\""))
                && series.contains(&format!("reason=\"{told}\""))
                && count >= 1.0
        });
        assert!(failed, "{name}: {told}");
        names.push(name);
    }
    assert!(names.len() > 10);
}
