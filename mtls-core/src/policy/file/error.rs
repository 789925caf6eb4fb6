//! What is wrong with a policy file, and where.

use std::fmt;
use std::path::Path;

use crate::error::LoadError;
use crate::policy::fault::RuleFault;

/// Why a policy file does not hold: the file, the line and the column, what was found there and what was expected.
#[derive(Debug, Clone)]
pub struct PolicyFileError {
    pub(super) file: Option<Box<Path>>,
    /// Line and column, both from 1; `None` if the file could not be read.
    pub(super) place: Option<(usize, usize)>,
    pub(super) rule: Option<Box<str>>,
    pub(super) fault: PolicyFileFault,
}

/// A fault, and the byte that it is at.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) at: usize,
    pub(super) fault: PolicyFileFault,
}

impl PolicyFileError {
    pub(super) fn located(text: &str, rule: Option<Box<str>>, located: Located) -> Self {
        let before = text.get(..located.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self {
            file: None,
            place: Some((line, column)),
            rule,
            fault: located.fault,
        }
    }

    pub(super) fn of_file(path: &Path, fault: PolicyFileFault) -> Self {
        Self {
            file: Some(path.into()),
            place: None,
            rule: None,
            fault,
        }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.into());
        self
    }

    /// The file, unless it was read from memory.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.map(|(line, _)| line)
    }

    /// The column in characters, from 1.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.map(|(_, column)| column)
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &PolicyFileFault {
        &self.fault
    }

    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.fault.remedy()
    }
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.as_deref().unwrap_or(Path::new("policy"));
        write!(f, "{}:", file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, " rule {rule:?}:")?;
        }
        write!(f, " {}", self.fault)
    }
}

impl std::error::Error for PolicyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

/// What is wrong with a policy file.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileFault {
    /// The file names one local trust domain, and the program another.
    #[error("found trust domain `{found}`, expected `{expected}`, as the program says")]
    DomainConflict {
        /// What the file says.
        found: String,
        /// What the program says.
        expected: String,
    },
    /// A table has no entries, and would ask for nothing.
    #[error("found an empty table, expected at least one fact")]
    EmptyTable,
    /// A list of rules is empty.
    #[error("found an empty list of rules, expected at least one, or no list")]
    NoRules,
    /// The name does not end in `.toml` or `.json`.
    #[error("found no known format in the file's name, expected `.toml` or `.json`")]
    Format,
    /// A field that has no default is not there.
    #[error("found no `{field}`, expected {expected}")]
    MissingField {
        /// The field.
        field: &'static str,
        /// What it can be.
        expected: &'static str,
    },
    /// It is no text.
    #[error("found bytes that are no UTF-8, expected text")]
    NotUtf8,
    /// A rule is wrong.
    #[error(transparent)]
    Rule(#[from] Box<RuleFault>),
    /// It is not the format that it should be.
    #[error("found bad syntax: {detail}")]
    Syntax {
        /// What the parser says.
        detail: String,
    },
    /// It nests deeper than any policy.
    #[error("found values nested too deeply, expected rules")]
    TooDeep,
    /// A field that does not exist: skipped, a rule would be another one.
    #[error("found the unknown field {found:?}, expected {expected}")]
    UnknownField {
        /// The field.
        found: String,
        /// What there is.
        expected: String,
    },
    /// A word that does not exist.
    #[error("found {found:?}, expected {expected}")]
    UnknownWord {
        /// The word.
        found: String,
        /// What there is.
        expected: &'static str,
    },
    /// The file could not be read.
    #[error(transparent)]
    Unreadable {
        /// Why.
        source: Box<LoadError>,
    },
    /// A value is of another type.
    #[error("found {found}, expected {expected}")]
    WrongType {
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
}

impl PolicyFileFault {
    /// What an operator can do next, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::DomainConflict { .. } => "leave the trust domain out of the file, or correct it",
            Self::EmptyTable => "name a fact with its values, or leave the table out",
            Self::NoRules => "write a rule, or remove the list",
            Self::Format => "rename the file",
            Self::MissingField { .. } => "add the field: it has no default",
            Self::NotUtf8 => "save the file as UTF-8",
            Self::Rule(fault) => fault.remedy(),
            Self::Syntax { .. } => {
                "correct the syntax; a file that ends early is perhaps still being written"
            }
            Self::TooDeep => "write rules as the documentation of PolicyFile shows them",
            Self::UnknownField { .. } => "correct the spelling, or remove the field",
            Self::UnknownWord { .. } => "use one of the words that are expected",
            Self::Unreadable { source } => source.remedy(),
            Self::WrongType { .. } => "write a value of the expected type, texts in quotes",
        }
    }
}
