//! The firewalls of others: pf's other rules are the administrator's, and nobody
//! follows packets through them on paper.

use kleene_engine::host::chain;
use kleene_engine::passage::Explained;
use kleene_model::InstanceName;
use kleene_model::api::{Explanation, ForeignChain};

use crate::core::Core;
use crate::system::Error;

const UNREAD: Error = Error::Never("reading rules of pf that are not Kleene's");

/// What is known of the firewalls of others: nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Firewalls(());

impl Firewalls {
    /// Says that they are not watched.
    ///
    /// # Errors
    /// Never.
    pub(crate) fn start(_: Core, _: InstanceName) -> Result<Self, Error> {
        tracing::info!(why = chain(&UNREAD), "whether other rules drop what passes is not told");
        Ok(Self(()))
    }

    /// The chains that are known to drop a network's traffic.
    pub(crate) fn of(&self, _network: &str) -> Vec<String> {
        Vec::new()
    }
}

/// Adds to what the policy says that others may drop what passes.
pub(crate) fn explained(_: &InstanceName, explained: Vec<Explained>) -> Vec<Explanation> {
    let ask = |one: Explained| {
        let Explained { mut explanation, passage } = one;
        if passage.is_some() {
            explanation.foreign = vec![ForeignChain {
                verdict: "may drop".to_owned(),
                chain: format!("nobody knows which: {UNREAD}"),
                line: String::new(),
            }];
        }
        explanation
    };
    explained.into_iter().map(ask).collect()
}
