//! Who is refused, in which role, and what it is told.

use mtls_core::rustls::AlertDescription;
use mtls_core::testing::TestCa;
use mtls_core::{Reason, Revocation, RevocationDepth, UnknownRevocation};

use crate::fixture::builder;
use crate::site::*;

#[tokio::test]
async fn a_revoked_client_is_refused_and_told_so_in_both_versions() {
    let site = Site::new().await;
    let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
    let server = site.server();
    for version in VERSIONS {
        let met = accept(&server, &Caller::new(version, &site.ca, &bad));
        assert_eq!(met.peer.unwrap().identity().serial(), bad.serial());
    }
    site.publish(&site.ca.crl().number(2).revoke(&bad)).await;
    for version in VERSIONS {
        let met = accept(&server, &Caller::new(version, &site.ca, &bad));
        let alert = AlertDescription::CertificateRevoked;
        let text = met.peer.as_ref().unwrap_err().to_string();
        assert!(
            text.contains(&bad.serial()) && text.contains("revoked"),
            "{text}"
        );
        assert_eq!(met.refused(), (Reason::Revoked, Some(alert)));
        assert!(
            accept(&server, &Caller::new(version, &site.ca, &good))
                .peer
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_revoked_server_is_refused_in_both_versions() {
    let site = Site::new().await;
    let (good, bad) = (site.ca.issue("/good"), site.ca.issue("/bad"));
    let client = site.client();
    let dial = |version, issued| dial(&client, &naive_server(version, &site.ca, issued));
    for version in VERSIONS {
        assert_eq!(
            dial(version, &bad).peer.unwrap().identity().serial(),
            bad.serial()
        );
    }
    site.publish(&site.ca.crl().number(2).revoke(&bad)).await;
    for version in VERSIONS {
        let met = dial(version, &bad);
        let text = met.peer.as_ref().unwrap_err().to_string();
        assert!(
            text.contains(&bad.serial()) && text.contains("revoked"),
            "{text}"
        );
        let (reason, alert) = met.refused();
        assert_eq!(reason, Reason::Revoked);
        // rustls sends this for every error that is not its own.
        assert_eq!(alert, Some(AlertDescription::CertificateUnknown));
        assert!(dial(version, &good).peer.is_ok());
    }
}

#[tokio::test]
async fn a_revoked_intermediate_takes_whoever_it_issued_with_it_in_both_roles() {
    for depth in [RevocationDepth::Chain, RevocationDepth::Leaf] {
        let settings = Revocation::new().depth(depth);
        let settings = settings.unknown(UnknownRevocation::Allow);
        let site = Site::with(builder().revocation(settings), |_| {}).await;
        let below = site.ca.intermediate();
        let peer = below.issue("/below");
        let (server, client) = (site.server(), site.client());
        let meet = |version| {
            let accepted = accept(&server, &Caller::new(version, &site.ca, &peer)).peer;
            let dialled = dial(&client, &naive_server(version, &site.ca, &peer)).peer;
            [accepted, dialled].map(|met| met.map(drop).map_err(|refused| refused.reason()))
        };
        for version in VERSIONS {
            assert_eq!(meet(version), [Ok(()), Ok(())]);
        }
        site.publish(&site.ca.crl().number(2).revoke_ca(&below))
            .await;
        let expected = match depth {
            RevocationDepth::Chain => Err(Reason::Revoked),
            RevocationDepth::Leaf => Ok(()),
        };
        for version in VERSIONS {
            assert_eq!(meet(version), [expected, expected]);
        }
    }
}

#[tokio::test]
async fn whoever_no_list_speaks_of_is_refused_and_told_so_unless_it_was_allowed() {
    for choice in [UnknownRevocation::Deny, UnknownRevocation::Allow] {
        let other = TestCa::new("example.org");
        let settings = Revocation::new().unknown(choice);
        let site = Site::with(builder().revocation(settings), |setup| {
            let both = setup.ca.root_pem() + &other.root_pem();
            setup.dir.rename_over("ca.crt", both);
        })
        .await;
        let (known, unknown) = (site.ca.issue("/known"), other.issue("/unknown"));
        for version in VERSIONS {
            let met = |issued| accept(&site.server(), &Caller::new(version, &site.ca, issued));
            assert!(met(&known).peer.is_ok());
            match choice {
                UnknownRevocation::Allow => assert!(met(&unknown).peer.is_ok()),
                UnknownRevocation::Deny => {
                    let (reason, alert) = met(&unknown).refused();
                    assert_eq!(reason, Reason::RevocationUnknown);
                    assert_eq!(alert, Some(AlertDescription::UnknownCA));
                }
            }
        }
    }
}
