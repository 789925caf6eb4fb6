//! A process that goes on running, and what it says meanwhile.

use std::ffi::OsStr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::tools::LIMIT;

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

impl Process {
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::start_on(Stdio::null(), program, arguments)
    }

    /// Starts one with this as its standard input.
    pub(crate) fn start_on<A: AsRef<OsStr>>(
        stdin: Stdio,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    /// What a server said belongs to the failure of a test that talked to it.
    #[expect(clippy::print_stderr, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("stdout: {:#?}", *self.stdout.0.borrow());
            eprintln!("stderr: {:#?}", *self.stderr.0.borrow());
        }
    }
}

/// The lines that a process has written so far.
#[derive(Debug)]
pub(crate) struct Lines(watch::Receiver<Vec<String>>);

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|lines| lines.push(line));
            }
        });
        Self(receiver)
    }

    /// The first line that holds all of `texts`, waited for.
    pub(crate) async fn line(&mut self, texts: &[&str]) -> String {
        self.first(texts, |line| texts.iter().all(|text| line.contains(text)))
            .await
    }

    /// The first line that holds one of `texts`, waited for.
    pub(crate) async fn one_of(&mut self, texts: &[&str]) -> String {
        self.first(texts, |line| texts.iter().any(|text| line.contains(text)))
            .await
    }

    async fn first(&mut self, texts: &[&str], is_wanted: impl Fn(&str) -> bool) -> String {
        {
            let found = self
                .0
                .wait_for(|lines| lines.iter().any(|line| is_wanted(line)));
            if let Ok(Ok(lines)) = timeout(LIMIT, found).await {
                return lines.iter().find(|line| is_wanted(line)).unwrap().clone();
            }
        }
        panic!("no line with {texts:?} in {:#?}", *self.0.borrow());
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// No line so far holds all of `texts`.
    pub(crate) fn never_said(&self, texts: &[&str]) {
        let lines = self.0.borrow();
        let mut lines = lines.iter();
        let said = lines.find(|line| texts.iter().all(|text| line.contains(text)));
        assert!(said.is_none(), "{said:?}");
    }

    /// No line so far has begun so.
    pub(crate) fn never(&self, beginning: &str) {
        let lines = self.0.borrow();
        assert!(
            !lines.iter().any(|line| line.starts_with(beginning)),
            "{lines:#?}"
        );
    }
}
