//! How one connection ends that is served by our `serve`.

use std::time::Duration;

use http_body_util::Either;
use hyper_util::rt::TokioIo;
use mtls_core::testing::Issued;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::clients::{Conn, Kind, Outcome, config, request};
use crate::common::{HOUR, connect, within};
use crate::server::{Live, Options};

const WEB: &str = "spiffe://example.org/web";

async fn web(server: &Live, kind: Kind) -> Conn {
    let issued: Issued = server.issue("/web");
    Conn::open(server.addr, &issued, &server.authorities.ca, kind).await
}

#[tokio::test]
async fn a_request_in_flight_finishes_and_the_next_one_is_refused() {
    for kind in [Kind::Http1, Kind::Http2, Kind::Grpc] {
        let server = Live::start(HOUR);
        let mut conn = web(&server, kind).await;
        let serial = conn.serial.clone();
        let asking = tokio::spawn(async move { (conn.ask("/hold").await, conn) });
        within(server.holding.notified()).await;
        server.policy.ban(WEB);
        server.release.notify_one();
        let (outcome, mut conn) = within(asking).await.unwrap();
        assert_eq!(outcome, Outcome::Served(serial));
        let refused = match kind {
            Kind::Http1 | Kind::Http2 => Outcome::Refused(http::StatusCode::FORBIDDEN),
            Kind::Grpc => Outcome::RefusedCall("7".into()),
        };
        // Or it was drained by then, which any moment from the ban on may be the one for.
        let outcome = conn.ask("/").await;
        assert!(
            outcome == refused || outcome == Outcome::Closed,
            "{outcome:?}"
        );
        conn.end_call().await;
        within(&mut conn.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_heeds_no_goaway_is_cut_at_the_deadline() {
    let deadline = Duration::from_millis(500);
    let server = Live::start(deadline);
    let config = config(&server.issue("/web"), &server.authorities.ca, Kind::Http2);
    let tcp = within(TcpStream::connect(server.addr)).await.unwrap();
    let mut tls = connect(config, tcp).await.unwrap();
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    // Its SETTINGS: the connection is served.
    let mut header = [0; 9];
    within(tls.read_exact(&mut header)).await.unwrap();
    server.policy.ban(WEB);
    let lost = Instant::now();
    let mut rest = Vec::new();
    let _ = within(tls.read_to_end(&mut rest)).await;
    assert!(
        lost.elapsed() >= deadline.mul_f64(0.9),
        "{:?}",
        lost.elapsed()
    );
    let goaway = [0, 0, 8, 7];
    assert!(rest.windows(4).any(|found| found == goaway), "{rest:?}");
}

#[tokio::test]
async fn an_upgraded_connection_whose_halves_are_in_two_tasks_is_cut_at_the_deadline() {
    let deadline = Duration::from_millis(300);
    let server = Live::start(deadline);
    let mut conn = web(&server, Kind::Http1).await;
    let request = request("/upgrade", false)
        .header("upgrade", "echo")
        .header("connection", "upgrade");
    let request = request
        .body(Either::Left(http_body_util::Empty::new()))
        .unwrap();
    let answer = within(conn.send(request)).await.unwrap();
    assert_eq!(answer.status(), 101);
    let mut upgraded = TokioIo::new(within(hyper::upgrade::on(answer)).await.unwrap());
    let mut echoed = [0; 4];
    upgraded.write_all(b"ping").await.unwrap();
    within(upgraded.read_exact(&mut echoed)).await.unwrap();
    server.policy.ban(WEB);
    let lost = Instant::now();
    // Whoever wrote last over there is not whoever waits.
    upgraded.write_all(b"more").await.unwrap();
    within(upgraded.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"more");
    let end = within(upgraded.read(&mut echoed)).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    assert!(
        lost.elapsed() >= deadline.mul_f64(0.9),
        "{:?}",
        lost.elapsed()
    );
}

#[tokio::test]
async fn a_server_that_is_shut_down_while_connections_drain_ends_in_its_time() {
    let mut server = Live::with(Options {
        drain_deadline: Duration::from_millis(100),
        ..Options::default()
    });
    let mut lost = web(&server, Kind::Grpc).await;
    let good = server.issue("/good");
    let mut good = Conn::open(server.addr, &good, &server.authorities.ca, Kind::Http2).await;
    assert!(good.is_untouched().await);
    server.policy.ban(WEB);
    assert_ne!(lost.ask("/").await, Outcome::Served(lost.serial.clone()));
    assert!(lost.call_goes_on().await, "it has an hour");
    server.stop.take().unwrap().send(()).unwrap();
    within(server.serving).await.unwrap().unwrap();
    assert!(!lost.call_goes_on().await);
    within(good.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_are_lost_together_do_not_end_together() {
    let server = Live::start(Duration::from_secs(2));
    let mut ending = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let mut conn = web(&server, Kind::Http2).await;
        assert!(conn.is_untouched().await);
        ending.spawn(async move {
            // All of it, or its other half is dropped here, and the connection with it.
            let mut conn = conn;
            within(&mut conn.task).await.unwrap().unwrap();
            Instant::now()
        });
    }
    let lost = Instant::now();
    server.policy.ban(WEB);
    let ends = ending.join_all().await;
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(*last - *first > Duration::from_millis(100), "{ends:?}");
    // Nobody is asked to leave in the second half of the time that it has for that.
    assert!(*last - lost < Duration::from_millis(1900), "{ends:?}");
}

#[tokio::test]
async fn an_old_http_1_connection_ends_with_an_answer_that_says_so() {
    let server = Live::with(Options {
        lost_peer_deadline: HOUR,
        max_age: Some(Duration::from_millis(200)),
        ..Options::default()
    });
    let mut conn = web(&server, Kind::Http1).await;
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(10), "no end was said");
        let request = request("/", false).body(Either::Left(http_body_util::Empty::new()));
        let answer = within(conn.send(request.unwrap())).await.unwrap();
        assert_eq!(answer.status(), 200);
        if answer
            .headers()
            .get("connection")
            .is_some_and(|value| value == "close")
        {
            break;
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(150), "±10 %");
    within(&mut conn.task).await.unwrap().unwrap();
}
