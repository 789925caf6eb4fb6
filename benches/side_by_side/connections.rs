//! New connections over TCP on the loopback: what one costs its server's process, and how many there are in a second.

use std::thread::sleep;
use std::time::{Duration, Instant};

use benches::ends::Setting;
use benches::load::{Dial, Exchange, connect_anew};
use benches::measure::{Samples, effort};
use benches::report::{Bar, Row};
use benches::servers::{Kind, Process};
use mtls_core::testing::KeyKind;
use tokio::runtime::Runtime;

/// Full handshakes of one peer that is known. A server is a process of its own; its clients are this one.
pub(crate) fn new_connections() -> Vec<Row> {
    let setting = Setting::new(KeyKind::EcdsaP256);
    let mut rows = costs(
        &setting,
        "accepted, a byte each way",
        [Kind::OurListener, Kind::BareListener],
        Some(Kind::FloorListener),
        Exchange::Byte,
        Bar::Ratio(0.80),
    );
    rows.extend(costs(
        &setting,
        "served, one request each",
        [Kind::Ours, Kind::Bare],
        None,
        Exchange::Request,
        Bar::None,
    ));
    rows.extend(costs(
        &setting,
        "accepted in `main`, beside accepted in a task",
        [Kind::OurListenerInMain, Kind::OurListener],
        None,
        Exchange::Byte,
        Bar::None,
    ));
    rows.push(both_ends(&setting));
    rows
}

fn costs(
    setting: &Setting,
    name: &str,
    [ours, bare]: [Kind; 2],
    floor: Option<Kind>,
    exchange: Exchange,
    bar: Bar,
) -> Vec<Row> {
    let runtime = Runtime::new().unwrap();
    let dir = setting.mount();
    let dial = Dial::bare(setting, "/web", "http/1.1");
    let start = |kind| Process::start(kind, &dir);
    let (ours, bare, floor) = (start(ours), start(bare), floor.map(start));
    let row = |at_a_time: usize| {
        let connections = at_a_time.max(effort(400, 20));
        let cost = |server: &Process| {
            let before = server.cpu();
            runtime.block_on(connect_anew(
                &dial,
                server.addr,
                exchange,
                at_a_time,
                connections,
            ));
            sleep(LAST_THINGS);
            (server.cpu() - before).as_secs_f64() * 1e6 / connections as f64
        };
        for server in [&ours, &bare].into_iter().chain(&floor) {
            cost(server);
        }
        let rounds = effort(30, 3);
        let (of_ours, of_bare) = (|| cost(&ours), || cost(&bare));
        let samples = match &floor {
            None => Samples::in_turns(rounds, of_ours, of_bare),
            Some(floor) => Samples::above_floor(rounds, of_ours, of_bare, || cost(floor)),
        };
        let name = format!("new connections, {name}, {at_a_time} at a time: server's CPU");
        Row::pair(name, "µs", &samples, bar)
    };
    AT_A_TIME.map(row).into()
}

/// Ours at both ends, beside bare rustls at both. By the clock, with all cores for both ends together.
fn both_ends(setting: &Setting) -> Row {
    let runtime = Runtime::new().unwrap();
    let dir = setting.mount();
    let end = |kind, dial| (Process::start(kind, &dir), dial);
    let ours = end(Kind::OurListener, Dial::ours(setting, "/web", "http/1.1"));
    let bare = end(Kind::BareListener, Dial::bare(setting, "/web", "http/1.1"));
    let connections = effort(1000, 64);
    let rate = |(server, dial): &(Process, Dial)| {
        let began = Instant::now();
        runtime.block_on(connect_anew(
            dial,
            server.addr,
            Exchange::Byte,
            64,
            connections,
        ));
        connections as f64 / began.elapsed().as_secs_f64()
    };
    for end in [&ours, &bare] {
        rate(end);
    }
    let samples = Samples::in_turns(effort(20, 3), || rate(&ours), || rate(&bare));
    let name = "new connections, both ends, 64 at a time: in a second, by the clock";
    Row::pair(name, "/s", &samples, Bar::RatioAtLeast(1.25))
}

const AT_A_TIME: [usize; 3] = [1, 64, 512];

/// A server has some left to do when its client is done.
const LAST_THINGS: Duration = Duration::from_millis(20);
