//! What the rules of the policy have counted.

use std::sync::{Arc, Mutex, PoisonError};

use kleene_engine::host::chain;
use kleene_host::linux::nft::{self, Counters, NftError, Table};
use kleene_model::{InstanceName, NetworkId};

use crate::system::types::Fate;
use crate::system::{Counted, Error};

/// The way to the counters: a socket of its own, so that the engine goes on. It stays
/// open, for to close one waits for whoever changes nftables (`nft_rcv_nl_event`).
#[derive(Clone, Default)]
pub(crate) struct Reader {
    table: Arc<Mutex<Option<Table>>>,
}

impl Reader {
    /// Reads the counters of one network, or of all and of the host. It blocks.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(crate) fn read(
        &self,
        instance: &InstanceName,
        network: Option<NetworkId>,
    ) -> Result<Vec<Counted>, Error> {
        let counters = self.counters(instance, network).map_err(|err| chain(&err))?;
        Ok(counters.into_iter().map(counted).collect())
    }

    fn counters(
        &self,
        instance: &InstanceName,
        network: Option<NetworkId>,
    ) -> Result<Counters, NftError> {
        let mut kept = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = kept.take().map_or_else(|| Table::of(instance), Ok)?;
        let counters = match network {
            Some(network) => table.counters_of(network)?,
            None => table.counters()?,
        };
        *kept = Some(table);
        Ok(counters)
    }
}

fn counted((key, count): (nft::Counted, nft::Count)) -> Counted {
    let nft::Counted { network, rule, fate } = key;
    let nft::Count { packets, bytes } = count;
    let fate = match fate {
        nft::Fate::Passed => Fate::Passed,
        nft::Fate::Refused => Fate::Refused,
        nft::Fate::Dropped => Fate::Dropped,
    };
    Counted { network, rule, fate, packets, bytes }
}
