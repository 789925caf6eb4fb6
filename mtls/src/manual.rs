//! The guides of the whole family, as they are in `docs` of the repository.
//!
//! This module is in the documentation alone. Links from one page to another lead somewhere in the repository; here the list below has
//! the pages.

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/check-rules.md")]
pub mod check_rules {}

#[doc = include_str!("../docs/ci.md")]
pub mod ci {}

#[doc = include_str!("../docs/foreign.md")]
pub mod foreign {}

#[doc = include_str!("../docs/kubernetes.md")]
pub mod kubernetes {}

#[doc = include_str!("../docs/layouts.md")]
pub mod layouts {}

#[doc = include_str!("../docs/logs.md")]
pub mod logs {}

#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[doc = include_str!("../docs/migration.md")]
pub mod migration {}

#[doc = include_str!("../docs/policy-cases.md")]
pub mod policy_cases {}

#[doc = include_str!("../docs/refusals.md")]
pub mod refusals {}

#[doc = include_str!("../docs/reload-faults.md")]
pub mod reload_faults {}

#[doc = include_str!("../docs/runbook.md")]
pub mod runbook {}

#[doc = include_str!("../docs/security-model.md")]
pub mod security_model {}

#[doc = include_str!("../docs/symptoms.md")]
pub mod symptoms {}

#[doc = include_str!("../docs/workshop.md")]
pub mod workshop {}
