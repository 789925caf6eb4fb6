//! Who asks, who minds, and how much.

use std::fmt;

/// Who asks, and therefore what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Caller {
    /// Somebody who is about to deploy: whatever will go wrong with any peer is an error. The default.
    #[default]
    Command,
    /// A source that loads for the first time. An error: it does not start. A warning: it starts, and its status tells.
    Startup,
    /// A source that reloads. An error: it serves what it has. A warning: it serves the new, and its status tells.
    Reload,
}

impl Caller {
    /// Every caller.
    pub const ALL: &'static [Self] = &[Self::Command, Self::Startup, Self::Reload];

    /// `command`, `startup` or `reload`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Startup => "startup",
            Self::Reload => "reload",
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing follows.
    Info,
    /// It works, or mostly.
    Warn,
    /// It does not work, or is a hole.
    Error,
}

impl Severity {
    /// `info`, `warn` or `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A TLS implementation that may be at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsStack {
    /// Go's crypto/tls.
    Go,
    /// Java's JSSE.
    Java,
    /// OpenSSL and what rests on it: nginx, curl, Python before 3.13, Node.js.
    OpenSsl,
    /// Our own verifier and loader.
    Ours,
    /// Python from 3.13 on, whose default is OpenSSL's strict mode.
    Python,
    /// Plain rustls, with its own verifier.
    Rustls,
}

impl TlsStack {
    /// Every stack.
    pub const ALL: &'static [Self] = &[
        Self::Go,
        Self::Java,
        Self::OpenSsl,
        Self::Ours,
        Self::Python,
        Self::Rustls,
    ];

    /// The stable name: `go`, `java`, `openssl`, `ours`, `python` or `rustls`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Java => "java",
            Self::OpenSsl => "openssl",
            Self::Ours => "ours",
            Self::Python => "python",
            Self::Rustls => "rustls",
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TlsStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
