//! A document as TOML.

use std::fmt::{self, Write as _};

use super::document::PolicyDocument;
use crate::policy::rule::{Effect, Rule};

impl fmt::Display for PolicyDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(domain) = &self.trust_domain {
            writeln!(f, "trust_domain = {}", Quoted(domain))?;
        }
        writeln!(f, "otherwise = \"{}\"", self.otherwise)?;
        if self.dry_run {
            writeln!(f, "mode = \"dry-run\"")?;
        }
        for (effect, rules) in [(Effect::Deny, &self.deny), (Effect::Allow, &self.allow)] {
            for rule in rules {
                print_rule(f, effect, rule)?;
            }
        }
        Ok(())
    }
}

fn print_rule(f: &mut fmt::Formatter<'_>, effect: Effect, rule: &Rule) -> fmt::Result {
    writeln!(f, "\n[[{effect}]]\nname = {}", Quoted(&rule.name))?;
    if let Some(who) = rule.who {
        writeln!(f, "peer = \"{}\"", who.as_str())?;
    }
    for (table, negated, of_request) in TABLES {
        let mut asked = rule
            .conditions
            .iter()
            .filter(|c| (c.negated, c.fact.is_of_request()) == (negated, of_request))
            .peekable();
        if asked.peek().is_none() {
            continue;
        }
        writeln!(f, "\n[{effect}.{table}]")?;
        for condition in asked {
            write!(f, "{} = [", condition.fact)?;
            for (at, value) in condition.values.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                write!(f, "{comma}{}", Quoted(value))?;
            }
            writeln!(f, "]")?;
        }
    }
    Ok(())
}

/// A basic string of TOML.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// The tables of a rule: their name, whether they negate, and whether they are about the request.
const TABLES: [(&str, bool, bool); 4] = [
    ("peer", false, false),
    ("not_peer", true, false),
    ("request", false, true),
    ("not_request", true, true),
];
