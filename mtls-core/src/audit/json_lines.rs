//! The observer that is ready made: one line of JSON for each event.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::error;

use super::event::AuditEvent;
use super::json;
use super::observer::Observer;

/// Writes one JSON object a line, from a thread of its own: a slow disk or a full pipe delays no handshake.
///
/// Lines wait in a queue of 4 MiB, or what [`with_queue`](Self::with_queue) says. What finds no room is dropped and counted:
/// the next line that is written says how many were lost before it, by `"dropped"`. The thread ends when this is dropped,
/// once it has written what is waiting; dropping waits for that, and for no more than a second.
///
/// ```json
/// {"at":"2026-01-01T00:00:00.123Z","stage":"handshake","outcome":"deny","connection":7,
///  "remote_addr":"192.0.2.7:51000","presented":{"name":"spiffe://example.org/web","serial":"0a",
///  "issuer":"CN=ca","sha256":"…"},"reason":"expired","cause":"…","policy_version":0,"generation":3}
/// ```
///
/// (A line is one line; it is broken here to be read.) `peer` is a verified identity, `presented` what nobody has proven.
/// Texts are cut at 2,048 characters.
///
/// ```
/// # fn doc(source: &mtls_core::CredentialSource) -> Result<(), Box<dyn std::error::Error>> {
/// use mtls_core::{JsonLines, Policy, ServerTls};
///
/// let server = ServerTls::builder(source)
///     .authorize(Policy::trust_domain("example.org")?)
///     .audit(JsonLines::start(std::io::stdout())?)
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub struct JsonLines {
    /// There until this is dropped.
    queue: Option<Sender<String>>,
    shared: Arc<Shared>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Bytes that wait.
    queued: AtomicUsize,
    limit: usize,
    /// Lines that were lost, and of those the ones that no line has told of.
    dropped: AtomicU64,
    untold: AtomicU64,
}

impl JsonLines {
    /// Starts the thread that writes to `writer`.
    ///
    /// # Errors
    ///
    /// The operating system has no thread for it.
    pub fn start(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_queue(writer, QUEUE)
    }

    /// Starts it with a queue of so many bytes.
    ///
    /// # Errors
    ///
    /// The operating system has no thread for it.
    pub fn with_queue(writer: impl Write + Send + 'static, bytes: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            limit: bytes,
            dropped: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        });
        // Bounded by bytes rather than by lines: `Shared::queued`.
        let (queue, lines) = channel();
        let (end, ended) = channel();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("mtls-audit".into())
            .spawn(move || {
                let _end = end;
                run(writer, &lines, &of_thread);
            })?;
        Ok(Self {
            queue: Some(queue),
            shared,
            ended: Mutex::new(ended),
        })
    }

    /// How many events were lost so far: there was no room, or they could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Observer for JsonLines {
    fn observe(&self, event: &AuditEvent<'_>) {
        let line = json::line(event);
        let size = line.len();
        let queued = self.shared.queued.fetch_add(size, Ordering::AcqRel);
        let fits = queued.saturating_add(size) <= self.shared.limit;
        let sent = fits
            && self
                .queue
                .as_ref()
                .is_some_and(|queue| queue.send(line).is_ok());
        if !sent {
            self.shared.queued.fetch_sub(size, Ordering::AcqRel);
            self.shared.lose();
        }
    }
}

impl Shared {
    fn lose(&self) -> u64 {
        self.untold.fetch_add(1, Ordering::AcqRel);
        self.dropped.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// Until the observer is dropped and the queue is empty.
fn run(mut writer: impl Write, lines: &Receiver<String>, shared: &Shared) {
    // Whether the last line may have been written in part.
    let mut torn = false;
    let mut write = |writer: &mut dyn Write, line: String| {
        let size = line.len();
        let untold = shared.untold.swap(0, Ordering::AcqRel);
        let mut line = match untold {
            0 => line,
            lost => json::with_dropped(line, lost),
        };
        line.push('\n');
        if torn {
            line.insert(0, '\n');
        }
        let written = writer.write_all(line.as_bytes());
        torn = written.is_err();
        shared.queued.fetch_sub(size, Ordering::AcqRel);
        if let Err(error) = written {
            shared.untold.fetch_add(untold, Ordering::AcqRel);
            let lost = shared.lose();
            if lost.is_power_of_two() {
                error!(%error, mtls.dropped = lost, "the audit record cannot be written");
            }
        }
    };
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                // An error here is met again by the next line.
                let _ = writer.flush();
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        write(&mut writer, line);
    }
    let untold = shared.untold.swap(0, Ordering::AcqRel);
    if untold > 0 {
        let last = json::with_dropped("{}".into(), untold);
        let _ = writer.write_all(format!("{last}\n").as_bytes());
    }
    let _ = writer.flush();
}

impl Drop for JsonLines {
    fn drop(&mut self) {
        self.queue = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Disconnected, when the thread is done; a writer that hangs is left to itself.
        let _ = ended.recv_timeout(FAREWELL);
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Some ten thousand events: seconds of a busy server's.
const QUEUE: usize = 4 * 1024 * 1024;

/// Long enough for a disk, short enough for whoever shuts down.
const FAREWELL: Duration = Duration::from_secs(1);
