//! The rules of a file, with the place of each.

use std::path::Path;

use super::error::{Located, PolicyFileError, PolicyFileFault};
use super::tree::{Key, Node, Value};
use super::{json, toml};
use crate::identity::TrustDomain;
use crate::policy::access::{AccessPolicy, RequestPolicy};
use crate::policy::builder::PolicyBuilder;
use crate::policy::fault::{Place, RuleError};
use crate::policy::rule::{Asked, Effect, Fact, Rule, Who};

/// What a policy file says, before its rules are checked. It prints as TOML that reads as the same document.
///
/// ```
/// # use mtls_core::PolicyDocument;
/// let text = br#"
/// trust_domain = "example.org"
/// otherwise = "deny"
///
/// [[allow]]
/// name = "the shop reads orders"
/// peer = { namespace = "shop" }
/// request = { method = "GET", path = ["/orders", "/orders/**"] }
/// "#;
/// let policy = PolicyDocument::from_toml(text)?.request_policy()?;
/// # Ok::<(), mtls_core::PolicyFileError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PolicyDocument {
    pub(super) trust_domain: Option<String>,
    pub(super) otherwise: Effect,
    pub(super) dry_run: bool,
    pub(super) deny: Vec<Rule>,
    pub(super) allow: Vec<Rule>,
    text: String,
    spots: Spots,
}

/// Where things are, in bytes, as [`Place`] counts them.
#[derive(Debug, Clone, Default)]
struct Spots {
    trust_domain: usize,
    deny: Vec<RuleSpots>,
    allow: Vec<RuleSpots>,
}

#[derive(Debug, Clone)]
struct RuleSpots {
    at: usize,
    conditions: Vec<(usize, Vec<usize>)>,
}

/// By what is said, wherever it is said.
impl PartialEq for PolicyDocument {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.otherwise == other.otherwise
            && self.dry_run == other.dry_run
            && self.deny == other.deny
            && self.allow == other.allow
    }
}

impl PolicyDocument {
    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// It is no TOML, or says something that no policy has.
    pub fn from_toml(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        Self::read(bytes, toml::parse)
    }

    /// Reads JSON, of the same shape.
    ///
    /// # Errors
    ///
    /// It is no JSON, or says something that no policy has.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        Self::read(bytes, json::parse)
    }

    /// Builds a policy about peers.
    ///
    /// # Errors
    ///
    /// A rule is wrong, or asks about requests.
    pub fn access_policy(&self) -> Result<AccessPolicy, PolicyFileError> {
        self.builder().build().map_err(|error| self.located(error))
    }

    /// Builds a policy about requests.
    ///
    /// # Errors
    ///
    /// A rule is wrong.
    pub fn request_policy(&self) -> Result<RequestPolicy, PolicyFileError> {
        let built = self.builder().build_for_requests();
        built.map_err(|error| self.located(error))
    }

    /// Reads a file by the end of its name.
    pub(super) fn from_file(
        path: &Path,
        bytes: &[u8],
        local: Option<&TrustDomain>,
    ) -> Result<Self, PolicyFileError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let read = match extension {
            Some("toml") => Self::from_toml(bytes),
            Some("json") => Self::from_json(bytes),
            _ => return Err(PolicyFileError::of_file(path, PolicyFileFault::Format)),
        };
        let mut document = read.map_err(|error| error.in_file(path))?;
        let Some(local) = local else {
            return Ok(document);
        };
        let said = document
            .trust_domain
            .get_or_insert_with(|| local.to_string());
        if said == local.as_str() {
            return Ok(document);
        }
        let located = Located {
            at: document.spots.trust_domain,
            fault: PolicyFileFault::DomainConflict {
                found: said.clone(),
                expected: local.to_string(),
            },
        };
        Err(PolicyFileError::located(&document.text, None, located).in_file(path))
    }

    fn read(
        bytes: &[u8],
        parse: impl FnOnce(&str) -> Result<Node, Located>,
    ) -> Result<Self, PolicyFileError> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let (at, fault) = (valid.len(), PolicyFileFault::NotUtf8);
                let valid = String::from_utf8_lossy(valid);
                return Err(PolicyFileError::located(
                    &valid,
                    None,
                    Located { at, fault },
                ));
            }
        };
        let document = parse(text).and_then(|root| document(root, text));
        document.map_err(|located| PolicyFileError::located(text, None, located))
    }

    /// The local trust domain, as it is written, if it is.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&str> {
        self.trust_domain.as_deref()
    }

    fn builder(&self) -> PolicyBuilder<Effect> {
        PolicyBuilder {
            trust_domain: self.trust_domain.clone(),
            deny: self.deny.clone(),
            allow: self.allow.clone(),
            otherwise: self.otherwise,
            dry_run: self.dry_run,
        }
    }

    fn located(&self, error: RuleError) -> PolicyFileError {
        let located = Located {
            at: self.spots.of(error.place).unwrap_or_default(),
            fault: error.fault.into(),
        };
        PolicyFileError::located(&self.text, error.rule.map(Into::into), located)
    }
}

