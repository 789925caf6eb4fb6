use std::fs;
use std::sync::Weak;

use super::*;
use crate::policy::rule::Effect;

const FIRST: &str =
    "otherwise = \"deny\"\n[[allow]]\nname = \"web\"\npeer = { spiffe = \"spiffe://td/web\" }\n";
const SECOND: &str =
    "otherwise = \"deny\"\n[[allow]]\nname = \"api\"\npeer = { spiffe = \"spiffe://td/api\" }\n";
const BROKEN: &str = "otherwise = \"deny\"\n[[allow]]\nname = \"all\"\npear = \"anyone\"\n";
const ABOUT_REQUESTS: &str = "otherwise = \"deny\"\n[[allow]]\nname = \"x\"\npeer = \"anyone\"\nrequest = { path = \"/x\" }\n";

fn peer(id: &str) -> PeerIdentity {
    PeerIdentity::for_rule_tests(Some(id), &[])
}

struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("policy.toml"), text).unwrap();
        Self { dir }
    }

    /// Replaces the file in one step.
    fn replace(&self, text: &str) {
        let next = self.dir.path().join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.dir.path().join("policy.toml")).unwrap();
    }

    fn file(&self) -> PolicyFile {
        PolicyFile::at(self.dir.path().join("policy.toml"))
            .poll_interval(Duration::from_millis(50))
            .quiet_time(Duration::from_millis(10))
    }
}

#[tokio::test]
async fn a_changed_file_is_published_and_told_of_with_a_new_version() {
    let fixture = Fixture::new(FIRST);
    let source = fixture.file().watch().await.unwrap();
    let mut changes = Authorizer::changes(&source).unwrap();
    let (web, api) = (peer("spiffe://td/web"), peer("spiffe://td/api"));
    assert_eq!(source.authorize(&web), Ok(()));
    assert!(source.authorize(&api).is_err());
    assert_eq!(Authorizer::version(&source), 1);
    fixture.replace(SECOND);
    changes.wait_for(|version| *version == 2).await.unwrap();
    assert_eq!(Authorizer::version(&source), 2);
    assert_eq!(source.authorize(&api), Ok(()));
    assert!(source.authorize(&web).is_err());
    assert!(source.status().failure.is_none());
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_policy_and_says_why() {
    let fixture = Fixture::new(FIRST);
    let source = fixture.file().watch().await.unwrap();
    let (web, other) = (peer("spiffe://td/web"), peer("spiffe://td/x"));
    for broken in [BROKEN, ABOUT_REQUESTS, "", "otherwise = \"allow\""] {
        fixture.replace(broken);
        assert!(source.reload().await.is_err(), "{broken}");
        assert_eq!(source.version(), 1);
        assert_eq!(source.authorize(&web), Ok(()));
        assert!(source.authorize(&other).is_err());
    }
    fixture.replace(BROKEN);
    let error = source.reload().await.unwrap_err();
    let failure = source.status().failure.unwrap();
    assert!(Arc::ptr_eq(&error, &failure.error));
    assert_eq!((error.line(), error.column()), (Some(4), Some(1)));
    assert!(
        error.to_string().contains("unknown field \"pear\""),
        "{error}"
    );

    fs::remove_file(fixture.dir.path().join("policy.toml")).unwrap();
    let error = source.reload().await.unwrap_err();
    assert!(matches!(error.fault(), PolicyFileFault::Unreadable { .. }));
    assert_eq!(source.authorize(&web), Ok(()));

    fixture.replace(FIRST);
    assert_eq!(source.reload().await.unwrap(), 2);
    assert!(source.status().failure.is_none());
}

#[tokio::test]
async fn a_failure_is_noticed_without_being_asked_for() {
    let fixture = Fixture::new(FIRST);
    let source = fixture.file().watch().await.unwrap();
    let mut changes = source.subscribe();
    fixture.replace(BROKEN);
    changes.changed().await.unwrap();
    assert!(source.status().failure.is_some());
    assert_eq!(source.version(), 1);
}

#[tokio::test]
async fn a_file_that_does_not_hold_at_the_start_is_no_source() {
    let error = Fixture::new(BROKEN).file().watch().await.unwrap_err();
    assert!(matches!(
        error.fault(),
        PolicyFileFault::UnknownField { .. }
    ));
    let fixture = Fixture::new(ABOUT_REQUESTS);
    assert!(fixture.file().watch().await.is_err());
    let source = fixture.file().watch_requests().await.unwrap();
    let decides = |path| {
        let request = RequestFacts::new("GET", path);
        source.authorize_request(None, &request).is_ok()
    };
    assert!(decides("/x") && !decides("/y"));
    let missing = PolicyFile::at("does-not-exist.toml")
        .watch()
        .await
        .unwrap_err();
    assert!(matches!(
        missing.fault(),
        PolicyFileFault::Unreadable { .. }
    ));
}

#[tokio::test]
async fn the_task_ends_with_the_last_handle() {
    let fixture = Fixture::new(FIRST);
    let source = fixture.file().watch().await.unwrap();
    let shared: Weak<_> = Arc::downgrade(&source.shared);
    let mut changes = source.subscribe();
    let other = source.clone();
    drop(source);
    assert_eq!(other.current().explain(None).effect(), Effect::Deny);
    drop(other);
    // Nobody is left to send.
    assert!(changes.changed().await.is_err());
    assert!(shared.upgrade().is_none());
}
