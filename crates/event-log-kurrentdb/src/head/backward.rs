//! Backward: from the log's end back to the last event of the ledger, past all that others have
//! written since.

use tokio::time::sleep;

use crate::{
    client::{CallError, LogRead, NodeClient},
    log_reads::collect,
    retries::SILENCE_MAX,
    store::Store,
};

/// Events in the first read.
const LAST_EVENTS: u64 = 8;

impl Store {
    /// Looks backward from the end. The server does not say how far it is, so it may be silent for
    /// as long as it answers [another question](Self::wait_until_unresponsive).
    pub(super) async fn backward(&self) -> Result<u64, CallError> {
        let ask = async |client: NodeClient| {
            let looking = async {
                // The last event is nearly always one of the ledger. An answer without a bound
                // would still be on its way, for a stream that the connection has forgotten, and
                // too many such frames end the connection.
                for count in [LAST_EVENTS, u64::MAX] {
                    let read = LogRead::Backwards { count, filter: Some(self.filter()) };
                    let (mut read, mut found) = (client.read_all(read).await?, 0);
                    while found < count
                        && let Some(event) = read.next().await?
                    {
                        found += 1;
                        if self.owns(&event) {
                            return Ok(event.position.commit);
                        }
                    }
                    if found < count {
                        break;
                    }
                }
                Ok(0)
            };
            tokio::select! {
                head = looking => head,
                error = self.wait_until_unresponsive(&client) => Err(error),
            }
        };
        let head = self.connection.call(ask).await?;
        self.positions.note_event(head);
        Ok(head)
    }

    /// Returns when the server does not answer what it could answer at once, with the error.
    pub(crate) async fn wait_until_unresponsive(&self, client: &NodeClient) -> CallError {
        loop {
            sleep(SILENCE_MAX).await;
            if let Err(error) = collect(client, LogRead::Backwards { count: 1, filter: None }, 1, &mut Vec::new()).await
            {
                return error;
            }
        }
    }
}