impl Spots {
    fn of(&self, place: Place) -> Option<usize> {
        let rule = |effect, at: usize| match effect {
            Effect::Allow => self.allow.get(at),
            Effect::Deny => self.deny.get(at),
        };
        match place {
            Place::Policy => Some(0),
            Place::TrustDomain => Some(self.trust_domain),
            Place::Rule(effect, at) => Some(rule(effect, at)?.at),
            Place::Condition(effect, at, condition) => {
                Some(rule(effect, at)?.conditions.get(condition)?.0)
            }
            Place::Value(effect, at, condition, value) => {
                let (_, values) = rule(effect, at)?.conditions.get(condition)?;
                values.get(value).copied()
            }
        }
    }
}

fn document(root: Node, text: &str) -> Result<PolicyDocument, Located> {
    let mut document = PolicyDocument {
        trust_domain: None,
        otherwise: Effect::Deny,
        dry_run: false,
        deny: Vec::new(),
        allow: Vec::new(),
        text: text.to_owned(),
        spots: Spots::default(),
    };
    let mut otherwise = None;
    for (key, node) in table(root, "a table of rules")? {
        match key.name.as_str() {
            "trust_domain" => {
                document.spots.trust_domain = node.at;
                document.trust_domain = Some(text_of(node)?.1);
            }
            "otherwise" => {
                let words = [("allow", Effect::Allow), ("deny", Effect::Deny)];
                otherwise = Some(word(node, &words, "`allow` or `deny`")?);
            }
            "mode" => {
                let words = [("enforce", false), ("dry-run", true)];
                document.dry_run = word(node, &words, "`enforce` or `dry-run`")?;
            }
            "deny" => (document.deny, document.spots.deny) = rules(node)?,
            "allow" => (document.allow, document.spots.allow) = rules(node)?,
            _ => return Err(unknown(key, listed(&TOP))),
        }
    }
    document.otherwise = otherwise.ok_or(Located {
        at: 0,
        fault: PolicyFileFault::MissingField {
            field: "otherwise",
            expected: "`allow` or `deny`, for whom no rule matches",
        },
    })?;
    Ok(document)
}

fn rules(node: Node) -> Result<(Vec<Rule>, Vec<RuleSpots>), Located> {
    let at = node.at;
    let Value::List(items) = node.value else {
        return Err(wrong_type(&node, "a list of rules"));
    };
    if items.is_empty() {
        let fault = PolicyFileFault::NoRules;
        return Err(Located { at, fault });
    }
    let rules = items.into_iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    Ok(rules.into_iter().unzip())
}

fn rule(node: Node) -> Result<(Rule, RuleSpots), Located> {
    let at = node.at;
    let (mut name, mut who) = (None, None);
    let mut asked = Vec::new();
    for (key, node) in table(node, "a rule")? {
        let (negated, of_request) = match key.name.as_str() {
            "name" => {
                name = Some(text_of(node)?.1);
                continue;
            }
            "peer" if !matches!(node.value, Value::Table(_)) => {
                let words =
                    [Who::Anonymous, Who::Anyone, Who::Verified].map(|who| (who.as_str(), who));
                let expected = "a table of facts, `verified`, `anonymous` or `anyone`";
                who = Some(word(node, &words, expected)?);
                continue;
            }
            "peer" => (false, false),
            "not_peer" => (true, false),
            "request" => (false, true),
            "not_request" => (true, true),
            _ => return Err(unknown(key, listed(&RULE))),
        };
        let at = node.at;
        let facts = table(node, "a table of facts")?;
        if facts.is_empty() {
            let fault = PolicyFileFault::EmptyTable;
            return Err(Located { at, fault });
        }
        for (key, node) in facts {
            let known = Fact::ALL.iter().copied();
            let mut known = known.filter(|fact| fact.is_of_request() == of_request);
            let Some(fact) = known.clone().find(|fact| fact.as_str() == key.name) else {
                let names: Vec<_> = known.by_ref().map(Fact::as_str).collect();
                return Err(unknown(key, listed(&names)));
            };
            let (places, values) = texts(node)?.into_iter().unzip();
            let condition = Asked {
                fact,
                negated,
                values,
            };
            asked.push((condition, (key.at, places)));
        }
    }
    let name = name.ok_or(Located {
        at,
        fault: PolicyFileFault::MissingField {
            field: "name",
            expected: "a name that an explanation can tell",
        },
    })?;
    // In one order, whatever the order of the file: so that what is said in two orders is equal, and prints alike.
    asked.sort_by_key(|(condition, _)| (condition.fact, condition.negated));
    let (asked, conditions) = asked.into_iter().unzip();
    let rule = Rule {
        name,
        who,
        conditions: asked,
    };
    Ok((rule, RuleSpots { at, conditions }))
}

fn table(node: Node, expected: &'static str) -> Result<Vec<(Key, Node)>, Located> {
    let Value::Table(entries) = node.value else {
        return Err(wrong_type(&node, expected));
    };
    Ok(entries)
}

fn text_of(node: Node) -> Result<(usize, String), Located> {
    let Value::Text(text) = node.value else {
        return Err(wrong_type(&node, "a text"));
    };
    Ok((node.at, text))
}

/// One text, or a list of them.
fn texts(node: Node) -> Result<Vec<(usize, String)>, Located> {
    match node.value {
        Value::Text(text) => Ok(vec![(node.at, text)]),
        Value::List(items) => items.into_iter().map(text_of).collect(),
        Value::Bool | Value::Null | Value::Number | Value::Table(_) | Value::Time => {
            Err(wrong_type(&node, "a text, or a list of texts"))
        }
    }
}

fn word<T: Copy>(node: Node, words: &[(&str, T)], expected: &'static str) -> Result<T, Located> {
    let Value::Text(found) = node.value else {
        return Err(wrong_type(&node, expected));
    };
    let known = words.iter().find(|(word, _)| *word == found);
    known.map(|(_, meaning)| *meaning).ok_or(Located {
        at: node.at,
        fault: PolicyFileFault::UnknownWord { found, expected },
    })
}

fn wrong_type(node: &Node, expected: &'static str) -> Located {
    Located {
        at: node.at,
        fault: PolicyFileFault::WrongType {
            found: node.value.kind(),
            expected,
        },
    }
}

fn unknown(key: Key, expected: String) -> Located {
    Located {
        at: key.at,
        fault: PolicyFileFault::UnknownField {
            found: key.name,
            expected,
        },
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// The fields of a policy.
const TOP: [&str; 5] = ["trust_domain", "otherwise", "mode", "deny", "allow"];

/// The fields of a rule.
const RULE: [&str; 5] = ["name", "peer", "not_peer", "request", "not_request"];

#[cfg(test)]
mod tests;
